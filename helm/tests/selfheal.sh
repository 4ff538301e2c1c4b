#!/usr/bin/env bash
# Runs Argo CD's controller and repo-server on a real API server, with the app of apps and a Git repository. It measures the first
# sync, the reversal of manual changes, the restoration of a deleted Service, the rollout of a commit, the rollback of a revert, and
# the removal of a service that was removed from Git. Takes about four minutes.
#
#   helm/tests/selfheal.sh
#
# Three things differ from an installation. Git is read every 5 s instead of every 3 minutes, so that the measured time is work and
# not waiting. The operators, whose charts are elsewhere, are left out and simulated. No service has a canary, whose steps take
# minutes (canary.sh).
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
needs etcd kubernetes kwok argocd redis-server
alone "$0" "$@"

work=$(mktemp -d)
trap 'leave "$work"' EXIT
shop() { kubectl -n tidemark "$@"; }

# A repository with the current tree, which Argo CD reads by its path.
make_repository() {
  git init -q --initial-branch=main "$work/repository"
  mkdir "$work/repository/helm"
  (cd "$helm_folder" && cp -r Chart.yaml .helmignore values*.* templates dashboards rules argocd "$work/repository/helm/")
  sed -i 's/^canary: {enabled: true}/canary: {enabled: false}/' "$work/repository/helm/values-prod.yaml"
  commit "first"
}
in_repository() { git -C "$work/repository" -c user.name=drill -c user.email=drill@example.com "$@"; }
commit() { in_repository add -A && in_repository commit -qm "$1"; }

argo_settings() {
  local manifests
  manifests=$(go env GOMODCACHE)/github.com/argoproj/argo-cd/v3@v3.4.4/manifests
  kubectl create namespace argocd >/dev/null
  kubectl apply --server-side -f "$manifests/crds/application-crd.yaml" -f "$manifests/crds/appproject-crd.yaml" -f "$manifests/crds/applicationset-crd.yaml" >/dev/null
  for file in "$manifests"/base/config/argocd-{cm,cmd-params-cm,rbac-cm,ssh-known-hosts-cm,tls-certs-cm,gpg-keys-cm,secret}.yaml; do
    kubectl -n argocd apply -f "$file" >/dev/null
  done
  kubectl -n argocd patch secret argocd-secret --type=merge -p "{\"stringData\":{\"server.secretkey\":\"$(openssl rand -hex 16)\"}}" >/dev/null
  kubectl -n argocd patch configmap argocd-cm --type=merge -p '{"data":{"timeout.reconciliation":"5s","timeout.reconciliation.jitter":"0s"}}' >/dev/null
  # The settings that the app of apps needs, from the values file of an installation.
  lua="$(sed -n '/argoproj.io_Application/,$p' "$helm_folder/argocd/argo-cd-values.yaml" | sed '1d; s/^      //')" \
    python3 -c 'import json, os; print(json.dumps({"data": {"resource.customizations.health.argoproj.io_Application": os.environ["lua"]}}))' \
    >"$work/health.json"
  kubectl -n argocd patch configmap argocd-cm --type=merge --patch-file "$work/health.json" >/dev/null
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
}

argo_up() {
  local argo=$state/argo
  mkdir -p "$argo"/{tls,ssh,gpg/keys,gpg/source,plugins,tmp} && touch "$argo/ssh/ssh_known_hosts" && chmod 700 "$argo/gpg/keys"
  export ARGOCD_GNUPGHOME=$argo/gpg/keys ARGOCD_GPG_DATA_PATH=$argo/gpg/source ARGOCD_TLS_DATA_PATH=$argo/tls ARGOCD_SSH_DATA_PATH=$argo/ssh \
    ARGOCD_PLUGINSOCKFILEPATH=$argo/plugins ARGOCD_GPG_ENABLED=false ARGOCD_FAKE_IN_CLUSTER=true TMPDIR=$argo/tmp
  LD_LIBRARY_PATH=$bin/lib start redis "$bin/redis-server" --bind 127.0.0.1 --save '' --appendonly no
  start repo-server "$bin/argocd" argocd-repo-server --address 127.0.0.1 --metrics-address 127.0.0.1 \
    --redis 127.0.0.1:6379 --disable-tls --revision-cache-expiration 1s
  HOSTNAME=argocd-application-controller-0 start controller "$bin/argocd" argocd-application-controller \
    --kubeconfig "$KUBECONFIG" --namespace argocd --repo-server 127.0.0.1:8081 --repo-server-plaintext --redis 127.0.0.1:6379 --app-resync 5
}

