#!/usr/bin/env bash
# The real autoscaler under the load test's profile: the real controllers of Kubernetes at their default pace scale gateway
# 2 → 10 and orders 2 → 8 and back. The nodes are played; what the pods would use is measured (costs.json).
#
#   helm/tests/autoscale.sh [full|quick] [costs.json]      full takes 17 minutes, quick 8 (most of it the real 300 s window)
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
alone "$0" "$@"

shape=${1:-full}
costs=$(realpath "${2:-$helm_folder/tests/costs.json}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cluster_up "$work/state"
operator_kinds
shop_namespace
echo '{}' >"$work/usage.json"
metrics_api "$work/usage.json"
(cd "$helm_folder" && helm template tidemark . --namespace tidemark --kube-version 1.35 -f values-prod.yaml) |
  kubectl apply --server-side --namespace tidemark -f - >/dev/null || die "the manifests were refused"
play_the_operators >/dev/null 2>&1 &
took=$(until_true 120 kubectl -n tidemark wait deployment --all --for=condition=Available --timeout=1s) || die "the shop is not ready"
say "the shop is ready in $took s"
scalers_see() { [ "$(kubectl -n tidemark get hpa -o jsonpath='{.items[*].status.conditions[?(@.type=="ScalingActive")].status}')" = "True True" ]; }
took=$(until_true 120 scalers_see) || die "the autoscalers see no metrics"
say "the autoscalers have metrics after $took s"
python3 "$helm_folder/tests/autoscale.py" "$costs" "$work/usage.json" "$helm_folder/tests/results/autoscale" "$shape"
