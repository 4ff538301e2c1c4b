#!/usr/bin/env bash
# Fresh passwords for Kafka's users, as the variable wants them:
#
#   export TF_VAR_kafka_passwords=$(bootstrap/passwords.sh)
#
# Terraform sends them to Secrets Manager when `secrets_version` says so and drops them otherwise; nobody keeps them.
set -euo pipefail

printf '{"services":"%s","stream":"%s"}\n' "$(openssl rand -hex 24)" "$(openssl rand -hex 24)"
