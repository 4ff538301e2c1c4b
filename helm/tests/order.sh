#!/usr/bin/env bash
# Checks the order of the app of apps with the operators' own charts: every object of an operator and of the shop has a kind that its
# own chart defines, or one of an earlier wave. Then plants mistakes in the order. Needs no cluster; takes half a minute.
#
#   helm/tests/order.sh [folder]      with the charts unpacked in it; else charts.sh gets them
set -uo pipefail

folder=$(cd "$(dirname "$0")" && pwd)
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
export PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
# shellcheck source=helm/tests/verdict.sh
. "$folder/verdict.sh"
"$folder/tools.sh" helm >/dev/null || cannot "helm is not available"
charts=${1:-$tools/charts}
[ -n "${1:-}" ] || "$folder/charts.sh" "$charts" || cannot "charts of the operators are not available"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ordered() { # folder of the chart
  local out=$work/out operator chart namespace
  rm -rf "$out" && mkdir "$out" && python3 "$1/tests/operators.py" values "$out" || return 1
  while read -r operator chart _ namespace; do
    helm template "$operator" "$charts/$chart" --namespace "$namespace" --include-crds --kube-version 1.35 --values "$out/$operator.values.json" \
      --skip-tests >"$out/$operator.yaml" || return 1
  done < <(python3 "$1/tests/operators.py" order)
  helm template tidemark "$1" --namespace tidemark --kube-version 1.35 -f "$1/values-prod.yaml" >"$out/shop.yaml" &&
    python3 "$1/tests/operators.py" kinds "$out" "$out/shop.yaml"
}

refused() { # what the output names, file, sed expression
  rm -rf "$work/copy" && cp -r "$folder/.." "$work/copy" && sed -i "$3" "$work/copy/$2"
  ! cmp -s "$work/copy/$2" "$folder/../$2" || { echo "the mistake could not be planted: $2 has changed"; return 1; }
  ! ordered "$work/copy" >"$work/found" 2>&1
  local result=$?
  cat "$work/found"
  [ $result -eq 0 ] && grep -q "$1" "$work/found"
}

holds "every kind is there before its first object" ordered "$folder/.."
grep ' kinds, of ' "$work/said"
order=argocd/templates/operators.yaml
holds "refused: External Secrets in the wave of monitoring" refused "monitoring of wave -4 has ExternalSecret" $order 's/externalSecrets "wave" "-5"/externalSecrets "wave" "-4"/'
holds "refused: monitoring after Argo Rollouts" refused "rollouts of wave -3 has ServiceMonitor" $order 's/monitoring "wave" "-4"/monitoring "wave" "-2"/'
holds "refused: Argo Rollouts after the shop" refused "tidemark of wave 0 has Rollout" $order 's/rollouts "wave" "-3"/rollouts "wave" "1"/'
holds "refused: a ServiceMonitor of external-dns" refused "external-dns of wave -5 has ServiceMonitor" argocd/operators/external-dns.yaml 's/^policy: sync/serviceMonitor: {enabled: true}\n&/'
holds "refused: External Secrets without its definitions" refused "which no chart defines" argocd/operators/monitoring.yaml 's/generators.external-secrets.io\/v1alpha1/generators.external-secrets.example.io\/v1alpha1/'
verdict
