#!/usr/bin/env bash
# Tests that the checks detect mistakes. Plants one at a time in a copy of the configuration, and expects `terraform validate`,
# `terraform test` or the rules of check_state.py to refuse it. A few seconds each.
#
#   infra-gcp/tests/planted.sh [WORD]      all mistakes, or those whose name has the word
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=infra-gcp/tests/tools.sh
. "$here/tools.sh"
# shellcheck source=infra-aws/tests/planting.sh
. "$here/../../infra-aws/tests/planting.sh"

# description | file | sed expression
mistakes=(
  'an argument that does not exist|network.tf|s/flow_sampling  /flow_samplng   /'
  'a resource type that does not exist|vpn.tf|s/"google_compute_ha_vpn_gateway" "this"/"google_compute_ha_vpn_gatway" "this"/'
  'a required argument left out|vpn.tf|/shared_secret  /d'
  'a value of the wrong type|network.tf|s/private_ip_google_access = true/private_ip_google_access = "maybe"/'
  'a block written as an attribute|storage.tf|s/  versioning {/  versioning = {/'
  'an attribute written as a block|compute.tf|s/  metadata = {/  metadata {/'
  'a block twice where one is allowed|compute.tf|s/  named_port {/  stateful_internal_ip {}\n  version {}\n  named_port {/'
  'a reference to nothing|dns.tf|s/google_compute_network.this.id/google_compute_network.main.id/'
  'an open firewall|security.tf|s/cidrs = \["35.235.240.0\/20"\]/cidrs = ["0.0.0.0\/0"]/'
  'SSH for every machine|security.tf|/"google_compute_firewall" "from_outside"/,/^}/{/target_service_accounts/d}'
  'a bucket that can be public|storage.tf|s/public_access_prevention    = "enforced"/public_access_prevention    = "inherited"/'
  'a bucket without versions|storage.tf|/  versioning {/{n;s/true/false/}'
  'a public address|compute.tf|s/    subnetwork = google_compute_subnetwork.job.id/&\n    access_config {}/'
  'an editor|identity.tf|s/"roles\/logging.logWriter"/"roles\/editor"/'
  'any role of the account may deliver|identity.tf|s/assumed-role\/${var.aws_pipeline_role}\//assumed-role\//'
  'the password in the state|secrets.tf|s/secret_data_wo         = var.kafka_password/secret_data            = nonsensitive("only-for-tests")/;/secret_data_wo_version/d'
  'tunnels with swapped ends|vpn.tf|s/cidrhost(each.value.inside_cidr, 1)/cidrhost(each.value.inside_cidr, 2)/'
  'names asked over the internet|dns.tf|s/forwarding_path = "private"/forwarding_path = "default"/'
  'DNS that gets no answers|network.tf|/advertised_ip_ranges {/,/}/d'
  'health judged by readiness|compute.tf|s/\/health\/live/\/health\/ready/'
  'an application that YARN kills after ten minutes|streaming.tf|/"-timeout"/d'
  'three workers|compute.tf|/worker_config {/{n;s/2/3/}'
  'a job without slots|streaming.tf|/TIDEMARK_SINK_SLOTS/d'
  'four slots for life|variables.tf|s/optional(number, 64)/optional(number, 4)/'
  'a Kafka of its own without a job|locals.tf|s/on_gce      = local.has_kafka/on_gce      = local.linked/'
  'brokers of its own that are blocked|security.tf|s/local.has_kafka ? { kafka/local.linked ? { kafka/'
  'a login that is not passed on|streaming.tf|/JOB_KAFKA_LOGIN/d'
  'workers without a slot|variables.tf|s/<= var.job.sink_slots/<= 1024/'
)

rules_hold() { tested prod alone && tested linked on_a_stateful_group on_dataproc; }

if ! find_schema || ! python=$(python_with google 'grpcio>=1.70,<2'); then
  missing "the stand-in for Google's provider needs npm and pip"
  finish
  exit
fi
stand_in_for_google "$python"
copy_to "$work/clean"
(cd "$work/clean" && terraform init -backend=false -input=false -no-color) >/dev/null || exit 1
mv "$work/clean/.terraform" "$work/.terraform"
cp "$work/clean/.terraform.lock.hcl" "$work/lock.hcl"

plant_each "${1:-}"