apply_root() { # the one manifest that is applied by hand, pointed at the drill's repository and server
  sed -e "s|https://git.example.com/tidemark.git|file://$work/repository|" -e "s|https://kubernetes.default.svc|https://127.0.0.1:6443|" \
    -e 's|^        environment: prod|&\n        server: https://127.0.0.1:6443|' \
    -e 's|^        operators: .*|        operators: {externalSecrets: {enabled: false}, metricsServer: {enabled: false}, monitoring: {enabled: false}, reloader: {enabled: false}, rollouts: {enabled: false}}|' \
    "$helm_folder/argocd/root.yaml" | kubectl apply -f - >/dev/null
}

synced_and_healthy() {
  [ "$(kubectl -n argocd get application tidemark -o jsonpath='{.status.sync.status} {.status.health.status}')" = "Synced Healthy" ] && return
  kubectl -n argocd get applications -o json | python3 -c 'import json, sys
for app in json.load(sys.stdin)["items"]:
    status = app.get("status", {})
    print(app["metadata"]["name"], status.get("sync", {}).get("status"), status.get("health"), status.get("conditions"), status.get("operationState", {}).get("message"))'
  return 1
}
restricted() { [ "$(kubectl get namespace tidemark -o jsonpath='{.metadata.labels.pod-security\.kubernetes\.io/enforce}')" = restricted ]; }
replicas_are() { [ "$(shop get deployment "$1" -o jsonpath='{.spec.replicas}')" = "$2" ]; }
image_is() { [ "$(shop get deployment "$1" -o jsonpath='{.spec.template.spec.containers[0].image}')" = "$2" ]; }
rolled_out() { # digest: every pod that runs is of it, and all is well
  synced_and_healthy && [ "$(shop get pods --field-selector=status.phase=Running -o jsonpath='{range .items[*]}{.spec.containers[0].image}{"\n"}{end}' | sed 's/.*@//' | sort -u)" = "$1" ]
}
gone() { local left; left=$(shop get deployment,service,networkpolicy "$1" --ignore-not-found -o name) && [ -z "$left" ]; }
usage() { # millicores of all pods of orders
  printf '{"gateway": {"cpu_m": 20, "memory_mib": 16}, "orders": {"cpu_m": %s, "memory_mib": 16}}' "$1" >"$work/usage.json"
}

by_hand() { # manual changes in the cluster are reverted, those of the autoscaler are not
  local image
  shop scale deployment users --replicas=7 >/dev/null
  measured "a manual scaling is reverted" 120 replicas_are users 3
  shop delete service orders >/dev/null
  measured "a deleted Service is back" 120 shop get service orders
  shop delete networkpolicy default-deny >/dev/null
  measured "a deleted network policy is back" 120 shop get networkpolicy default-deny
  image=$(shop get deployment products -o jsonpath='{.spec.template.spec.containers[0].image}')
  shop set image deployment/products products=example.com/intruder:1 >/dev/null
  measured "a manually set image is reverted" 120 image_is products "$image"
  usage 660 # with four pods more than a tenth above the 70 %, which the autoscaler tolerates; with five below that
  measured "the autoscaler sets 5 pods of orders, as its load requires" 90 replicas_are orders 5
  sleep 30
  holds "and Argo CD leaves them: after 30 s there are still 5 pods" replicas_are orders 5
}

by_git() {
  local old new
  old=sha256:$(printf '0%.0s' {1..64}) new=sha256:$(printf 'a%.0s' {1..64})
  measured "the cluster is again as in Git" 120 rolled_out "$old"
  sed -i "s/$old/$new/" "$work/repository/helm/values-prod.yaml"
  commit "a new image"
  measured "a commit with a new image is rolled out" 240 rolled_out "$new"
  holds "and the autoscaler's number of pods stays" replicas_are orders 5
  in_repository revert --no-edit HEAD >/dev/null
  measured "its revert is rolled back" 240 rolled_out "$old"
  sed -i 's/^services:$/services:\n  notifications: {enabled: false}/' "$work/repository/helm/values-prod.yaml"
  commit "no notifications"
  measured "a service removed from Git is removed" 120 gone notifications
}

cluster_up "$work/state"
operator_kinds
usage 20
metrics_api "$work/usage.json"
play_operators
make_repository
argo_settings
argo_up
apply_root
measured "the first sync, from nothing to healthy" 300 synced_and_healthy || { tail -n 5 "$state"/{repo-server,controller}.log; exit 1; }
holds "the restricted standard is enforced in the namespace" restricted
by_hand
by_git
verdict
