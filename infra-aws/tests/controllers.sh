#!/usr/bin/env bash
# Runs the real load balancer controller and the real External Secrets on a real API server and an emulation of AWS (moto), which
# allows each of their calls only by the policies of infra-aws. Their arguments, service accounts and rights in the cluster are those
# of their charts with the values of this configuration; their credentials come from an agent of Pod Identity. Then plants mistakes
# in the policies, each of which must be refused by its name. Takes two minutes.
#
#   infra-aws/tests/controllers.sh [prod|dev] [STATE]       prod by default; STATE is an existing state (distinct_state in states.sh)
#
# Needs the programs of helm/tests/cluster/build.sh, the charts (see helm/tests/operators.sh), Terraform and moto.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
environment=${1:-prod}
name=tidemark-$environment made=${2:-}

states() ( # folder: the state of the environment, in which each resource has an ARN of its own
  work=$1
  # shellcheck source=infra-aws/tests/tools.sh
  . "$here/tools.sh"
  # shellcheck source=infra-aws/tests/states.sh
  . "$here/states.sh"
  run=cheap
  [ "$environment" = dev ] || run=linked
  have_terraform && python_with moto 'moto[server]==5.2.*' >"$work/python" || exit 1
  [ ! -e "$work/state.json" ] || exit 0
  find_providers
  copy_to "$work/infra-aws" && cd "$work/infra-aws" || exit 1
  terraform init -backend=false -input=false -no-color -lockfile=readonly >/dev/null &&
    first_state "$environment" "$work/first.json" && distinct_state "$environment" "$run" "$work/first.json" "$work/state.json"
)

# shellcheck source=helm/tests/cluster/up.sh
. "$here/../../helm/tests/cluster/up.sh"
needs etcd kubernetes kwok rollouts load-balancer-controller external-secrets
if [ -z "${TIDEMARK_ALONE:-}" ]; then # the namespace that the rest runs in has no network
  fetch_charts "$tools/charts"
  CONTROLLERS=$(mktemp -d)
  export CONTROLLERS
  if [ -n "$made" ]; then cp "$made" "$CONTROLLERS/state.json"; fi
  states "$CONTROLLERS" || { rm -rf "$CONTROLLERS"; die "no state of infra-aws"; }
fi
alone "$0" "$@"
work=$CONTROLLERS charts=$tools/charts port=5055
export ENVIRONMENT=$environment AWS_EC2_METADATA_DISABLED=true
trap 'leave "$work"' EXIT
part() { "$(cat "$work/python")" "$here/controllers.py" "$@"; }

emulation_up() {
  start emulation "$(cat "$work/python")" "$here/judged.py" --aws "$work/state.json" --filled "$work/filled.json" --log "$work/calls" -p "$port"
  until_true 120 grep -q ready "$state/emulation.log" >/dev/null || die "no emulation of AWS: $(tail -5 "$state/emulation.log")"
}

installed() { # operator, chart, namespace: without its webhooks, which have no server here
  kubectl create namespace "$3" >/dev/null 2>&1
  helm template "$1" "$charts/$2" --namespace "$3" --include-crds --kube-version 1.35 --values "$work/$1.values.json" --skip-tests >"$work/$1.yaml" &&
    python3 "$helm_folder/tests/operators.py" split "$work/$1.yaml" "$work/$1" &&
    kubectl apply --server-side -f "$work/$1/definitions" && kubectl wait --for=condition=Established -f "$work/$1/definitions" --timeout=300s &&
    kubectl apply --server-side -f "$work/$1/others"
}

# Starts a program as its pod would run: with the chart's arguments, the service account's rights, and the role of Pod Identity.
controller() { # operator and its service account, namespace, program, further arguments…
  AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:$port/credentials AWS_CONTAINER_AUTHORIZATION_TOKEN=$2/$1 AWS_ENDPOINT_URL=http://127.0.0.1:$port \
    as_its_pod "$1" "$2" "$work/$1.yaml" "$1" "$3" "${@:4}"
}

webhook_certificate() {
  mkdir -p "$work/certificate"
  openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=webhook -days 2 -keyout "$work/certificate/tls.key" -out "$work/certificate/tls.crt" 2>/dev/null
}

nodes_are_instances() {
  part nodes "$work/filled.json" "$port" >"$work/nodes" || return 1
  while read -r node id; do kubectl patch node "$node" -p "{\"spec\":{\"providerID\":\"$id\"}}" || return 1; done <"$work/nodes"
}

pods_have_addresses() {
  local node id
  while read -r node id; do
    echo "$id $(kubectl -n tidemark get pods --field-selector "spec.nodeName=$node" -o jsonpath='{.items[*].status.podIP}')"
  done <"$work/nodes" | part pods "$port"
}

has_address() { # the Ingress of prod, the Service of dev
  local kind=ingress
  [ "$environment" = prod ] || kind=service
  [ -n "$(kubectl -n tidemark get "$kind" gateway -o jsonpath='{.status.loadBalancer.ingress[0].hostname}')" ]
}

