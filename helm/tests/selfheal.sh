#!/usr/bin/env bash
# Argo CD's own controller and repo-server, on a real API server, with the app of apps and a Git repository beside them:
# first sync, a change by hand taken back, a deleted Service brought back, a commit rolled out, a revert rolled back, a
# service removed from Git removed from the cluster; each measured. About three minutes.
#
# Two settings differ from an installation: Git is asked every 5 s instead of every 3 minutes, so that what is measured is the
# work and not the waiting; and the operators' charts, which are elsewhere, are left out.
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
for program in argocd redis-server; do
  [ -x "$bin/$program" ] || { echo "SKIPPED: $program is not built (helm/tests/cluster/build.sh)"; exit 0; }
done
alone "$0" "$@"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
shop() { kubectl -n tidemark "$@"; }

measured() { # sentence, limit in seconds, command…
  local sentence=$1 limit=$2 took; shift 2
  if took=$(until_true "$limit" "$@"); then passed=$((passed + 1)); say "ok      $sentence: $took s"
  else failed=$((failed + 1)); say "FAILED  $sentence: not within $limit s"; explain; fi
}

explain() {
  kubectl -n argocd get applications -o json | python3 -c 'import json, sys
for app in json.load(sys.stdin)["items"]:
    status = app.get("status", {})
    print("         ", app["metadata"]["name"], status.get("sync", {}).get("status"), status.get("health", {}), status.get("conditions"), status.get("operationState", {}).get("message"))'
}

# A repository with the tree as it is committed, at which Argo CD looks by its path.
make_repository() {
  git init -q --initial-branch=main "$work/repository"
  mkdir "$work/repository/helm"
  (cd "$helm_folder" && cp -r Chart.yaml .helmignore values*.* templates dashboards rules argocd "$work/repository/helm/")
  commit "first"
}
commit() { (cd "$work/repository" && git add -A && git -c user.name=drill -c user.email=drill@example.com commit -qm "$1"); }

argo_up() {
  local argo=$state/argo modules
  modules=$(go env GOMODCACHE)/github.com/argoproj/argo-cd/v2@v2.14.21/manifests
  mkdir -p "$argo"/{tls,ssh,gpg/keys,gpg/source,plugins,tmp} && touch "$argo/ssh/ssh_known_hosts" && chmod 700 "$argo/gpg/keys"
  kubectl create namespace argocd >/dev/null
  kubectl apply --server-side -f "$modules/crds/application-crd.yaml" -f "$modules/crds/appproject-crd.yaml" -f "$modules/crds/applicationset-crd.yaml" >/dev/null
  for file in "$modules"/base/config/argocd-{cm,cmd-params-cm,rbac-cm,ssh-known-hosts-cm,tls-certs-cm,gpg-keys-cm,secret}.yaml; do
    kubectl -n argocd apply -f "$file" >/dev/null
  done
  kubectl -n argocd patch secret argocd-secret --type=merge -p "{\"stringData\":{\"server.secretkey\":\"$(openssl rand -hex 16)\"}}" >/dev/null
  kubectl -n argocd patch configmap argocd-cm --type=merge -p '{"data":{"timeout.reconciliation":"5s","timeout.reconciliation.jitter":"0s"}}' >/dev/null
  lua="$(sed -n '/argoproj.io_Application/,$p' "$helm_folder/argocd/argo-cd-values.yaml" | sed '1d; s/^      //')" \
    python3 -c 'import json, os; print(json.dumps({"data": {"resource.customizations.health.argoproj.io_Application": os.environ["lua"]}}))' \
    >"$argo/health.json"
  kubectl -n argocd patch configmap argocd-cm --type=merge --patch-file "$argo/health.json" >/dev/null
  kubectl apply -f - >/dev/null <<CLUSTER
apiVersion: v1
kind: Secret
metadata: {name: local, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster}}
stringData: {name: local, server: "https://127.0.0.1:6443", config: '{"bearerToken":"$token","tlsClientConfig":{"insecure":true}}'}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec: {sourceRepos: ["*"], destinations: [{namespace: "*", server: "*"}], clusterResourceWhitelist: [{group: "*", kind: "*"}]}
CLUSTER
  export ARGOCD_GNUPGHOME=$argo/gpg/keys ARGOCD_GPG_DATA_PATH=$argo/gpg/source ARGOCD_TLS_DATA_PATH=$argo/tls ARGOCD_SSH_DATA_PATH=$argo/ssh \
    ARGOCD_PLUGINSOCKFILEPATH=$argo/plugins ARGOCD_GPG_ENABLED=false ARGOCD_FAKE_IN_CLUSTER=true TMPDIR=$argo/tmp
  LD_LIBRARY_PATH=$bin/lib start redis "$bin/redis-server" --bind 127.0.0.1 --save '' --appendonly no
  ARGOCD_BINARY_NAME=argocd-repo-server start repo-server "$bin/argocd" --address 127.0.0.1 --metrics-address 127.0.0.1 \
    --redis 127.0.0.1:6379 --disable-tls --revision-cache-expiration 1s
  HOSTNAME=argocd-application-controller-0 ARGOCD_BINARY_NAME=argocd-application-controller start controller "$bin/argocd" \
    --kubeconfig "$KUBECONFIG" --namespace argocd --repo-server 127.0.0.1:8081 --repo-server-plaintext --redis 127.0.0.1:6379 \
    --app-resync 5 --self-heal-timeout-seconds 1
}

