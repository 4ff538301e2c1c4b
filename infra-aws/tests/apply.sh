#!/usr/bin/env bash
# Applies infra-aws to an emulation of AWS on this machine: apply, second plan, rules on the created resources, destroy, and apply
# again, which fails if a destroyed resource keeps its name. Takes about ten minutes, most of which the provider waits.
#
#   infra-aws/tests/apply.sh [dev|prod]        prod by default, linked to Google Cloud
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
environment=${1:-prod}
emulation=
trap '[ -z "$emulation" ] || kill "$emulation" 2>/dev/null; rm -rf "$work"' EXIT
# shellcheck source=infra-aws/tests/tools.sh
. "$here/tools.sh"

terraform_here() { # subcommand, arguments…
  local command=$1
  shift
  timeout 20m terraform "$command" -no-color -input=false -var-file="env/$environment.tfvars" -var "gcp=$other_cloud" -var "domain=$domain" -var lambda_zip=bootstrap.zip "$@"
}

changes_nothing() {
  terraform_here plan -out plan.bin >plan.txt && terraform show -json plan.bin | python3 "$here/check_plan.py" >changes.txt && return
  sed -n '/^Terraform will perform/,$p' plan.txt
  return 1
}

holds() {
  terraform show -json >state.json && python3 "$here/check_state.py" <state.json
}

hosted_zone() { # the zone of the shop's name, which is there before infra-aws; prints its id
  AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test "$python" -c 'import boto3
zone = boto3.client("route53", region_name="eu-central-1").create_hosted_zone(Name="example.com", CallerReference="1")
print(zone["HostedZone"]["Id"].rpartition("/")[2])'
}

timed() { # command…
  local start=$SECONDS
  "$@"
  local result=$?
  echo "$((SECONDS - start)) s" >"$work/time"
  return $result
}

python=$(python_with moto 'moto[server]==5.2.*') || {
  missing "moto cannot be installed here: nothing was applied"
  finish
  exit
}
find_providers
copy_to "$work/infra-aws"
cd "$work/infra-aws" || exit 1
cp tests/emulated.tf.txt emulated_override.tf
python3 -c 'import zipfile; zipfile.ZipFile("bootstrap.zip", "w").writestr("bootstrap", "#!/bin/sh\n")'
terraform init -input=false -no-color -lockfile=readonly >"$work/init.log" 2>&1 || {
  missing "the AWS provider is not available: nothing was applied"
  finish
  exit
}

other_cloud=null
[ "$environment" = dev ] || other_cloud='{vpn_addresses=["198.51.100.1","198.51.100.2"],bgp_asn=64514,cidr="10.60.0.0/20",job_identity_id="100000000000000000000"}'
port=$(python3 "$here/../../infra-gcp/tests/ports.py" 1)
TF_VAR_kafka_passwords=$(bootstrap/passwords.sh kafka)
TF_VAR_database_passwords=$(bootstrap/passwords.sh database)
export TF_VAR_kafka_passwords TF_VAR_database_passwords AWS_ENDPOINT_URL=http://127.0.0.1:$port
MOTO_IAM_LOAD_MANAGED_POLICIES=true "$python" "$here/emulation.py" -H 127.0.0.1 -p "$port" >"$work/emulation.log" 2>&1 &
emulation=$!
for _ in $(seq 300); do
  (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null && break
  sleep 0.1
done

domain=null
[ "$environment" = dev ] || domain="{host=\"shop.example.com\",zone_id=\"$(hosted_zone)\"}"

# Deletion protection and last snapshots are off, because everything must be destroyed again.
[ "$environment" = dev ] || echo 'protect = false' >>env/prod.tfvars

run "apply" timed terraform_here apply -auto-approve
echo "   $(cat "$work/time"); $(terraform state list 2>/dev/null | grep -vc '^data\.') resources"
run "the rules hold for the created resources" holds
run "a second plan changes only attributes that the emulation forgets or invents" changes_nothing
sed 's/^/ /' changes.txt 2>/dev/null
run "destroy" timed terraform_here destroy -auto-approve
echo "   $(cat "$work/time"); $(terraform state list 2>/dev/null | grep -vc '^data\.') left"
run "apply again" timed terraform_here apply -auto-approve
echo "   $(cat "$work/time"); $(terraform state list 2>/dev/null | grep -vc '^data\.') resources"
run "the rules hold again" holds
[ "$failed" -eq 0 ] || grep -h NotImplementedError: "$work/emulation.log" | sort | uniq -c
finish
