#!/usr/bin/env bash
# Releases images with the real controller of Argo Rollouts on a real API server, with a real Prometheus: a good image replaces the
# old one step by step, one that fails requests is removed again, and so is one whose errors cannot be counted. The pods and their
# metrics are played. Takes five minutes.
#
#   helm/tests/canary.sh [helm's arguments …]      e.g. --set canary.maxErrorPercent=50, with which it must fail
#
# Steps last seconds instead of minutes, and there are no migrations, a Job that only Argo CD can replace; all else is that of
# values-prod.yaml.
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
needs etcd kubernetes kwok rollouts
[ -x "$tools/bin/prometheus" ] || cannot "prometheus is not there (helm/tests/tools.sh promtool)"
alone "$0" "$@"

work=$(mktemp -d)
trap 'leave "$work"' EXIT
bad=sha256:$(printf 'b%.0s' {1..64})
arguments=("$@")

released() { # digest: applies the chart with this image
  (cd "$helm_folder" && helm template tidemark . --namespace tidemark --kube-version 1.35 -f values-prod.yaml --set image.digest="$1" \
    --set migrations.enabled=false \
    --set canary.prometheus=http://127.0.0.1:9090 --set canary.interval=2s --set canary.window=10s \
    --set-json 'canary.steps=[{"weight": 10, "pause": "40s"}, {"weight": 50, "pause": "30s"}]' "${arguments[@]}") |
    kubectl apply --server-side --force-conflicts -n tidemark -f -
}

prometheus_up() {
  printf '%s\n' 'global: {scrape_interval: 1s}' 'scrape_configs: [{job_name: shop, honor_labels: true, static_configs: [{targets: ["127.0.0.1:9101"]}]}]' >"$work/prometheus.yaml"
  start metrics_of_shop python3 "$helm_folder/tests/cluster/shop_metrics.py" 9101 "$bad" 20
  start prometheus "$tools/bin/prometheus" --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/tsdb" --web.listen-address=127.0.0.1:9090
  prometheus=$!
}

usage() { # millicores of all pods of orders
  printf '{"gateway": {"cpu_m": 20, "memory_mib": 16}, "orders": {"cpu_m": %s, "memory_mib": 16}}' "$1" >"$work/usage.json"
}

images() { # service: the digests of its running pods
  kubectl -n tidemark get pods -l "app.kubernetes.io/name=$1" --field-selector=status.phase=Running -o jsonpath='{range .items[*]}{.metadata.deletionTimestamp} {.spec.containers[0].image}{"\n"}{end}' |
    awk 'NF == 1' | sed 's/.*@//' | sort | uniq -c
}
phase() { kubectl -n tidemark get rollout "$1" -o jsonpath='{.status.phase}'; }
runs_only() { # digest, least number of pods: both services are healthy, and have no other pods
  local service
  for service in gateway orders; do
    [ "$(phase "$service")" = Healthy ] && images "$service" | awk -v digest="$1" -v least="$2" '$2 != digest { other = 1 } { pods += $1 } END { exit other || pods < least }' || return 1
  done
}
runs_both() { [ "$(images gateway | wc -l)" = 2 ] && [ "$(images orders | wc -l)" = 2 ]; }
new_are_few() { # at the first step there is one new pod of each service, and the old ones are all there
  local service
  for service in gateway orders; do images "$service" | awk -v new="$1" '$2 == new { few = $1 == 1 } $2 != new { old = $1 >= 2 } END { exit !(few && old) }' || return 1; done
}
removed_again() { # the image that stays: the new pods are gone, the old ones serve, and a person sees it
  local service
  for service in gateway orders; do
    [ "$(phase "$service")" = Degraded ] && [ "$(images "$service" | awk '{print $2}')" = "$1" ] || return 1
  done
}
orders_are() { [ "$(kubectl -n tidemark get rollout orders -o jsonpath='{.status.readyReplicas}')" = "$1" ]; }
no_pods_of_deployments() { [ "$(kubectl -n tidemark get deployment gateway orders -o jsonpath='{.items[*].status.replicas}')" = "" ]; }

# Looks at the number of ready pods of both services until it is told to end.
watch_pods() {
  while sleep 0.3; do
    kubectl -n tidemark get rollout gateway orders -o jsonpath='{range .items[*]}{.metadata.name} {.status.availableReplicas}{"\n"}{end}' >>"$work/available"
  done
}
never_below_two() { [ -s "$work/available" ] && awk '$2 < 2 { print; bad = 1 } END { exit bad }' "$work/available"; }

first=sha256:$(printf '1%.0s' {1..64}) second=sha256:$(printf '2%.0s' {1..64}) third=sha256:$(printf '3%.0s' {1..64})
cluster_up "$work/state"
operator_kinds
usage 20
metrics_api "$work/usage.json"
play_operators
restricted_namespace tidemark
rollouts_up
prometheus_up
holds "the API server accepts all manifests" released "$first"
measured "gateway and orders have the two pods that their autoscalers ask for" 120 runs_only "$first" 2 || exit 1
holds "their Deployments have no pods of their own" no_pods_of_deployments
watch_pods &
released "$second" >/dev/null
measured "a good image: at first one new pod beside the old ones" 60 new_are_few "$second"
measured "then it replaces the old one" 150 runs_only "$second" 2
released "$bad" >/dev/null
measured "an image that fails a fifth of its requests: at first one new pod beside the old ones" 60 new_are_few "$bad"
measured "it is removed again" 60 removed_again "$second"
released "$second" >/dev/null
measured "after the revert in Git both are healthy again" 60 runs_only "$second" 2
usage 660
measured "the autoscaler sets 5 pods of orders, as its load requires" 90 orders_are 5
usage 20
kill "$prometheus"
released "$third" >/dev/null
measured "without Prometheus, new pods are removed again" 90 removed_again "$second"
holds "there were never fewer than two ready pods" never_below_two
verdict