apply_root() { # the one manifest that is applied by hand, pointed at the drill's repository and server
  sed -e "s|https://git.example.com/tidemark.git|file://$work/repository|" -e "s|https://kubernetes.default.svc|https://127.0.0.1:6443|" \
    -e 's|^        environment: prod|        environment: prod\n        server: https://127.0.0.1:6443\n        operators: {externalSecrets: {enabled: false}, metricsServer: {enabled: false}, monitoring: {enabled: false}}|' \
    "$helm_folder/argocd/root.yaml" | kubectl apply -f - >/dev/null
}

synced_and_healthy() {
  [ "$(kubectl -n argocd get application tidemark -o jsonpath='{.status.sync.status} {.status.health.status}')" = "Synced Healthy" ]
}
replicas_are() { [ "$(shop get deployment "$1" -o jsonpath='{.spec.replicas}')" = "$2" ]; }
rolled_out() { # digest: every pod of every deployment runs it, and is ready
  synced_and_healthy || return 1
  [ "$(shop get pods -l app.kubernetes.io/part-of=tidemark --field-selector=status.phase=Running -o jsonpath='{range .items[*]}{.spec.containers[0].image}{"\n"}{end}' | sed 's/.*@//' | sort -u)" = "$1" ]
}
gone() { ! shop get deployment "$1"; }

cluster_up "$work/state"
operator_kinds
printf '{"gateway": {"cpu_m": 20, "memory_mib": 16}}' >"$work/usage.json"
metrics_api "$work/usage.json"
make_repository
argo_up
play_the_operators >"$state/operators.log" 2>&1 &

apply_root
measured "the first sync, from nothing to healthy" 240 synced_and_healthy
[ "$(kubectl get namespace tidemark -o jsonpath='{.metadata.labels.pod-security\.kubernetes\.io/enforce}')" = restricted ] || die "the namespace is not held to the restricted standard"

shop scale deployment users --replicas=7 >/dev/null
measured "a scaling by hand is taken back" 60 replicas_are users 3
shop delete service orders >/dev/null
measured "a deleted Service is back" 60 shop get service orders
shop delete networkpolicy default-deny >/dev/null
measured "a deleted network policy is back" 60 shop get networkpolicy default-deny
shop set env deployment/products INTRUDER=yes >/dev/null
measured "a variable set by hand is gone" 60 bash -c '! kubectl -n tidemark get deployment products -o yaml | grep -q INTRUDER'

shop scale deployment orders --replicas=5 >/dev/null
sleep 15
measured "what the autoscaler owns is left to it (5 pods stay 5 for 15 s)" 1 replicas_are orders 5

old=sha256:$(printf '0%.0s' {1..64}) new=sha256:$(printf 'a%.0s' {1..64})
sed -i "s/$old/$new/" "$work/repository/helm/values-prod.yaml"
commit "a new image"
measured "a commit with a new image is rolled out" 180 rolled_out "$new"
measured "and the autoscaler's number survived it" 1 replicas_are orders 5
(cd "$work/repository" && git -c user.name=drill -c user.email=drill@example.com revert --no-edit HEAD >/dev/null)
measured "its revert is rolled back" 180 rolled_out "$old"
sed -i 's/^services:$/services:\n  notifications: {enabled: false}/' "$work/repository/helm/values-prod.yaml"
commit "no notifications"
measured "a service removed from Git is removed" 120 gone notifications

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
