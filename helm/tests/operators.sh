#!/usr/bin/env bash
# Checks the operators' own charts, pinned in argocd/, with the values in argocd/operators: they define every name that is set,
# render, are accepted by a real API server, and do not change when applied again. Their kinds accept the objects of the shop's
# chart. Takes less than a minute.
#
#   helm/tests/operators.sh [folder]      with the charts unpacked in it, their dependencies too; else they come from their repositories
#
# Their pods are simulated, so only the manifests of their webhooks and certificates are tested.
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
needs etcd kubernetes kwok

if [ -z "${TIDEMARK_ALONE:-}" ]; then # the namespace that the drill runs in has no network
  charts=${1:-$tools/charts}
  fetch_charts "$charts"
  set -- "$charts"
fi
alone "$0" "$@"

charts=$1
work=$(mktemp -d)
trap 'leave "$work"' EXIT
judge() { python3 "$helm_folder/tests/operators.py" "$@"; }

rendered() { # operator, chart, namespace
  helm template "$1" "$charts/$2" --namespace "$3" --include-crds --kube-version 1.35 --values "$work/$1.values.json" --skip-tests >"$work/$1.yaml"
}

# Definitions first, as Argo CD does it; webhooks are tried and not kept, because they have no server here.
accepted() { # operator
  judge split "$work/$1.yaml" "$work/$1" &&
    { [ ! -s "$work/$1/definitions" ] || { kubectl apply --server-side -f "$work/$1/definitions" && kubectl wait --for=condition=Established -f "$work/$1/definitions" --timeout=60s; }; } &&
    kubectl apply --server-side -f "$work/$1/others" &&
    { [ ! -s "$work/$1/webhooks" ] || kubectl apply --server-side --dry-run=server -f "$work/$1/webhooks"; }
}

at_rest() { # operator: applying it again changes nothing
  kubectl diff --server-side -f "$work/$1/others"
}

allowed() { # operator
  kubectl api-resources --namespaced=false --no-headers | awk '{ group = $(NF - 2); if (!sub("/.*", "", group)) group = ""; print group "/" $NF }' >"$work/kinds"
  judge allowed "$work/$1.yaml" "$work/kinds"
}

available() { kubectl -n "$1" wait deployment --all --for=condition=Available --timeout=1s; }

takes_the_shop() {
  render prod >"$work/shop.yaml" && kubectl apply --server-side --namespace tidemark -f "$work/shop.yaml"
}

cluster_up "$work/state"
judge values "$work"
while read -r operator chart version namespace; do
  holds "$operator: the chart is version $version" grep -qE "^version: \"?$version\"?\$" "$charts/$chart/Chart.yaml"
  holds "$operator: the chart defines every name that is set" judge names "$work/$operator.values.json" "$charts/$chart"
  holds "$operator: renders" rendered "$operator" "$chart" "$namespace"
  kubectl create namespace "$namespace" >/dev/null 2>&1
  kubectl config set-context --current --namespace "$namespace" >/dev/null
  holds "$operator: the API server accepts all manifests" accepted "$operator"
  measured "$operator: every deployment is available" 60 available "$namespace"
  holds "$operator: Argo CD's project allows all of them" allowed "$operator"
  holds "$operator: applying them again changes nothing" at_rest "$operator"
done < <(judge order)
restricted_namespace tidemark
holds "their kinds accept the objects of the shop's chart" takes_the_shop
holds "Prometheus and Grafana select the objects of the shop's chart" judge selectors "$work/monitoring.yaml" "$work/shop.yaml"
verdict
