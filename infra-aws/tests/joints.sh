#!/usr/bin/env bash
# Tests that edges.py detects mistakes between the parts. Plants one mistake at a time in a copy of the tree, in the chart, in
# infra-aws or in infra-gcp, and expects edges.py to report the broken edge as closed. A mistake in the chart takes a second, one in
# a cloud ten to twenty.
#
#   infra-aws/tests/joints.sh [WORD]      all mistakes, or those whose line has the word
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trimmed=
trap '[ -z "$trimmed" ] || kill "$trimmed"; rm -rf "$work"' EXIT
# shellcheck source=infra-aws/tests/tools.sh
. "$here/tools.sh"
# shellcheck source=infra-aws/tests/states.sh
. "$here/states.sh"
root=$here/../..

ends_with() { # edge, environment, file, sed expression: plants the mistake, and succeeds if this edge is closed
  local copy=$work/tree
  rm -rf "$copy"
  mkdir "$copy"
  cp -r "$root"/{helm,infra-aws,infra-gcp} "$copy/"
  sed -i "$4" "$copy/$3"
  if cmp -s "$copy/$3" "$root/$3"; then
    echo "the mistake could not be planted: $3 has changed"
    return 1
  fi
  cp "$work/clean-$2.json" "$work/distinct-$2.json"
  local google=
  [ "$2" = dev ] || google=$work/clean-google.json
  case $3 in
    infra-aws/*) (planted_in_aws "$copy/infra-aws" "$2") || return 1 ;;
    infra-gcp/*) google=$work/google.json && google_state "$copy/infra-gcp" "$google" || { errors_of "$google"; return 1; } ;;
  esac
  TIDEMARK_ROOT=$copy edges_are_open "$2" "$google" >"$work/said"
  cat "$work/said"
  grep -qF "CLOSED $1:" "$work/said"
}

planted_in_aws() { # folder, environment
  cd "$1" || return 1
  cp -r "$work/.terraform" .
  cp "$work/distinct-$2.tftest.hcl" tests/distinct.tftest.hcl
  again_distinct "$2" "$work/distinct-$2.json" || { errors_of "$work/distinct-$2.json"; return 1; }
}

errors_of() {
  python3 -c 'import json, sys
for line in open(sys.argv[1]):
    message = json.loads(line)
    if message["@level"] == "error": print(message["@message"], message.get("diagnostic", {}).get("detail", ""))' "$1"
}

# Halves the time of a run of Terraform, which uses the provider through trimmed.py from here on.
trim_provider() {
  local provider python
  provider=$(find -L .terraform/providers -name 'terraform-provider-aws*' -type f -print -quit)
  python=$(python_with google 'grpcio>=1.70,<2') || return 1
  "$python" "$here/trimmed.py" "$provider" . >"$work/attach" 2>"$work/trimmed.log" &
  trimmed=$!
  while [ ! -s "$work/attach" ]; do
    kill -0 "$trimmed" 2>/dev/null || { cat "$work/trimmed.log"; return 1; }
    sleep 0.2
  done
  TF_REATTACH_PROVIDERS=$(<"$work/attach")
  export TF_REATTACH_PROVIDERS
}

# Makes the states without a planted mistake, in which every edge must be open.
clean() {
  copy_to "$work/clean" && cp -r "$root/infra-gcp" "$work/google" && cd "$work/clean" || return 1
  terraform init -backend=false -input=false -no-color -lockfile=readonly >/dev/null || return 1
  cp -r .terraform "$work/"
  trim_provider || return 1
  local environment run
  for environment in dev prod; do
    run=cheap
    [ "$environment" = dev ] || run=linked
    first_state "$environment" "$work/first.json" || { errors_of "$work/first.json"; return 1; }
    distinct_state "$environment" "$run" "$work/first.json" "$work/clean-$environment.json" || { errors_of "$work/clean-$environment.json"; return 1; }
    cp tests/distinct.tftest.hcl "$work/distinct-$environment.tftest.hcl"
    cp "$work/clean-$environment.json" "$work/distinct-$environment.json"
  done
  google_state "$work/google" "$work/clean-google.json" || return 1
  edges_are_open dev && edges_are_open prod "$work/clean-google.json"
}

"$root/helm/tests/tools.sh" helm >/dev/null || missing "helm is not available"
have_terraform || missing "Terraform is not available"
find_providers
run "every edge is open without a mistake" clean
[ "$failed" -eq 0 ] || { finish; exit 1; }

planted=0
while IFS='|' read -r edge environment file expression; do
  [[ "$edge $file $expression" == *"${1:-}"* ]] || continue
  planted=$((planted + 1))
  run "closed: $edge ($file: ${expression:0:60})" ends_with "$edge" "$environment" "$file" "$expression"
done <"$here/joints.txt"
[ "$planted" -gt 0 ] || missing "no mistake has the word ${1:-}"
finish
