"""Rules for every resource of a kind, of any name. The rules of single resources are in *.tftest.hcl.

    terraform test -json -verbose … | python check_state.py RUN      the state of this run
    terraform show -json | python check_state.py                      any other state

Prints a line for each rule and exits with 1 if one is broken.
"""

import datetime
import json
import re

from rules import judge

LEAST_RESOURCES = 48
TEST_PASSWORD = "only-for-tests"
# The last day of each version in standard support; README.md, "Versions", has the sources. None: no end is announced.
SUPPORTED = {
    ("aws_eks_cluster", "version"): {"1.35": "2027-03-27", "1.36": "2027-08-02"},
    ("aws_db_instance", "engine_version"): {"8.4": "2029-07-31"},
    ("aws_msk_cluster", "kafka_version"): {"3.9.x.kraft": None},
}
# Statements about calls without resources.
WITHOUT_RESOURCES = {"LogsIn", "Looks", "Traces"}


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(policy):
    return listed(json.loads(policy)["Statement"])


def enough(resources, _state):
    if len(resources.all) < LEAST_RESOURCES:
        yield f"{len(resources.all)} resources"


def nothing_is_open_to_the_world(resources, _state):
    for address, rule in resources.of("aws_vpc_security_group_ingress_rule"):
        if rule["cidr_ipv4"] == "0.0.0.0/0" or rule["cidr_ipv6"] == "::/0":
            yield address
    for kind in ("aws_security_group", "aws_default_security_group"):
        for address, group in resources.of(kind):
            # A mock invents lists that the configuration does not have; a rule of the configuration has a port.
            if any(rule.get("cidr_blocks") for rule in group.get("ingress") or []):
                yield f"{address} has rules inside"


def every_rule_says_why(resources, _state):
    for kind in ("aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule"):
        for address, rule in resources.of(kind):
            if not rule["description"]:
                yield address


def identity_policies_name_actions_and_resources(resources, _state):
    for address, values in resources.of("aws_iam_role_policy"):
        for statement in statements(values["policy"]):
            actions = listed(statement.get("Action", []))
            if statement["Effect"] != "Allow" or "NotAction" in statement or not actions:
                yield f"{address}: not a list of allowed actions"
            if any(action == "*" or action.endswith(":*") for action in actions):
                yield f"{address}: {actions}"
            if "*" in listed(statement["Resource"]) and statement.get("Sid") not in WITHOUT_RESOURCES:
                yield f"{address}: {statement.get('Sid')} on every resource"


def resource_policies_let_in_named_principals_only(resources, _state):
    for kind in ("aws_kms_key", "aws_s3_bucket_policy", "aws_secretsmanager_secret_policy", "aws_sns_topic_policy"):
        for address, values in resources.of(kind):
            for statement in statements(values["policy"]):
                everyone = "*" in listed(statement["Principal"]) or statement["Principal"] == {"AWS": "*"}
                if statement["Effect"] == "Allow" and everyone:
                    yield f"{address}: everyone"
                if "Service" in statement["Principal"] and "Condition" not in statement:
                    yield f"{address}: a service for any account"


def roles_are_for_one_principal(resources, _state):
    for address, values in resources.of("aws_iam_role"):
        for statement in statements(values["assume_role_policy"]):
            (who,) = statement["Principal"].values()
            pods_or_web = who in ("pods.eks.amazonaws.com", "accounts.google.com") or statement["Action"] == "sts:AssumeRoleWithWebIdentity"
            if who == "*" or (pods_or_web and "Condition" not in statement):
                yield address


def tables_can_be_recovered_and_are_locked(resources, _state):
    for address, table in resources.of("aws_dynamodb_table"):
        if not (table["point_in_time_recovery"] or [{}])[0].get("enabled"):
            yield f"{address}: no point-in-time recovery"
        if not (table["server_side_encryption"] or [{}])[0].get("enabled"):
            yield f"{address}: not under the customer-managed key"


def buckets_are_closed_versioned_and_locked(resources, _state):
    buckets = resources.keys("aws_s3_bucket")
    for kind in ("public_access_block", "versioning", "server_side_encryption_configuration", "lifecycle_configuration", "policy", "ownership_controls"):
        for missing in buckets - resources.keys(f"aws_s3_bucket_{kind}"):
            yield f"bucket {missing}: no {kind}"
    for address, block in resources.of("aws_s3_bucket_public_access_block"):
        flags = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        if not all(block[flag] for flag in flags):
            yield address
    for address, values in resources.of("aws_s3_bucket_policy"):
        denied = [s for s in statements(values["policy"]) if s["Effect"] == "Deny"]
        if not any(s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}} and s["Action"] == "s3:*" for s in denied):
            yield f"{address}: admits plain HTTP"


