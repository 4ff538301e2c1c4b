#!/usr/bin/env bash
# Gets the operators' charts, pinned in argocd/, with their dependencies. A chart comes from its repository; if that does not answer,
# from the source of the same version, which is a tag of a Git repository. A mirror of GitHub (Git's url.….insteadOf) serves too.
#
#   helm/tests/charts.sh FOLDER      charts that are there in the pinned version are kept
#
# Needs Helm (tools.sh) and Git.
set -uo pipefail

folder=${1:?a folder}
here=$(cd "$(dirname "$0")" && pwd)
tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}
export PATH="$tools/bin:$PATH"
mkdir -p "$folder"

# Chart | Git repository | tag before the version | path of the chart in it
sources='aws-load-balancer-controller|kubernetes-sigs/aws-load-balancer-controller|v|helm/aws-load-balancer-controller
argo-rollouts|argoproj/argo-helm|argo-rollouts-|charts/argo-rollouts
cluster-autoscaler|kubernetes/autoscaler|cluster-autoscaler-chart-|cluster-autoscaler/charts/cluster-autoscaler
external-dns|kubernetes-sigs/external-dns|external-dns-helm-chart-|charts/external-dns
external-secrets|external-secrets/external-secrets|helm-chart-|deploy/charts/external-secrets
grafana|grafana-community/helm-charts|grafana-|charts/grafana
kube-prometheus-stack|prometheus-community/helm-charts|kube-prometheus-stack-|charts/kube-prometheus-stack
kube-state-metrics|prometheus-community/helm-charts|kube-state-metrics-|charts/kube-state-metrics
metrics-server|kubernetes-sigs/metrics-server|metrics-server-helm-chart-|charts/metrics-server
opentelemetry-collector|open-telemetry/opentelemetry-helm-charts|opentelemetry-collector-|charts/opentelemetry-collector
prometheus-node-exporter|prometheus-community/helm-charts|prometheus-node-exporter-|charts/prometheus-node-exporter
reloader|stakater/Reloader|chart-v|deployments/kubernetes/chart/reloader'

# Dependencies that no operator enables; Helm requires only those that Chart.yaml lists.
unused='bitwarden-sdk-server|prometheus-windows-exporter'

is_version() { # folder of a chart, version
  grep -qE "^version: \"?$2\"?\$" "$1/Chart.yaml" 2>/dev/null
}

from_source() { # chart, version, folder in which the chart's own is created
  local repository prefix path work
  IFS='|' read -r _ repository prefix path < <(grep "^$1|" <<<"$sources")
  [ -n "$path" ] || { echo "the source of the chart $1 is not listed in ${BASH_SOURCE[0]}" >&2; return 1; }
  work=$(mktemp -d)
  git -c advice.detachedHead=false clone -q --depth 1 --filter=blob:none --sparse --branch "$prefix$2" "https://github.com/$repository" "$work/source" &&
    git -C "$work/source" sparse-checkout set "$path" deploy/crds && mkdir -p "$3" && mv "$work/source/$path" "$3/$1" &&
    with_dependencies "$3/$1" && with_definitions "$work/source" "$3/$1"
  local result=$?
  rm -rf "$work"
  return $result
}

# The release of this chart has its definitions among the templates; its source has them in a file of their own.
with_definitions() { # folder of the source, folder of a chart
  [ "${2##*/}" != external-secrets ] || { mkdir "$2/crds" && cp "$1/deploy/crds/bundle.yaml" "$2/crds/"; }
}

with_dependencies() { # folder of a chart: adds those that are not in it
  local name version
  sed -i -E "/^  ?- name: ($unused)\$/,/^ +condition: /d" "$1/Chart.yaml"
  while read -r name version; do
    [ -d "$1/charts/$name" ] || from_source "$name" "$version" "$1/charts" || return 1
  done < <(awk '/^[a-z]/ { inside = /^dependencies:/ } inside && $2 == "name:" { name = $3 } inside && $1 == "version:" { gsub(/"/, "", $2); print name, $2 }' "$1/Chart.yaml")
}

result=0
while read -r chart version repository; do
  is_version "$folder/$chart" "$version" && continue
  rm -rf "${folder:?}/$chart"
  if ! said=$(helm pull "$chart" --repo "$repository" --version "$version" --untar --untardir "$folder" 2>&1); then
    echo "$chart $version: from its source, because its repository does not answer: ${said##*: }" >&2
    from_source "$chart" "$version" "$folder" && is_version "$folder/$chart" "$version" || { echo "the chart $chart $version is not available" >&2; result=1; }
  fi
done < <(python3 "$here/operators.py" list)
exit $result
