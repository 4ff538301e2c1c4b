#!/usr/bin/env bash
# Tests that the checks detect mistakes. Plants one at a time in a copy of the configuration, and expects `terraform validate`,
# `terraform test` or the rules of check_state.py to refuse it. About fifteen seconds each.
#
#   infra-aws/tests/planted.sh [WORD]      all mistakes, or those whose name has the word
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=infra-aws/tests/tools.sh
. "$here/tools.sh"
# shellcheck source=infra-aws/tests/planting.sh
. "$here/../../infra-aws/tests/planting.sh"

# description | file | sed expression
mistakes=(
  'database in one zone|variables.tf|s/multi_az       = optional(bool, true)/multi_az       = optional(bool, false)/'
  'backups for one day|storage.tf|s/backup_retention_period   = 7/backup_retention_period   = 1/'
  'MySQL without TLS|storage.tf|/require_secure_transport/{n;s/"1"/"0"/}'
  'a table without point-in-time recovery|storage.tf|/point_in_time_recovery {/{n;s/true/each.key != "files"/}'
  'a table without encryption key|storage.tf|/server_side_encryption {/{n;s/true/each.key != "products"/}'
  'brokers open to the world|security.tf|s/cidr_ipv4         = each.value.cidr/cidr_ipv4         = "0.0.0.0\/0"/'
  'Kafka in the clear as well|streaming.tf|s/client_broker = "TLS"/client_broker = "TLS_PLAINTEXT"/'
  'Kafka for the nameless|streaming.tf|s/unauthenticated = false/unauthenticated = true/'
  'one copy is enough for Kafka|streaming.tf|s/"min.insync.replicas"            = 2/"min.insync.replicas"            = 1/'
  'topics that keep one record of each user|streaming.tf|s/"log.cleanup.policy"             = "delete"/"log.cleanup.policy"             = "compact,delete"/'
  'the cleanup policy left to the broker|streaming.tf|/"log.cleanup.policy"/d'
  'a public bucket|storage.tf|s/block_public_policy     = true/block_public_policy     = false/'
  'a bucket that takes plain HTTP|storage.tf|s/"aws:SecureTransport" = "false"/"aws:SecureTransport" = "true"/'
  'a public Kubernetes API|variables.tf|s/public_endpoint = optional(bool, false)/public_endpoint = optional(bool, true)/'
  'a service that may do anything to tables|identity.tf|s/Action   = \[for call in .*/Action   = "dynamodb:*"/'
  'a service that may use any table|identity.tf|s/Resource = flatten(\[for table in uses.tables : local.table_arns\[table\]\])/Resource = "*"/'
  'a role for every pod|identity.tf|/Principal = { Service = "pods.eks.amazonaws.com" }/,/^  })/{/Condition = {/,/^      }$/d}'
  'any Google account may be the job|identity.tf|/accounts.google.com:sub/d'
  'a password in the state|secrets.tf|s/secret_string_wo = jsonencode/secret_string = jsonencode/;s/secret_string_wo_version = var.secrets_version//'
  'a log without end|monitoring.tf|s/retention_in_days = var.log_retention_days/retention_in_days = 0/'
  'a key that is never changed|secrets.tf|s/enable_key_rotation     = true/enable_key_rotation     = false/'
  'an alarm that nobody hears|monitoring.tf|/alarm_actions  /d'
  'an alarm about a queue that does not exist|monitoring.tf|s/QueueName = aws_sqs_queue.failed_files.name/QueueName = "failed-files"/'
  'checkpoints that are deleted after a day|storage.tf|s/    noncurrent_version_expiration {/    expiration {\n      days = 1\n    }\n\n&/'
  'one NAT for three zones|variables.tf|/variable "nat_per_zone"/,/^}/s/default     = true/default     = false/'
  'a patch of MySQL that AWS will upgrade|variables.tf|s/optional(string, "8.4")/optional(string, "8.4.5")/'
  'a patch of MySQL that stays|storage.tf|s/auto_minor_version_upgrade            = true/auto_minor_version_upgrade            = false/'
  'a Kubernetes out of support|variables.tf|s/optional(string, "1.35")/optional(string, "1.29")/'
  'a Kafka out of support|variables.tf|s/"3.9.x.kraft"/"3.7.x.kraft"/'
  'one configuration for each Kafka|streaming.tf|s/-${replace(var.kafka.version, ".", "-")}"/-kafka"/'
  'an argument that does not exist|streaming.tf|s/enhanced_monitoring    =/enhanced_monitorings   =/'
)

rules_hold() { tested prod alone linked; }

find_providers
copy_to "$work/clean"
(cd "$work/clean" && terraform init -backend=false -input=false -no-color -lockfile=readonly) >"$work/init.log" 2>&1 || {
  missing "the AWS provider is not available"
  finish
  exit
}
mv "$work/clean/.terraform" "$work/.terraform"

plant_each "${1:-}"
