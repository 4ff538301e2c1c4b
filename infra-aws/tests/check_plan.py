"""Checks that a second plan changes nothing, except for the attributes below, which the emulation forgets or invents.

    terraform show -json PLAN | python check_plan.py
"""

import json
import sys

# By type: attributes that moto 5.2 does not return as set.
INVENTIONS = {
    "aws_appautoscaling_target": {"tags_all"},
    "aws_db_instance": {"performance_insights_enabled", "performance_insights_kms_key_id", "performance_insights_retention_period"},
    "aws_db_parameter_group": {"parameter"},
    "aws_lambda_function": {"dead_letter_config", "logging_config"},
    "aws_launch_template": {"tag_specifications"},
    "aws_route53_resolver_endpoint": {"protocols"},
    "aws_vpc_security_group_ingress_rule": {"description"},
    "aws_vpn_connection": {"preshared_key_storage"},
}
# By type: the attributes whose change may replace a resource. The version of a launch template is unknown while the template has
# an invented change.
FOLLOWS = {"aws_instance": [["launch_template", 0, "version"]]}


def changed(change):
    """Returns the top-level attributes that a plan changes, without those that are known only after the apply."""
    before, after, unknown = change["before"] or {}, change["after"] or {}, change["after_unknown"]
    return {name for name in set(before) | set(after) if before.get(name) != after.get(name) and not unknown.get(name)}


def main():
    changes = [c for c in json.load(sys.stdin)["resource_changes"] if c["mode"] == "managed" and c["change"]["actions"] != ["no-op"]]
    unexpected = 0
    for change in changes:
        wanted = changed(change["change"])
        invented = change["change"]["actions"] == ["update"] and wanted <= INVENTIONS.get(change["type"], set())
        invented = invented or change["change"].get("replace_paths", []) == FOLLOWS.get(change["type"])
        unexpected += not invented
        print(f"  {'invented' if invented else 'CHANGED'}: {change['address']} {'/'.join(change['change']['actions'])}: {', '.join(sorted(wanted))}")
    print(f"  {len(changes)} changes, {unexpected} unexpected")
    sys.exit(bool(unexpected))


if __name__ == "__main__":
    main()
