# Argo CD on the control plane of up.sh; sourced by the drills beside this folder.
#
#   make_repository     creates a Git repository with the current tree; in_repository and commit work on it
#   argo_settings       creates the kinds and the settings of an installation
#   argo_up             starts redis, repo-server and application controller
#   apply_root          applies argocd/root.yaml
#   synced_and_healthy  true if the shop is
#
# Git is read every 5 s (or $git_every) instead of every 3 minutes, so that a measured time is work and not waiting. $work is the
# drill's folder.

# Creates a repository with the current tree, which Argo CD reads by its path. The caller commits, after its own changes.
make_repository() {
  git init -q --initial-branch=main "$work/repository"
  mkdir "$work/repository/helm"
  (cd "$helm_folder" && cp -r Chart.yaml .helmignore values*.* templates dashboards rules argocd "$work/repository/helm/")
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
  kubectl -n argocd patch configmap argocd-cm --type=merge -p "{\"data\":{\"timeout.reconciliation\":\"${git_every:-5}s\",\"timeout.reconciliation.jitter\":\"0s\"}}" >/dev/null
  # The settings that the app of apps needs, from the values file of an installation.
  (cd "$helm_folder" && python3 -c 'import sys, json; sys.path.insert(0, "tests"); import documents
customizations = documents.read("argocd/argo-cd-values.yaml")[0]["configs"]["cm"]
print(json.dumps({"data": {name: text for name, text in customizations.items() if name.startswith("resource.customizations")}}))') \
    >"$work/health.json" || die "argo-cd-values.yaml has no settings of health"
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
    --kubeconfig "$KUBECONFIG" --namespace argocd --repo-server 127.0.0.1:8081 --repo-server-plaintext --redis 127.0.0.1:6379 --app-resync "${git_every:-5}"
}

apply_root() { # operators, in JSON: applies the one manifest that is applied by hand, for the drill's repository and server
  sed -e "s|https://git.example.com/tidemark.git|file://$work/repository|" -e "s|https://kubernetes.default.svc|https://127.0.0.1:6443|" \
    -e 's|^        environment: prod|&\n        server: https://127.0.0.1:6443|' -e "s#^        operators: .*#        operators: $1#" \
    "$helm_folder/argocd/root.yaml" | kubectl apply -f - >/dev/null
}

synced_and_healthy() { # fails with the states of all applications unless the shop is synced and healthy
  [ "$(kubectl -n argocd get application tidemark -o jsonpath='{.status.sync.status} {.status.health.status}')" = "Synced Healthy" ] && return
  kubectl -n argocd get applications -o json | python3 -c 'import json, sys
for app in json.load(sys.stdin)["items"]:
    status = app.get("status", {})
    print(app["metadata"]["name"], status.get("sync", {}).get("status"), status.get("health"), status.get("conditions"), status.get("operationState", {}).get("message"))'
  return 1
}
