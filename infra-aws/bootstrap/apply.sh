#!/usr/bin/env bash
# Applies infra-aws step by step, and checks each step before the next. A second run continues where the first one stopped.
#
#   bootstrap/apply.sh dev|prod STATE_BUCKET [--dry-run] [terraform arguments …]      --dry-run prints the steps, and does nothing
set -euo pipefail

cd "$(dirname "$0")/.."
environment=${1:?dev or prod} bucket=${2:?the bucket that keeps the state}
shift 2
dry=
[ "${1:-}" != --dry-run ] || { dry=1; shift; }
# shellcheck source=infra-aws/bootstrap/steps.sh
. bootstrap/steps.sh

step "the tools are there" needs aws terraform helm kubectl openssl
step "env/$environment.tfvars has no examples left" no_examples "env/$environment.tfvars"
step "whoever applies this administers the cluster" is_admin "env/$environment.tfvars"
step "the file processor's zip is built" test -f ../target/lambda/file-processor/arm64/bootstrap.zip
step "the bucket of the state keeps versions" keeps_versions "$bucket"
step "Terraform knows its state" terraform init -input=false -backend-config="env/$environment.s3.tfbackend" -backend-config="bucket=$bucket"
step "passwords for Kafka's and MySQL's users" fresh_passwords
step "apply" terraform apply -input=false -auto-approve -var-file="env/$environment.tfvars" "$@"
step "a second plan changes nothing" terraform plan -input=false -detailed-exitcode -var-file="env/$environment.tfvars" "$@"
[ -n "$dry" ] || echo "done: now set the secrets that Terraform does not generate (README.md), and open the link in the mail from SNS"
