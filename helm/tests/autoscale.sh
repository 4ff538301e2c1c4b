#!/usr/bin/env bash
# The real autoscaler under the load test's profile: the real controllers of Kubernetes at their default pace scale gateway
# 2 → 10 and orders 2 → 8 and back. The nodes are simulated; the CPU time of the pods is that which costs.sh measured (costs.json).
#
#   helm/tests/autoscale.sh [full|quick] [costs.json]      full takes 16 minutes, quick 11: the window of 300 s is not shortened
#
# Writes helm/docs/autoscale.svg, the plot of users, requests and pods, and autoscale.csv, its numbers.
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
needs etcd kubernetes kwok rollouts
alone "$0" "$@"

shape=${1:-full}
costs=$(realpath "${2:-$helm_folder/tests/costs.json}")
work=$(mktemp -d)
trap 'leave "$work"' EXIT

scalers_see() { [ "$(kubectl -n tidemark get hpa -o jsonpath='{.items[*].status.conditions[?(@.type=="ScalingActive")].status}')" = "True True" ]; }

cluster_up "$work/state"
operator_kinds
restricted_namespace tidemark
echo '{}' >"$work/usage.json"
metrics_api "$work/usage.json"
play_operators
rollouts_up
render prod | kubectl apply --server-side --namespace tidemark -f - >/dev/null || die "the manifests were refused"
measured "the shop is ready" 120 kubectl -n tidemark wait deployment --all --for=condition=Available --timeout=1s || exit 1
measured "both autoscalers have metrics" 120 scalers_see || exit 1
python3 "$helm_folder/tests/autoscale.py" "$costs" "$work/usage.json" "$helm_folder/docs/autoscale" "$shape"
