# Sourced by the checks of infra-aws: the places of the tools, and the format of results.

tools=${TIDEMARK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/tools}/python
terraform=1.11.4
passed=0
failed=0

# run NAME COMMAND…: runs a check. Its output is shown only if it fails.
run() {
  local name=$1 log
  log=$(mktemp)
  shift
  if "$@" >"$log" 2>&1; then
    passed=$((passed + 1))
    echo "ok: $name"
  else
    failed=$((failed + 1))
    echo "FAILED: $name"
    sed 's/^/    /' "$log"
  fi
  rm -f "$log"
}

# missing WHAT: fails because a tool is not available and a check did not run. This is a failure, here and in CI.
missing() {
  failed=$((failed + 1))
  echo "FAILED: $1"
}

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# have_terraform: uses Terraform on the PATH, or builds the pinned version from its Go module into the cache of tools.
have_terraform() {
  local bin=${tools%/python}/bin
  PATH=$PATH:$bin
  command -v terraform >/dev/null && return
  echo "building Terraform $terraform from its Go module; this takes minutes, once" >&2
  GOBIN=$bin go install -trimpath -ldflags '-s -w' "github.com/hashicorp/terraform@v$terraform"
}

# python_with FOLDER REQUIREMENT…: creates a Python environment, which is kept for the next run; prints its python.
python_with() {
  local folder=$tools/$1
  shift
  if ! [ -e "$folder/ready" ]; then
    python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 && touch "$folder/ready" || return 1
  fi
  echo "$folder/bin/python"
}

# Terraform's providers come from a mirror on this machine if there is one (TERRAFORM_MIRROR, or an unpacked official one),
# otherwise from the registry. Prints which.
find_providers() {
  local provider=registry.terraform.io/hashicorp/aws mirror=${TERRAFORM_MIRROR:-}
  export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=$work/terraform.rc
  if [ -z "$mirror" ]; then
    mirror=$(find / -xdev -type d \( -path /proc -o -path /sys -o -name .terraform -o -name .git -o -name node_modules -o -name target \) -prune -o -type d -path "*/$provider" -print -quit 2>/dev/null)
    mirror=${mirror%"/$provider"}
  fi
  if [ -n "$mirror" ]; then
    echo "providers: the mirror in $mirror"
    printf 'provider_installation {\n  filesystem_mirror {\n    path    = "%s"\n    include = ["registry.terraform.io/*/*"]\n  }\n}\n' "$mirror" >"$TF_CLI_CONFIG_FILE"
  else
    echo "providers: NO MIRROR on this machine (TERRAFORM_MIRROR names one), using the registry"
    : >"$TF_CLI_CONFIG_FILE"
  fi
}

# copy_to FOLDER: copies the configuration without Terraform's own files, so that runs leave nothing in the tree.
copy_to() {
  mkdir -p "$1"
  tar -C "$here/.." --exclude .terraform --exclude '*.tfstate*' -cf - . | tar -C "$1" -xf -
  mkdir -p "$1/../helm"
  cp -r "$here/../../helm/argocd" "$1/../helm/" 2>/dev/null || true
}

# holds_in ENVIRONMENT FILE: runs terraform test with the environment's variables. Writes the states to $work/FILE.json; prints
# errors.
holds_in() {
  terraform test -no-color -json -verbose -var-file="env/$1.tfvars" -filter="tests/$2.tftest.hcl" >"$work/$2.json" || {
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["@level"] == "error": print(message["@message"], message.get("diagnostic", {}).get("detail", ""))' <"$work/$2.json"
    return 1
  }
}

# rules_on FILE RUN: runs the rules on the state of a run from holds_in.
rules_on() { python3 "$here/check_state.py" "$2" <"$work/$1.json"; }

# checkov_in ENVIRONMENT…: runs checkov on the configuration in the current folder.
checkov_in() {
  local environment python
  if ! python=$(python_with checkov 'checkov==3.3.30'); then
    missing "checkov cannot be installed here"
    return
  fi
  for environment in "$@"; do
    run "checkov: $environment" "$python" -m checkov.main -d . --framework terraform --skip-download --compact --quiet --var-file "env/$environment.tfvars"
  done
}
