#!/usr/bin/env bash
# Applies the rendered chart twice to a real API server with restricted Pod Security enforced. No object may be refused, all pods
# must be admitted, scheduled and ready, and the second time must change nothing. Takes about a minute.
#
#   helm/tests/apply.sh [environment …]      kind, dev and prod unless given
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
needs etcd kubernetes kwok rollouts
alone "$0" "$@"

work=$(mktemp -d)
trap 'leave "$work"' EXIT

apply() { kubectl apply --server-side --field-manager=tidemark -n "$environment" -f "$work/$environment.yaml"; }

accepted() { # without warnings of admission, too
  apply >"$work/applied" 2>&1 && ! grep -i warning "$work/applied" || { cat "$work/applied"; return 1; }
}

all_ready() { kubectl -n "$environment" wait deployment --all --for=condition=Available --timeout=1s; }

no_pod_was_refused() {
  ! kubectl -n "$environment" get events -o json | grep -iE 'violates PodSecurity|forbidden|FailedCreate'
}

a_root_pod_is_refused() {
  local said
  said=$(kubectl -n "$environment" run intruder --image=busybox 2>&1)
  grep -q 'violates PodSecurity "restricted' <<<"$said" || { echo "$said"; return 1; }
}

migrated() {
  [ -z "$(kubectl -n "$environment" get job --ignore-not-found -o name)" ] || kubectl -n "$environment" wait job/migrations --for=condition=Complete --timeout=1s
}

at_their_least() { # what is autoscaled has their least number of pods
  kubectl -n "$environment" get hpa -o jsonpath='{range .items[*]}{.spec.minReplicas}={.status.currentReplicas}{"\n"}{end}' |
    awk -F= '$1 != $2 { print; bad = 1 } END { exit bad }'
}

# Each object with its generation, which the API server raises with every change of the specification.
versions() {
  kubectl -n "$environment" get service,deployment,rollout,job,configmap,serviceaccount,networkpolicy,pdb,hpa,ingress,externalsecret,secretstore,servicemonitor,prometheusrule \
    -l app.kubernetes.io/managed-by=Helm -o json | python3 -c 'import json, sys
for item in json.load(sys.stdin)["items"]:
    asked = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    meta = item["metadata"]
    print(item["kind"], meta["name"], meta["uid"], meta.get("generation"), json.dumps([asked, meta["labels"], meta.get("annotations")], sort_keys=True))'
}

unchanged() { versions >"$work/after" && diff "$work/before" "$work/after"; }

drill() {
  environment=$1
  render "$environment" >"$work/$environment.yaml" || die "$environment does not render"
  restricted_namespace "$environment"
  holds "$environment: the API server accepts all manifests" accepted
  measured "$environment: every deployment is available" 120 all_ready
  measured "$environment: the migrations completed" 60 migrated
  measured "$environment: the autoscalers set the least number of pods" 90 at_their_least
  holds "$environment: no pod was refused" no_pod_was_refused
  holds "$environment: admission refuses a pod that may be root" a_root_pod_is_refused
  versions >"$work/before"
  holds "$environment: the manifests are accepted a second time" accepted
  sleep 3 # controllers that act on a change have acted by then
  holds "$environment: the second time changed none of $(wc -l <"$work/before") objects" unchanged
}

cluster_up "$work/state"
operator_kinds
play_operators
rollouts_up
[ $# -gt 0 ] || set -- kind dev prod
for name in "$@"; do drill "$name"; done
verdict
