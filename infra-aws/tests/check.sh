#!/usr/bin/env bash
# Checks infra-aws without an account: form, the real provider's schema, the assertions about dev and prod, least privilege,
# checkov. Takes about a minute on two idle cores.
#
#   infra-aws/tests/check.sh
#
# Longer tests: tests/planted.sh and tests/joints.sh (planted mistakes must be detected), tests/apply.sh (apply, plan, destroy
# against an emulation).
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=infra-aws/tests/tools.sh
. "$here/tools.sh"
# shellcheck source=infra-aws/tests/states.sh
. "$here/states.sh"

every_edge_is_open() { # environment, run, google's state for prod
  distinct_state "$1" "$2" "$work/$1.json" "$work/distinct-$1.json" && edges_are_open "$1" "${3:-}" >"$work/edges-$1"
  local result=$?
  [ $result -eq 0 ] || cat "$work/edges-$1" "$work/distinct-$1.json" 2>/dev/null | grep -E 'CLOSED|"@level":"error"' | head -n 20
  return $result
}

bootstrap_speaks_to() { # the cluster in delivery.tf, and applies the manifest of the chart
  mkdir -p "$work/bin"
  for tool in aws helm; do printf '#!/bin/sh\necho "%s $*" >>"%s/said"\n' "$tool" "$work" >"$work/bin/$tool"; done
  printf '#!/bin/sh\ncase $1 in patch) echo "kubectl $*" >>"%s/said"; echo "{}";; *) echo "kubectl $*" >>"%s/said";; esac\n' "$work" "$work" >"$work/bin/kubectl"
  chmod +x "$work/bin/"*
  : >"$work/said"
  PATH=$work/bin:$PATH CLUSTER=c REGION=r CHART_VERSION=1.2.3 ROOT_APPLICATION=root.yaml ROOT_PATCH='{"spec":{}}' KUBECONFIG_FILE='' CHART_FOLDER='' \
    "$here/../bootstrap/argocd.sh" || return 1
  grep -q 'aws eks update-kubeconfig --name c --region r' "$work/said" &&
    grep -q 'helm upgrade --install argocd argo-cd .*--version 1.2.3 .* -f .*/bootstrap/../../helm/argocd/argo-cd-values.yaml$' "$work/said" &&
    [ -f "$here/../../helm/argocd/argo-cd-values.yaml" ] &&
    grep -q 'kubectl patch --local -f root.yaml --type merge -p {"spec":{}}' "$work/said" &&
    grep -q 'kubectl apply --server-side' "$work/said"
}

says_its_steps() { # without tools on the PATH
  local said=$work/steps
  mkdir -p "$work/none"
  { PATH=/usr/bin:/bin "$here/../bootstrap/apply.sh" prod a-bucket --dry-run && "$here/../bootstrap/destroy.sh" prod --dry-run; } >"$said" || return 1
  [ "$(grep -c '^would: ' "$said")" -ge 15 ] && ! grep -q '^done' "$said" && grep -q 'terraform apply .*-var-file=env/prod.tfvars' "$said" && grep -q 'terraform destroy' "$said"
}

stops_at_the_first() { # at the examples in env/prod.tfvars, before it creates anything
  mkdir -p "$work/tools"
  for tool in aws terraform helm kubectl; do printf '#!/bin/sh\necho "%s $*" >>"%s/called"\n' "$tool" "$work" >"$work/tools/$tool"; done
  chmod +x "$work/tools/"*
  : >"$work/called"
  ! PATH=$work/tools:$PATH "$here/../bootstrap/apply.sh" prod a-bucket >"$work/stopped" 2>&1 && grep -q 'FAILED: env/prod.tfvars has no examples left' "$work/stopped" && [ ! -s "$work/called" ]
}

may_do_what_it_does() {
  python3 "$here/check_calls.py" "$here/../../services" alone <"$work/prod.json"
}

