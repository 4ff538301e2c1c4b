#!/usr/bin/env bash
# Runs Argo CD's controller and repo-server on a real API server, with the app of apps and a Git repository. It measures the first
# sync, the reversal of manual changes, the restoration of a deleted Service, the rollout of a commit, the rollback of a revert, and
# the removal of a service that was removed from Git. Takes about four minutes.
#
#   helm/tests/selfheal.sh [sed expression]      a mistake in argocd/templates/_helpers.tpl, with which it must fail
#
# Three things differ from an installation. Git is read every 5 s instead of every 3 minutes, so that the measured time is work and
# not waiting. The operators are left out and simulated. No service has a canary, whose steps take minutes
# (canary.sh).
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
# shellcheck source=helm/tests/cluster/argo.sh
. "$helm_folder/tests/cluster/argo.sh"
needs etcd kubernetes kwok argocd redis-server
alone "$0" "$@"

work=$(mktemp -d)
trap 'leave "$work"' EXIT
limit=${TIDEMARK_LIMIT:-600} # seconds for each step; they take a few on an idle machine
shop() { kubectl -n tidemark "$@"; }

restricted() { [ "$(kubectl get namespace tidemark -o jsonpath='{.metadata.labels.pod-security\.kubernetes\.io/enforce}')" = restricted ]; }
replicas_are() { [ "$(shop get deployment "$1" -o jsonpath='{.spec.replicas}')" = "$2" ]; }
image_is() { [ "$(shop get deployment "$1" -o jsonpath='{.spec.template.spec.containers[0].image}')" = "$2" ]; }
rolled_out() { # digest: every pod that runs is of it, and all is well
  synced_and_healthy && [ "$(shop get pods --field-selector=status.phase=Running -o jsonpath='{range .items[*]}{.spec.containers[0].image}{"\n"}{end}' | sed 's/.*@//' | sort -u)" = "$1" ]
}
is_automatic() { [ "$(kubectl -n argocd get application tidemark -o jsonpath='{.spec.syncPolicy.automated.selfHeal}')" = true ]; }
gone() { local left; left=$(shop get deployment,service,networkpolicy "$1" --ignore-not-found -o name) && [ -z "$left" ]; }
usage() { # millicores of all pods of orders
  printf '{"gateway": {"cpu_m": 20, "memory_mib": 16}, "orders": {"cpu_m": %s, "memory_mib": 16}}' "$1" >"$work/usage.json"
}

by_hand() { # manual changes in the cluster are reverted, those of the autoscaler are not
  local image
  kubectl -n argocd patch application tidemark --type=merge -p '{"spec":{"syncPolicy":{"automated":null}}}' >/dev/null
  measured "an application that is paused by hand is automatic again" "$limit" is_automatic
  shop scale deployment users --replicas=7 >/dev/null
  measured "a manual scaling is reverted" "$limit" replicas_are users 3
  shop delete service orders >/dev/null
  measured "a deleted Service is back" "$limit" shop get service orders
  shop delete networkpolicy default-deny >/dev/null
  measured "a deleted network policy is back" "$limit" shop get networkpolicy default-deny
  image=$(shop get deployment products -o jsonpath='{.spec.template.spec.containers[0].image}')
  shop set image deployment/products products=example.com/intruder:1 >/dev/null
  measured "a manually set image is reverted" "$limit" image_is products "$image"
  usage 660 # with four pods more than a tenth above the 70 %, which the autoscaler tolerates; with five below that
  measured "the autoscaler sets 5 pods of orders, as its load requires" "$limit" replicas_are orders 5
  sleep 30
  holds "and Argo CD leaves them: after 30 s there are still 5 pods" replicas_are orders 5
}

by_git() {
  local old new
  old=sha256:$(printf '0%.0s' {1..64}) new=sha256:$(printf 'a%.0s' {1..64})
  measured "the cluster is again as in Git" "$limit" rolled_out "$old"
  sed -i "s/$old/$new/" "$work/repository/helm/values-prod.yaml"
  commit "a new image"
  measured "a commit with a new image is rolled out" "$limit" rolled_out "$new"
  holds "and the autoscaler's number of pods stays" replicas_are orders 5
  in_repository revert --no-edit HEAD >/dev/null
  measured "its revert is rolled back" "$limit" rolled_out "$old"
  sed -i 's/^services:$/services:\n  notifications: {enabled: false}/' "$work/repository/helm/values-prod.yaml"
  commit "no notifications"
  measured "a service removed from Git is removed" "$limit" gone notifications
}

cluster_up "$work/state"
operator_kinds
usage 20
metrics_api "$work/usage.json"
play_operators
make_repository
sed -i 's/^canary: {enabled: true}/canary: {enabled: false}/' "$work/repository/helm/values-prod.yaml"
[ -z "${1:-}" ] || sed -i "$1" "$work/repository/helm/argocd/templates/_helpers.tpl"
commit "first"
argo_settings
argo_up
apply_root '{externalSecrets: {enabled: false}, metricsServer: {enabled: false}, monitoring: {enabled: false}, reloader: {enabled: false}, rollouts: {enabled: false}}'
measured "the first sync, from nothing to healthy" 900 synced_and_healthy || { tail -n 5 "$state"/{repo-server,controller}.log; exit 1; }
holds "the restricted standard is enforced in the namespace" restricted
by_hand
by_git
verdict
