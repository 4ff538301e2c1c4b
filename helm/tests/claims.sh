#!/usr/bin/env bash
# Runs the real operator of Prometheus with the monitoring chart on a cluster without a StorageClass, as EKS is. The claims of
# Prometheus must stay pending, with a class that is not the default too, and be bound once the app of apps has made its own. The
# controller of volumes and the scheduler are real; EBS is a stand-in, and pods are simulated. Takes a minute.
#
#   helm/tests/claims.sh [folder]      with the charts unpacked in it
set -uo pipefail
source "$(dirname "$0")/cluster/up.sh"
needs etcd kubernetes kwok prometheus-operator
charts=${1:-$tools/charts}
[ -n "${TIDEMARK_ALONE:-}" ] || fetch_charts "$charts" # the namespace that the drill runs in has no network
alone "$0" "$charts"

work=$(mktemp -d)
trap 'leave "$work"' EXIT
judge() { python3 "$helm_folder/tests/operators.py" "$@"; }
monitoring() { kubectl -n monitoring "$@"; }

install_monitoring() {
  judge values "$work" && kubectl create namespace monitoring &&
    helm template monitoring "$charts/kube-prometheus-stack" --namespace monitoring --include-crds --kube-version 1.35 \
      --values "$work/monitoring.values.json" --set-json 'extraManifests=[]' --skip-tests >"$work/monitoring.yaml" &&
    judge split "$work/monitoring.yaml" "$work/monitoring" &&
    kubectl apply --server-side -f "$work/monitoring/definitions" &&
    kubectl wait --for=condition=Established -f "$work/monitoring/definitions" --timeout=60s &&
    kubectl apply --server-side -f "$work/monitoring/others"
}

class() { # sed expression: the StorageClass of the app of apps, with this change
  helm template root "$helm_folder/argocd" -f "$helm_folder/tests/argocd.yaml" -s templates/volumes.yaml | sed "$1"
}

has_claims() { [ "$(monitoring get pvc -o name | wc -l)" = 2 ]; }
are_bound() { # class: both claims have it
  [ "$(monitoring get pvc -o jsonpath='{range .items[*]}{.status.phase} {.spec.storageClassName}{"\n"}{end}' | sort | uniq -c | xargs)" = "2 Bound $1" ]
}
refusals() { # the number of times that the controller of volumes found no class for a claim
  monitoring get events --field-selector reason=FailedBinding -o jsonpath='{range .items[*]}{.count}{"\n"}{end}' | awk '{ all += $1 } END { print all + 0 }'
}
more_refusals_than() { [ "$(refusals)" -gt "$1" ]; }
none_is_bound() { [ "$(monitoring get pvc -o jsonpath='{.items[*].status.phase}')" = "Pending Pending" ]; }
is_available() { [ "$(monitoring get prometheus monitoring-prometheus -o jsonpath='{.status.conditions[?(@.type=="Available")].status}')" = True ]; }
is_not_available() { [ "$(monitoring get prometheus monitoring-prometheus -o jsonpath='{.status.conditions[?(@.type=="Available")].status}')" = False ]; }

cluster_up "$work/state"
start volumes python3 "$helm_folder/tests/cluster/volumes.py"
holds "the monitoring chart is installed" install_monitoring
operator_of_prometheus "$work/monitoring.yaml"
measured "the operator has created Prometheus' pods, with a claim each" 90 has_claims || exit 1
measured "without a class, the controller of volumes refuses the claims" 60 more_refusals_than 1
holds "and they are pending" none_is_bound
measured "and Prometheus is not available" 60 is_not_available
class 's/is-default-class: "true"/is-default-class: "false"/' | kubectl apply -f - >/dev/null
before=$(refusals)
measured "with a class that is not the default, it refuses them again" 90 more_refusals_than $((before + 1))
holds "and they are pending" none_is_bound
class '' | kubectl apply -f - >/dev/null
measured "with the class of the app of apps, both claims are bound" 120 are_bound gp3
measured "and Prometheus is available" 60 is_available
verdict
