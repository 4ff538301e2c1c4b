"""Writes a test of Terraform in which every mocked resource has an ARN of its own, so that policies can be distinguished.

    python distinct.py RUN < terraform-test.json > tests/distinct.tftest.hcl

A mock gives all resources of a type the same ARN. The first run lists the resources; the second, which this writes, gives each an
ARN of its own. The variables are those of the run.
"""

import json
import sys
import uuid

from rules import Resources, read_state

ACCOUNT = "123456789012"
REGION = "eu-central-1"


def arns(address, values):
    """Returns the attributes that identify a resource, by its type."""
    name = values.get("name")
    number = uuid.uuid5(uuid.NAMESPACE_URL, address)
    bucket = f"{values.get('bucket_prefix')}{number.hex[:8]}"
    return {
        "aws_dynamodb_table": {"arn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"},
        "aws_kms_key": {"arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{number}", "key_id": str(number)},
        "aws_secretsmanager_secret": {"arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-{number.hex[:6]}"},
        "aws_s3_bucket": {"arn": f"arn:aws:s3:::{bucket}", "bucket": bucket, "id": bucket},
        "aws_iam_role": {"arn": f"arn:aws:iam::{ACCOUNT}:role/{name}"},
        "aws_cloudwatch_log_group": {"arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"},
    }.get(address.split(".")[0])


VARIABLES = """mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  kafka_passwords    = { services = "only-for-tests-0123456789", stream = "only-for-tests-9876543210" }
  database_passwords = { orders = "only-for-tests-0123456789", users = "only-for-tests-9876543210" }
  argocd             = null
%s}

run "distinct" {
  command = apply
}
"""
OTHER_CLOUD = """  gcp = {
    vpn_addresses   = ["198.51.100.1", "198.51.100.2"]
    bgp_asn         = 64514
    cidr            = "10.60.0.0/20"
    job_identity_id = "100000000000000000000"
    job_targets     = ["10.60.0.10:5006"]
  }
"""


def main():
    run = sys.argv[1]
    print(VARIABLES % (OTHER_CLOUD if run == "linked" else ""))
    for resource in Resources(read_state(run)[1]).all:
        values = arns(resource["address"], resource["values"])
        if values:
            print(f"override_resource {{\n  target = {resource['address']}\n  values = {json.dumps(values)}\n}}\n")


if __name__ == "__main__":
    main()
