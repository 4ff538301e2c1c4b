# Sourced by check.sh and joints.sh: makes the states that edges.py reads. Terraform runs with mocked clouds; nothing is applied.

# first_state ENVIRONMENT OUTPUT: the first run of infra-aws, in the current folder, which is a copy of it.
first_state() {
  terraform test -no-color -json -verbose -var-file="env/$1.tfvars" -filter="tests/$1.tftest.hcl" >"$2"
}

# distinct_state ENVIRONMENT RUN FIRST OUTPUT: the same, each resource with a different ARN.
distinct_state() {
  python3 "$here/distinct.py" "$2" <"$3" >tests/distinct.tftest.hcl || return 1
  again_distinct "$1" "$4"
}

# again_distinct ENVIRONMENT OUTPUT: the same, with the existing tests/distinct.tftest.hcl.
again_distinct() {
  terraform test -no-color -json -verbose -var-file="env/$1.tfvars" -filter=tests/distinct.tftest.hcl >"$2"
}

# with_google: sets up the stand-in for Google's provider, as in infra-gcp's checks.
with_google() {
  (
    here=$here/../../infra-gcp/tests work=$work/for-google
    mkdir -p "$work"
    # shellcheck source=infra-gcp/tests/tools.sh
    . "$here/tools.sh"
    find_schema && python=$(python_with google 'grpcio>=1.70,<2') && stand_in_for_google "$python" || exit 1
    cd "$1" && shift && "$@"
  )
}

# google_state FOLDER OUTPUT: infra-gcp in prod, linked to AWS, in FOLDER, a copy of it. The assertions are left out, because they
# would fail before a planted mistake reaches the edges.
google_state() {
  sed -i '/^  assert {$/,/^  }$/d' "$1/tests/linked.tftest.hcl"
  with_google "$1" terraform init -backend=false -input=false -no-color >/dev/null &&
    with_google "$1" terraform test -no-color -json -verbose -var-file=env/prod.tfvars -filter=tests/linked.tftest.hcl >"$2"
}

# edges_are_open ENVIRONMENT [GOOGLE]: checks the edges of the tree at TIDEMARK_ROOT.
edges_are_open() {
  PATH=${tools%/python}/bin:$PATH python3 "$here/edges.py" --name "tidemark-$1" --aws "$work/distinct-$1.json" ${2:+--gcp "$2"}
}
