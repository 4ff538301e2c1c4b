# Sourced by the checks of infra-gcp: the tools of infra-aws's checks, and a stand-in for the Google provider.

# shellcheck source=infra-aws/tests/tools.sh
. "$here/../../infra-aws/tests/tools.sh"

package=@cdktf/provider-google@16.12.1 # generated from google 6.50.0
provider=registry.terraform.io/hashicorp/google/6.50.0/linux_amd64

# find_schema: reads the schema in the package once and keeps it. Needs npm the first time.
find_schema() {
  export GOOGLE_SCHEMA=$tools/google-6.50.0-schema.json
  [ -s "$GOOGLE_SCHEMA" ] && [ "$GOOGLE_SCHEMA" -nt "$here/schema.py" ] && return
  mkdir -p "$tools" "$work/package" || return 1
  (cd "$work/package" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz package/.jsii) || return 1
  python3 "$here/schema.py" "$work/package/package/.jsii" "$work/schema.json" && mv "$work/schema.json" "$GOOGLE_SCHEMA"
}

# stand_in_for_google PYTHON: makes `terraform init` find tests/provider.py as hashicorp/google 6.50.0.
stand_in_for_google() {
  local folder=$work/mirror/$provider
  mkdir -p "$folder"
  printf '#!/bin/sh\nexec %s %s/provider.py\n' "$1" "$here" >"$folder/terraform-provider-google_v6.50.0_x5"
  chmod +x "$folder"/*
  export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1 TF_DISABLE_PLUGIN_TLS=1 TF_CLI_CONFIG_FILE=$work/terraform.rc GOOGLE_TYPES
  GOOGLE_TYPES=$(grep -ohE '"google_[a-z0-9_]+"' "$here"/../*.tf | tr -d '"' | sort -u | paste -sd,)
  printf 'provider_installation {\n  filesystem_mirror {\n    path    = "%s/mirror"\n    include = ["registry.terraform.io/*/*"]\n  }\n}\n' "$work" >"$TF_CLI_CONFIG_FILE"
}
