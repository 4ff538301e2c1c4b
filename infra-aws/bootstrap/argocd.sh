#!/usr/bin/env bash
# Installs Argo CD in a fresh cluster and applies its first Application. delivery.tf runs it. A second run changes nothing that is
# already in place.
#
# Needs aws, helm and kubectl. WAY_IN is the machine that forwards to an API without a public address (way-in.sh). KUBECONFIG_FILE
# names a cluster that is not EKS, and CHART_FOLDER a local chart if its repository cannot be reached.
set -euo pipefail

: "${ROOT_APPLICATION:?the manifest}" "${ROOT_PATCH:?what this cluster has of its own in it, as JSON}" "${CHART_VERSION:?}"

work=$(mktemp -d)
session=
trap '[ -z "$session" ] || kill "$session" 2>/dev/null; rm -rf "$work"' EXIT

export KUBECONFIG=$work/kubeconfig
if [ -n "${KUBECONFIG_FILE:-}" ]; then
  cp "$KUBECONFIG_FILE" "$KUBECONFIG"
else
  aws eks update-kubeconfig --name "${CLUSTER:?}" --region "${REGION:?}" --kubeconfig "$KUBECONFIG" >/dev/null
fi
if [ -n "${WAY_IN:-}" ]; then
  "$(dirname "$0")/way-in.sh" "$WAY_IN" "$CLUSTER" "$REGION" "$KUBECONFIG" &
  session=$!
  for _ in $(seq 60); do
    kubectl get --raw /readyz >/dev/null 2>&1 && break
    kill -0 "$session" 2>/dev/null || { echo "the session to $WAY_IN ended: check that the Session Manager plugin is installed, and that you have the right ssm:StartSession" >&2; exit 1; }
    sleep 1
  done
fi

chart=(argo-cd --repo https://argoproj.github.io/argo-helm --version "$CHART_VERSION")
[ -z "${CHART_FOLDER:-}" ] || chart=("$CHART_FOLDER")

helm upgrade --install argocd "${chart[@]}" --namespace argocd --create-namespace --wait --timeout 10m \
  -f "$(dirname "$0")/../../helm/argocd/argo-cd-values.yaml"

kubectl patch --local -f "$ROOT_APPLICATION" --type merge -p "$ROOT_PATCH" -o json >"$work/root.json"
kubectl apply --server-side --force-conflicts --field-manager tidemark-bootstrap -f "$work/root.json"
