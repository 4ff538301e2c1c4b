#!/usr/bin/env bash
# Makes a running job in a Google project from nothing, on a Kafka that is reached without AWS: the bucket of Terraform's state,
# the identity that uses the secret's key, and one apply. May be repeated.
#
#   TF_VAR_kafka_password=… infra-gcp/alone.sh PROJECT FILE.tfvars [apply's arguments…]
set -euo pipefail

project=${1:?the project}
values=$(realpath "${2:?a file with the values of kafka and alert_email}")
shift 2
: "${TF_VAR_kafka_password:?the password of the user of Kafka}"
cd "$(dirname "$0")"
region=$(sed -nE 's/^region *= *"(.*)"/\1/p' "$values")
state=gs://$project-terraform

if ! gcloud storage buckets describe "$state" --project="$project" >/dev/null 2>&1; then
  gcloud storage buckets create "$state" --project="$project" --location="${region:-europe-west3}" --uniform-bucket-level-access --public-access-prevention
  gcloud storage buckets update "$state" --project="$project" --versioning
fi
gcloud services enable secretmanager.googleapis.com --project="$project"
gcloud beta services identity create --service=secretmanager.googleapis.com --project="$project"

terraform init -input=false -reconfigure -backend-config=env/prod.gcs.tfbackend -backend-config="bucket=${state#gs://}"
terraform apply -var-file=env/prod.tfvars -var-file="$values" -var project="$project" "$@"