def logs_end_and_are_locked(resources, _state):
    for address, group in resources.of("aws_cloudwatch_log_group"):
        if not group["retention_in_days"] or not group["kms_key_id"]:
            yield address


def keys_rotate(resources, _state):
    for address, key in resources.of("aws_kms_key"):
        if not key["enable_key_rotation"]:
            yield address


def alarms_tell_someone(resources, _state):
    for address, alarm in resources.of("aws_cloudwatch_metric_alarm"):
        if not alarm["alarm_actions"] or not alarm["alarm_description"]:
            yield address


def alarms_watch_resources_of_the_state(resources, _state):
    """Each dimension of an alarm is the name of a resource; an alarm about another one is silent for ever."""
    fields = ("cluster_name", "function_name", "id", "identifier", "name")
    known = {values.get(field) for resource in resources.all for values in [resource["values"]] for field in fields}
    for address, alarm in resources.of("aws_cloudwatch_metric_alarm"):
        for dimension, value in alarm["dimensions"].items():
            if dimension != "Broker ID" and value not in known:
                yield f"{address}: no resource has the {dimension} {value}"


def stores_keep_current_objects(resources, _state):
    for address, values in resources.of("aws_s3_bucket_lifecycle_configuration"):
        for rule in values["rule"]:
            if any(each.get("days") or each.get("date") for each in rule.get("expiration") or []) and not address.endswith('["access-logs"]'):
                yield f"{address}: the rule {rule['id']} deletes current objects"


def versions_are_in_support(resources, _state):
    """A version without a patch, where AWS chooses the patch: a pinned one stops the first apply after AWS has upgraded it."""
    today = datetime.date.today().isoformat()
    for (kind, field), ends in SUPPORTED.items():
        for address, values in resources.of(kind):
            if values[field] not in ends:
                yield f"{address}: {values[field]} is none of {', '.join(ends)}"
            elif (ends[values[field]] or today) < today:
                yield f"{address}: {values[field]} left standard support on {ends[values[field]]}"
    for address, database in resources.of("aws_db_instance"):
        if not database["auto_minor_version_upgrade"] or not re.fullmatch(r"\d+\.\d+", database["engine_version"]):
            yield f"{address}: AWS does not choose the patch of {database['engine_version']}"


def kafka_can_be_upgraded(resources, _state):
    """A new version of Kafka needs a new configuration, beside the old one that brokers still use: its name has the version."""
    clusters = dict(resources.of("aws_msk_cluster"))
    for address, configuration in resources.of("aws_msk_configuration"):
        versions = {cluster["kafka_version"] for cluster in clusters.values()}
        if set(configuration["kafka_versions"]) != versions:
            yield f"{address} is for {configuration['kafka_versions']}, the brokers are {', '.join(versions)}"
        if not any(version.replace(".", "-") in configuration["name"] for version in versions):
            yield f"{address}: the name {configuration['name']} is the same for each version"


def no_password_is_in_the_state(resources, state):
    if TEST_PASSWORD in json.dumps(state):
        yield "a Kafka password is in the state"
    for address, version in resources.of("aws_secretsmanager_secret_version"):
        if version.get("secret_string"):
            yield address
    for address, database in resources.of("aws_db_instance"):
        if not database["manage_master_user_password"] or database.get("password_wo_version"):
            yield address


RULES = [
    enough,
    nothing_is_open_to_the_world,
    every_rule_says_why,
    identity_policies_name_actions_and_resources,
    resource_policies_let_in_named_principals_only,
    roles_are_for_one_principal,
    tables_can_be_recovered_and_are_locked,
    buckets_are_closed_versioned_and_locked,
    logs_end_and_are_locked,
    keys_rotate,
    alarms_tell_someone,
    alarms_watch_resources_of_the_state,
    stores_keep_current_objects,
    versions_are_in_support,
    kafka_can_be_upgraded,
    no_password_is_in_the_state,
]


if __name__ == "__main__":
    judge(RULES)