gateway_runs() { kubectl -n tidemark wait pods -l app.kubernetes.io/name=gateway --for=condition=Ready --timeout=1s; }

balancer_is_right() { pods_have_addresses && part balancer "$environment" "$port"; }

balancer_is_gone() { ! part balancer "$environment" "$port" >"$work/gone" || return 1; grep -q '^0 load balancers' "$work/gone"; }

secrets_are_filled() { kubectl -n tidemark get secrets -o json | part secrets "$work"; }

by_name() { # action: the log has a refusal that names it
  grep -qF "may not $1 on" "$work/calls"
}

remove_public() { kubectl -n tidemark delete ingress,service gateway --ignore-not-found --wait=false; }

shop_applied() { kubectl apply --server-side --force-conflicts -n tidemark -f "$work/shop.json"; }

reads_secrets() { kubectl -n tidemark annotate --overwrite externalsecret --all force-sync="$RANDOM"; }

gone() { [ -z "$(kubectl -n tidemark get ingress,service gateway --ignore-not-found -o name 2>/dev/null)" ]; }

makes_balancer() { # from nothing, or another time after a failure
  until_true 300 gone >/dev/null && shop_applied
}

refuses() { # role, text in its policies, what it becomes, the lacking right, command that makes the controller call
  local role=$name-$1 result
  part plant "$port" "$role" "$2" "$3" || return 1
  : >"$work/calls"
  "$5" >/dev/null && until_true 300 by_name "$4"
  result=$?
  [ "$result" -eq 0 ] || cut -c1-300 "$work/calls" | tail -5
  part plant "$port" "$role" && return "$result"
}

planted() { # each begins without the load balancer and ends with the policies as they were
  local role text new right command
  while IFS='|' read -r role text new right command; do
    holds "refused by name: $role may not $right" refuses "$role" "$text" "$new" "$right" "$command"
    [ "$command" = reads_secrets ] || { remove_public >/dev/null; measured "  and without the mistake it is deleted" 300 gone; }
  done <<'MISTAKES'
aws-load-balancer-controller|["CreateListener",|[|elasticloadbalancing:AddTags|makes_balancer
aws-load-balancer-controller|"elasticloadbalancing:CreateListener",||elasticloadbalancing:CreateListener|makes_balancer
aws-load-balancer-controller|"elasticloadbalancing:RegisterTargets",||elasticloadbalancing:RegisterTargets|makes_balancer
aws-load-balancer-controller|"elasticloadbalancing:CreateTargetGroup"|"elasticloadbalancing:None"|elasticloadbalancing:CreateTargetGroup|makes_balancer
aws-load-balancer-controller|"ec2:CreateSecurityGroup"|"ec2:None"|ec2:CreateSecurityGroup|makes_balancer
aws-load-balancer-controller|"ec2:AuthorizeSecurityGroupIngress",||ec2:AuthorizeSecurityGroupIngress|makes_balancer
aws-load-balancer-controller|"ec2:DescribeSubnets",||ec2:DescribeSubnets|makes_balancer
aws-load-balancer-controller|/cluster":"tidemark|/cluster":"another|ec2:CreateTags|makes_balancer
external-secrets|"secretsmanager:GetSecretValue"|"secretsmanager:None"|secretsmanager:GetSecretValue|reads_secrets
external-secrets|"kms:Decrypt"|"kms:None"|kms:Decrypt|reads_secrets
MISTAKES
}

cluster_up "$work/cluster"
emulation_up
part manifests "$work/filled.json" "$work" || die "the chart does not render"
holds "External Secrets' chart is installed" installed external-secrets external-secrets external-secrets
holds "the load balancer controller's chart is installed" installed aws-load-balancer-controller aws-load-balancer-controller kube-system
nodes_are_instances >"$work/said" 2>&1 || die "no instances: $(cat "$work/said")"
operator_kinds
webhook_certificate
restricted_namespace tidemark
holds "the API server accepts the shop" shop_applied
rollouts_up
controller aws-load-balancer-controller kube-system load-balancer-controller \
  --kubeconfig="$state/aws-load-balancer-controller.kubeconfig" --leader-election-namespace=kube-system \
  --webhook-cert-dir="$work/certificate" --metrics-bind-addr=127.0.0.1:0 --health-probe-bind-addr=127.0.0.1:0
controller external-secrets external-secrets external-secrets --enable-leader-election=false --metrics-addr=127.0.0.1:0 --live-addr=127.0.0.1:0
measured "External Secrets has filled every secret of the shop" 400 secrets_are_filled
measured "the gateway's pods run" 300 gateway_runs
measured "the load balancer controller has created the load balancer" 400 has_address
measured "it is as the chart asks: type, subnets, TLS, certificate, health check, pods as targets" 400 balancer_is_right
holds "no call was refused" part refused "$work/calls"
tail -1 "$work/said"
remove_public >/dev/null
measured "the load balancer is deleted with its object" 400 balancer_is_gone
holds "no call was refused while it was deleted" part refused "$work/calls"
planted
verdict
