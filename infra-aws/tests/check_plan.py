"""A second plan must change nothing, but for what the emulation forgets or makes up: these attributes, and no others.

    terraform show -json PLAN | python check_plan.py
"""

import json
import sys

# By type: attributes that moto 5.2 does not return as they were set.
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


def changed(change):
    """Top-level attributes that a plan sets to something else, not counting what is only known afterwards."""
    before, after, unknown = change["before"] or {}, change["after"] or {}, change["after_unknown"]
    return {name for name in set(before) | set(after) if before.get(name) != after.get(name) and not unknown.get(name)}


def main():
    changes = [c for c in json.load(sys.stdin)["resource_changes"] if c["mode"] == "managed" and c["change"]["actions"] != ["no-op"]]
    unexpected = 0
    for change in changes:
        wanted = changed(change["change"])
        invented = change["change"]["actions"] == ["update"] and wanted <= INVENTIONS.get(change["type"], set())
        unexpected += not invented
        print(f"  {'invented' if invented else 'CHANGED'}: {change['address']} {'/'.join(change['change']['actions'])}: {', '.join(sorted(wanted))}")
    print(f"  {len(changes)} changes, {unexpected} unexpected")
    sys.exit(bool(unexpected))


if __name__ == "__main__":
    main()
