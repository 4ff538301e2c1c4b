#!/usr/bin/env bash
# Gives access to a Kubernetes API without a public address: forwards a port of this machine through Session Manager, and writes a
# kubeconfig for it. Runs until it is ended. Needs aws with its Session Manager plugin, kubectl, and the right ssm:StartSession.
#
#   bootstrap/way-in.sh MACHINE CLUSTER REGION [KUBECONFIG] [PORT]      MACHINE is Terraform's output way_in; PORT is 8443 unless given
set -euo pipefail

machine=${1:?the machine: the output way_in} cluster=${2:?the cluster} region=${3:?the region}
kubeconfig=${4:-${KUBECONFIG:-$HOME/.kube/config}} port=${5:-8443}

endpoint=$(aws eks describe-cluster --name "$cluster" --region "$region" --query cluster.endpoint --output text)
host=${endpoint#https://}
[ "$host" != "$endpoint" ] && [ -n "$host" ] || { echo "cluster $cluster has no endpoint: $endpoint" >&2; exit 1; }

aws eks update-kubeconfig --name "$cluster" --region "$region" --kubeconfig "$kubeconfig" >/dev/null
context=$(kubectl config current-context --kubeconfig "$kubeconfig")
name=$(kubectl config view --kubeconfig "$kubeconfig" -o jsonpath="{.contexts[?(@.name=='$context')].context.cluster}")
kubectl config set-cluster "$name" --kubeconfig "$kubeconfig" --server "https://127.0.0.1:$port" --tls-server-name "$host" >/dev/null

exec aws ssm start-session --target "$machine" --region "$region" --document-name AWS-StartPortForwardingSessionToRemoteHost \
  --parameters "host=$host,portNumber=443,localPortNumber=$port"
