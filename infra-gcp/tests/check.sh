#!/usr/bin/env bash
# Checks infra-gcp without an account and without Google's provider, which is not available everywhere: form, then Terraform's own
# validate and test on a stand-in that serves the provider's published schema (provider.py), rules on every resource, checkov, and
# the script that starts the job. Takes about half a minute on two idle cores.
#
#   infra-gcp/tests/check.sh
#
# Longer tests: tests/planted.sh (planted mistakes must be detected), tests/yarn.sh (the job's start on a real YARN).
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=infra-gcp/tests/tools.sh
. "$here/tools.sh"

same_files() { # as infra-aws, so that a diff of the two shows the differences of the clouds; only AWS has a cluster, with its operators and people
  diff <(cd "$here/.." && ls ./*.tf env) <(cd "$here/../../infra-aws" && ls ./*.tf env) | grep -vE 'tfbackend|operators.tf|people.tf' | grep '^[<>]' && return 1
  return 0
}

cd "$here/.." || exit 1
if ! have_terraform; then
  missing "Terraform is not installed and cannot be built (Go): nothing of infra-gcp was checked"
  finish
  exit
fi

run "terraform fmt" terraform fmt -check -recursive -diff
run "the same files as infra-aws" same_files
run "no secret or state in the tree" bash -c '! git ls-files . | grep -E "tfstate|\.pem$|\.key$" && ! git grep -nE "PRIVATE KEY|\"private_key\"" -- . ":!tests/check.sh"'
run "the shell scripts parse" bash -c 'bash -n bootstrap/run.sh && sed "s/\$\${/\${/g; s/\${[a-z]*}/x/g" bootstrap/startup.sh | bash -n'

copy_to "$work/infra-gcp"
if ! find_schema; then
  missing "the published schema of Google's provider is not available (npm): validate, test and the rules did not run"
elif ! python=$(python_with google 'grpcio>=1.70,<2'); then
  missing "grpcio cannot be installed here: validate, test and the rules did not run"
else
  stand_in_for_google "$python"
  cd "$work/infra-gcp" || exit 1
  run "terraform init, with the stand-in" terraform init -backend=false -input=false -no-color
  run "terraform validate" terraform validate -no-color
  run "terraform test: dev" holds_in dev dev
  run "terraform test: prod, alone" holds_in prod prod
  run "terraform test: prod, linked to AWS" holds_in prod linked
  run "rules on every resource: dev" rules_on dev alone
  run "rules on every resource: prod, alone" rules_on prod alone
  run "rules on every resource: prod on a stateful group" rules_on linked on_a_stateful_group
  run "rules on every resource: prod on Dataproc" rules_on linked on_dataproc
  grep -hE '^ +[0-9]+ resources' <(rules_on prod alone) <(rules_on linked on_a_stateful_group) <(rules_on linked on_dataproc) |
    paste -sd, | sed 's/^/   prod alone, on a stateful group, on Dataproc:/; s/  */ /g'
fi
cd "$here/.." || exit 1

checkov_in dev prod
finish
