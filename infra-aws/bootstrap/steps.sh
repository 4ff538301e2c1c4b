# Sourced by apply.sh and destroy.sh: prints each step, and runs it unless `dry` is set. The first one that fails ends the script.

step() { # sentence, command…
  local sentence=$1
  shift
  if [ -n "$dry" ]; then
    printf 'would: %s\n       %s\n' "$sentence" "$*"
    return
  fi
  printf '%s …\n' "$sentence"
  "$@" || { echo "FAILED: $sentence ($*)" >&2; exit 1; }
}

needs() { # program…
  local program
  for program in "$@"; do command -v "$program" >/dev/null || { echo "$program is not installed" >&2; return 1; }; done
}

no_examples() { # file: fails if values that README.md marks as yours are still examples
  ! grep -nE '^[^#]*(example\.com|203\.0\.113\.|123456789012|Z0EXAMPLE)' "$1" || { echo "these lines of $1 are examples: set your own" >&2; return 1; }
}

is_admin() { # file
  local who
  who=$(aws sts get-caller-identity --query Arn --output text) || return 1
  who=$(sed -E 's|:sts:|:iam:|; s|:assumed-role/([^/]+)/.*|:role/\1|' <<<"$who")
  grep -qE "role/(.*/)?${who##*/}\"|\"$who\"" "$1" || { echo "$who is not among cluster_admins of $1: add it, because otherwise it cannot install Argo CD" >&2; return 1; }
}

keeps_versions() { # bucket
  [ "$(aws s3api get-bucket-versioning --bucket "$1" --query Status --output text)" = Enabled ]
}

fresh_passwords() { # used if secrets_version changed, otherwise dropped
  TF_VAR_kafka_passwords=$(bootstrap/passwords.sh kafka)
  TF_VAR_database_passwords=$(bootstrap/passwords.sh database)
  export TF_VAR_kafka_passwords TF_VAR_database_passwords
}

none_left() { # kind, tag, value: waits a quarter of an hour
  local left
  for _ in $(seq 90); do
    left=$(aws resourcegroupstaggingapi get-resources --resource-type-filters "$1" --tag-filters "Key=$2,Values=$3" --query 'ResourceTagMappingList[].ResourceARN' --output text) || return 1
    [ -n "$left" ] || return 0
    sleep 10
  done
  echo "not deleted yet: $left" >&2
  return 1
}

forget_logs() { # prefix…
  local prefix group
  for prefix in "$@"; do
    for group in $(aws logs describe-log-groups --log-group-name-prefix "$prefix" --query 'logGroups[].logGroupName' --output text); do
      aws logs delete-log-group --log-group-name "$group" || return 1
    done
  done
}

no_secret() { # prefix: a secret that waits for its deletion keeps its name
  local left
  left=$(aws secretsmanager list-secrets --include-planned-deletion --filters "Key=name,Values=$1,AmazonMSK_$1" --query 'SecretList[].Name' --output text) || return 1
  [ -z "$left" ] || { echo "these secrets wait for their deletion and keep their names: $left" >&2; return 1; }
}
