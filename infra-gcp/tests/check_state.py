"""Rules for every resource of a kind, of any name. The rules of single resources are in *.tftest.hcl.

    terraform test -json -verbose … | python check_state.py RUN

Prints a line for each rule and exits with 1 if one is broken.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "infra-aws/tests"))
from rules import judge  # noqa: E402

TEST_PASSWORD = "only-for-tests"
BROAD_ROLES = ("roles/owner", "roles/editor", "roles/viewer")
EVERYONE = ("allUsers", "allAuthenticatedUsers")


def nothing_comes_in_from_the_internet(resources, _state):
    for address, rule in resources.of("google_compute_firewall"):
        if rule["direction"] == "INGRESS" and (rule["source_ranges"] is None and not rule["source_service_accounts"] or "0.0.0.0/0" in (rule["source_ranges"] or [])):
            yield address


def what_comes_in_is_for_the_job_only(resources, _state):
    for address, rule in resources.of("google_compute_firewall"):
        if rule["direction"] == "INGRESS" and not rule["target_service_accounts"]:
            yield address


def no_machine_has_a_public_address(resources, _state):
    for address, template in resources.of("google_compute_instance_template"):
        if any(interface["access_config"] for interface in template["network_interface"]):
            yield address
    for address, cluster in resources.of("google_dataproc_cluster"):
        if not cluster["cluster_config"][0]["gce_cluster_config"][0]["internal_ip_only"]:
            yield address


def roles_are_narrow_and_for_someone(resources, _state):
    kinds = {kind for kind in resources.kinds() if "_iam_" in kind}
    for address, grant in resources.of(*kinds):
        if grant.get("role") in BROAD_ROLES or str(grant.get("role", "")).endswith(("admin", "Admin")):
            yield f"{address}: {grant['role']}"
        if grant.get("member") in EVERYONE:
            yield f"{address}: {grant['member']}"


def no_key_of_a_service_account_is_made(resources, _state):
    for address, _ in resources.of("google_service_account_key"):
        yield address


def buckets_are_closed_and_locked(resources, _state):
    for address, bucket in resources.of("google_storage_bucket"):
        if not bucket["uniform_bucket_level_access"] or bucket["public_access_prevention"] != "enforced":
            yield f"{address}: can be public"
        if not bucket["encryption"]:
            yield f"{address}: not under the customer-managed key"
        if not bucket["lifecycle_rule"]:
            yield f"{address}: has no lifecycle rule"


def disks_and_secrets_are_locked(resources, _state):
    for address, template in resources.of("google_compute_instance_template"):
        if not all(disk["disk_encryption_key"] for disk in template["disk"]):
            yield address
    for address, cluster in resources.of("google_dataproc_cluster"):
        if not cluster["cluster_config"][0]["encryption_config"]:
            yield address
    for address, secret in resources.of("google_secret_manager_secret"):
        replicas = secret["replication"][0]["user_managed"][0]["replicas"]
        if not all(replica["customer_managed_encryption"] for replica in replicas):
            yield address


def keys_rotate(resources, _state):
    for address, key in resources.of("google_kms_crypto_key"):
        if not key["rotation_period"]:
            yield address


def no_password_is_in_the_state(resources, state):
    if TEST_PASSWORD in json.dumps(state):
        yield "the Kafka password is in the state"
    for address, version in resources.of("google_secret_manager_secret_version"):
        if version["secret_data"]:
            yield address


RULES = [
    nothing_comes_in_from_the_internet,
    what_comes_in_is_for_the_job_only,
    no_machine_has_a_public_address,
    roles_are_narrow_and_for_someone,
    no_key_of_a_service_account_is_made,
    buckets_are_closed_and_locked,
    disks_and_secrets_are_locked,
    keys_rotate,
    no_password_is_in_the_state,
]


if __name__ == "__main__":
    judge(RULES)
