#!/usr/bin/env bash
# The operators' own charts, pinned in argocd/, with our values for them: they know every name that we set, render, are accepted
# by a real API server, come to rest there, and take what the shop's chart makes for them. Less than a minute.
#
#   helm/tests/operators.sh [folder]      with the charts unpacked in it, their dependencies too; else they come from their repositories
#
# Their pods are played, so of their webhooks and certificates only the manifests are shown.
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
needs etcd kubernetes kwok

if [ -z "${TIDEMARK_ALONE:-}" ]; then # the namespace that the drill runs in has no network
  charts=${1:-$tools/charts}
  mkdir -p "$charts"
  while read -r chart version repository; do
    [ -d "$charts/$chart" ] || said=$(helm pull "$chart" --repo "$repository" --version "$version" --untar --untardir "$charts" 2>&1) ||
      cannot "the chart $chart cannot be had here: $said"
  done < <(python3 "$helm_folder/tests/operators.py" list)
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

at_rest() { # operator: what is applied again would change nothing
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
  holds "$operator: every name that we set is one that the chart has" judge names "$work/$operator.values.json" "$charts/$chart"
  holds "$operator: renders" rendered "$operator" "$chart" "$namespace"
  kubectl create namespace "$namespace" >/dev/null 2>&1
  kubectl config set-context --current --namespace "$namespace" >/dev/null
  holds "$operator: the API server accepts all manifests" accepted "$operator"
  measured "$operator: every deployment is available" 60 available "$namespace"
  holds "$operator: Argo CD's project lets it make all of them" allowed "$operator"
  holds "$operator: applied again, they would change nothing" at_rest "$operator"
done < <(judge order)
restricted_namespace tidemark
holds "their kinds take what the shop's chart makes of them" takes_the_shop
holds "Prometheus and Grafana look for what the shop's chart makes" judge selectors "$work/monitoring.yaml" "$work/shop.yaml"
verdict