compare_tables() { # python
  "$1" "$here/check_tables.py" "$program" alone <"$work/prod.json" >"$work/tables"
  local result=$?
  [ $result -eq 0 ] || cat "$work/tables"
  sed -i '1!d; s/^/   /' "$work/tables"
  return $result
}

cd "$here/.." || exit 1
if ! have_terraform; then
  missing "Terraform is not installed and cannot be built (Go): nothing of infra-aws was checked"
  finish
  exit
fi

run "terraform fmt" terraform fmt -check -recursive -diff
run "no account id, secret or state in the tree" bash -c '! git ls-files . | grep -E "tfstate|\.pem$|\.key$" && ! git grep -nE "\b[0-9]{12}\b" -- . | grep -v "123456789012" && ! git grep -nE "AKIA[0-9A-Z]{16}" -- .'
run "bootstrap/argocd.sh makes the expected calls of aws, helm and kubectl" bootstrap_speaks_to
run "bootstrap/apply.sh and destroy.sh print their steps with --dry-run, and do nothing" says_its_steps
run "bootstrap/apply.sh stops at the first step that fails" stops_at_the_first
for users in "kafka services stream" "database orders users"; do
  run "bootstrap/passwords.sh ${users%% *} prints a valid value of its variable" bash -c 'bootstrap/passwords.sh $0 | python3 -c "import json,sys; p=json.load(sys.stdin); assert list(p)==sys.argv[1:] and len(set(p.values()))==2 and all(len(v)>=24 for v in p.values())" "$@"' $users
done

find_providers
copy_to "$work/infra-aws"
cd "$work/infra-aws" || exit 1
if terraform init -backend=false -input=false -no-color -lockfile=readonly >"$work/init.log" 2>&1; then
  run "terraform validate" terraform validate -no-color
  for environment in dev prod; do
    run "terraform test: $environment" holds_in "$environment" "$environment"
  done
  run "rules on every resource: dev" rules_on dev cheap
  run "rules on every resource: prod, alone" rules_on prod alone
  run "rules on every resource: prod, linked to Google Cloud" rules_on prod linked
  grep -hE '^ +[0-9]+ resources' <(rules_on dev cheap) <(rules_on prod alone) <(rules_on prod linked) | paste -sd, | sed 's/^/   dev, prod alone, prod linked:/; s/  */ /g'
  run "IAM's evaluator agrees with the documentation" python3 "$here/iam.py"
  "$here/../../helm/tests/tools.sh" helm >/dev/null || missing "helm is not available: the edges were not checked"
  cp -r "$here/../../infra-gcp" "$work/google"
  run "Google's side of the edges" google_state "$work/google" "$work/google.json"
  run "every edge of helm/edges.json is open: dev" every_edge_is_open dev cheap
  run "every edge of helm/edges.json is open: prod, linked to Google Cloud" every_edge_is_open prod linked "$work/google.json"
  tail -qn 1 "$work"/edges-* 2>/dev/null
else
  missing "the AWS provider 5.100 is not available: validate, test and the rules did not run"
  sed 's/^/    /' "$work/init.log"
fi
cd "$here/.." || exit 1

checkov_in dev prod

if [ -s "$work/prod.json" ]; then
  run "each service has the rights to the calls in its source, and no others" may_do_what_it_does
fi
program=${PLATFORM:-$(ls -t "${CARGO_TARGET_DIR:-$here/../../target}"/*/platform 2>/dev/null | head -n 1)}
if ! [ -x "$program" ]; then
  missing "the platform is not built: the services' tables were not compared with these (cargo build, or PLATFORM=path)"
elif ! [ -s "$work/prod.json" ]; then
  missing "no state to compare the services' tables with"
elif python=$(python_with moto 'moto[server]==5.2.*'); then
  run "the tables are those that the services create" compare_tables "$python"
  cat "$work/tables"
else
  missing "moto cannot be installed here: the services' tables were not compared with these"
fi
finish
