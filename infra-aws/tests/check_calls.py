"""Compares each service's rights to DynamoDB with the calls in its source: it must lack none, and have none that it does not use.

    python check_calls.py SERVICES RUN < terraform-test.json
"""

import re
import sys
from pathlib import Path

from check_state import listed, statements
from rules import Resources, read_state

# The names of calls in the SDK and in IAM.
CALLS = {
    r"\.batch_get_item\(\)": "BatchGetItem",
    r"\.batch_write_item\(\)": "BatchWriteItem",
    r"\.delete_item\(\)|\bDelete::builder\(\)": "DeleteItem",
    r"\.get_item\(\)|\bGet::builder\(\)": "GetItem",
    r"\.put_item\(\)|\bPut::builder\(\)": "PutItem",
    r"\.query\(\)": "Query",
    r"\.scan\(\)": "Scan",
    r"\.update_item\(\)|\bUpdate::builder\(\)": "UpdateItem",
    r"\bConditionCheck::builder\(\)": "ConditionCheckItem",
}
# Crates that run under another name.
NAMES = {"file-processor": "files"}
# The calls of chassis for each service at its start.
LOOKS = {"DescribeTable", "DescribeTimeToLive"}


def made(source):
    """Returns the calls in the files of a crate that uses DynamoDB."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.rs")))
    if "aws_sdk_dynamodb" not in text:
        return set()
    return {call for spelling, call in CALLS.items() if re.search(spelling, text)}


def allowed(resources):
    policies = {values["name"]: values["policy"] for _, values in resources.of("aws_iam_role_policy")}
    return {
        name: {
            action.removeprefix("dynamodb:")
            for statement in statements(policy)
            for action in listed(statement["Action"])
            if action.startswith("dynamodb:")
        }
        for name, policy in policies.items()
    }


def main():
    services, run = sys.argv[1:]
    resources = Resources(read_state(run)[1])
    rights = allowed(resources)
    pods = {values["service_account"] for _, values in resources.of("aws_eks_pod_identity_association")}
    wrong = 0
    for source in sorted(Path(services).glob("*/src")):
        service = NAMES.get(source.parent.name, source.parent.name)
        if service not in pods:
            continue
        needs, has = made(source), rights.get(service, set()) - LOOKS
        wrong += needs != has
        print(f"{service}: {', '.join(sorted(needs)) or 'nothing'}", *(f"\n  lacks {needs - has or 'nothing'}, never uses {has - needs or 'nothing'}" for _ in [0] if needs != has))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
