#!/usr/bin/env bash
# Prints fresh passwords for the users of Kafka, or of MySQL, in the form of Terraform's variables:
#
#   export TF_VAR_kafka_passwords=$(bootstrap/passwords.sh kafka)
#   export TF_VAR_database_passwords=$(bootstrap/passwords.sh database)
#
# Terraform sends them to Secrets Manager when `secrets_version` changes and drops them otherwise; they are not kept.
set -euo pipefail

case ${1:-} in
  kafka) users=(services stream) ;;
  database) users=(orders users) ;;
  *) echo "usage: passwords.sh kafka|database" >&2; exit 2 ;;
esac
printf '{"%s":"%s","%s":"%s"}\n' "${users[0]}" "$(openssl rand -hex 24)" "${users[1]}" "$(openssl rand -hex 24)"
