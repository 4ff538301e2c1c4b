#!/usr/bin/env bash
# Applies what the chart renders to a real API server, with restricted Pod Security enforced, twice: nothing may be refused,
# all pods must be admitted, scheduled and ready, and the second time must change nothing. About a minute.
#
#   helm/tests/apply.sh [environment]      prod unless given
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
alone "$0" "$@"

environment=${1:-prod}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

shows() { # sentence, command…
  local sentence=$1; shift
  if "$@" >"$work/output" 2>&1; then passed=$((passed + 1)); say "ok      $sentence"
  else failed=$((failed + 1)); say "FAILED  $sentence"; sed 's/^/          /' "$work/output" | tail -20; fi
}

apply() { kubectl apply --server-side --field-manager=tidemark --namespace tidemark -f "$work/shop.yaml"; }
versions() { kubectl get all,cm,sa,netpol,pdb,hpa,ingress,externalsecret,secretstore,servicemonitor,prometheusrule -n tidemark \
  -l app.kubernetes.io/managed-by=Helm -o json | python3 -c 'import json, sys
for item in json.load(sys.stdin)["items"]:
    print(item["kind"], item["metadata"]["name"], item["metadata"].get("generation", ""), json.dumps(item.get("spec", item.get("data")), sort_keys=True))'; }
give_secrets() { # what the External Secrets Operator would fetch
  for name in users orders notifications analytics migrations; do kubectl -n tidemark create secret generic "$name" --from-literal=TIDEMARK_MYSQL=none; done
}
all_ready() { kubectl -n tidemark wait deployment --all --for=condition=Available --timeout=1s; }
no_denial() { ! kubectl -n tidemark get events -o json | grep -qiE 'violates PodSecurity|forbidden'; }
unchanged() { versions >"$work/after" && diff "$work/before" "$work/after"; }
refused_by_admission() { # a pod that may be root
  local said
  said=$(kubectl -n tidemark run intruder --image=busybox 2>&1)
  grep -q 'violates PodSecurity "restricted' <<<"$said"
}

cluster_up "$work/state"
operator_kinds
shop_namespace
(cd "$helm_folder" && helm template tidemark . --namespace tidemark --kube-version 1.35 -f "values-$environment.yaml") >"$work/shop.yaml" || die "no rendering"

shows "admission refuses a pod that is not restricted" refused_by_admission
shows "the manifests of $environment are accepted by the API server" apply
give_secrets >/dev/null
took=$(until_true 120 all_ready)
shows "every deployment is available after ${took:-more than 120} s" all_ready
shows "no pod was refused by admission" no_denial
shows "the migrations ran to their end" kubectl -n tidemark wait job/migrations --for=condition=Complete --timeout=60s
scalers_done() { kubectl -n tidemark get hpa -o jsonpath='{range .items[*]}{.spec.minReplicas}={.status.currentReplicas}{"\n"}{end}' | awk -F= '$1 != $2 { bad = 1 } END { exit bad }'; }
shows "the autoscalers have brought their services to their least" until_true 60 scalers_done
versions >"$work/before"
shows "the manifests are accepted a second time" apply
shows "and the second time changed nothing" unchanged
kubectl -n tidemark get deployment,hpa,pdb,networkpolicy --no-headers 2>/dev/null | awk '{ split($1, kind, "/"); count[kind[1]]++ } END { for (k in count) printf "        %3d %s\n", count[k], k }'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
