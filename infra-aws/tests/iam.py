"""Evaluates IAM policies for a call: enough of IAM's rules for the policies of infra-aws, and an error for all others.

An explicit Deny wins; without an Allow the call is denied. A condition whose key the request does not have is not met, except for
Null and the operators that end in IfExists.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
import re


def listed(value):
    return value if isinstance(value, list) else [value]


def pattern(text):
    """IAM's wildcards: * is any text, ? any one character."""
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in text), re.DOTALL)


def matches_any(patterns, text, ignore_case=False):
    fold = (lambda value: value.lower()) if ignore_case else (lambda value: value)
    return any(pattern(fold(each)).fullmatch(fold(text)) for each in listed(patterns))


OPERATORS = {
    "StringEquals": lambda wanted, value: value in wanted,
    "StringLike": lambda wanted, value: matches_any(wanted, value),
    "StringNotEquals": lambda wanted, value: value not in wanted,
    "ArnEquals": lambda wanted, value: matches_any(wanted, value),
    "ArnLike": lambda wanted, value: matches_any(wanted, value),
    "Bool": lambda wanted, value: value.lower() in [each.lower() for each in wanted],
}


def condition_is_met(operator, key, wanted, context):
    wanted = [str(each) for each in listed(wanted)]
    value = {name.lower(): text for name, text in context.items()}.get(key.lower())
    if operator == "Null":
        return (value is None) == (wanted == ["true"])
    if operator.endswith("IfExists"):
        operator, value_is_optional = operator.removesuffix("IfExists"), True
    else:
        value_is_optional = False
    if operator not in OPERATORS:
        raise ValueError(f"the evaluator does not support the condition {operator}")
    if value is None:
        return value_is_optional or operator == "StringNotEquals"
    return OPERATORS[operator](wanted, str(value))


def applies(statement, action, resource, context, principal):
    known = {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
    if set(statement) - known:
        raise ValueError(f"the evaluator does not support {set(statement) - known}")
    if not matches_any(statement["Action"], action, ignore_case=True):
        return False
    if "Resource" in statement and not matches_any(statement["Resource"], resource):
        return False
    if "Principal" in statement and not principal_matches(statement["Principal"], principal):
        return False
    conditions = statement.get("Condition", {})
    return all(condition_is_met(operator, key, wanted, context) for operator, keys in conditions.items() for key, wanted in keys.items())


def principal_matches(principals, principal):
    if principals == "*":
        return True
    kind, name = principal
    return any(each in ("*", name) for each in listed(principals.get(kind, [])))


def allows(policies, action, resource, context=None, principal=None):
    """Returns True if these policies (JSON texts) together allow the call; `principal` is for policies of resources and roles."""
    statements = [s for policy in policies for s in listed(json.loads(policy)["Statement"])]
    met = [s["Effect"] for s in statements if applies(s, action, resource, context or {}, principal)]
    return "Allow" in met and "Deny" not in met


# --- The evaluator against examples of the documentation: policies, a call, and the answer.

def example(*statements):
    return [json.dumps({"Version": "2012-10-17", "Statement": list(statements)})]


S3 = {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::examplebucket", "arn:aws:s3:::examplebucket/*"]}
TAGGED = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/Owner": ["me", "us"]}}}
TLS = {"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
EXAMPLES = [
    (example(S3), "s3:GetObject", "arn:aws:s3:::examplebucket/a/b", {}, None, True),
    (example(S3), "S3:getobject", "arn:aws:s3:::examplebucket/a", {}, None, True),
    (example(S3), "s3:GetObject", "arn:aws:s3:::examplebucket2/a", {}, None, False),
    (example(S3), "sqs:SendMessage", "arn:aws:s3:::examplebucket", {}, None, False),
    (example(S3, TLS), "s3:GetObject", "arn:aws:s3:::examplebucket/a", {"aws:SecureTransport": "false"}, None, False),
    (example(S3, TLS), "s3:GetObject", "arn:aws:s3:::examplebucket/a", {"aws:SecureTransport": "true"}, None, True),
    (example(TAGGED), "ec2:StopInstances", "arn:aws:ec2:::instance/1", {"aws:ResourceTag/Owner": "us"}, None, True),
    (example(TAGGED), "ec2:StopInstances", "arn:aws:ec2:::instance/1", {"aws:ResourceTag/Owner": "them"}, None, False),
    (example(TAGGED), "ec2:StopInstances", "arn:aws:ec2:::instance/1", {}, None, False),
    (example({**S3, "Condition": {"Null": {"aws:RequestTag/a": "false"}}}), "s3:GetObject", "arn:aws:s3:::examplebucket/a", {}, None, False),
    (example({**S3, "Condition": {"Null": {"aws:RequestTag/a": "false"}}}), "s3:GetObject", "arn:aws:s3:::examplebucket/a", {"aws:RequestTag/a": "1"}, None, True),
    (example({**S3, "Condition": {"StringEqualsIfExists": {"aws:RequestTag/a": "1"}}}), "s3:GetObject", "arn:aws:s3:::examplebucket/a", {}, None, True),
    (example({**S3, "Action": "s3:Get?bject"}), "s3:GetObject", "arn:aws:s3:::examplebucket/a", {}, None, True),
    (example(TRUST), "sts:AssumeRole", "", {}, ("Service", "ec2.amazonaws.com"), True),
    (example(TRUST), "sts:AssumeRole", "", {}, ("Service", "lambda.amazonaws.com"), False),
    ([], "s3:GetObject", "arn:aws:s3:::examplebucket/a", {}, None, False),
]


def wrong_examples():
    for policies, action, resource, context, principal, expected in EXAMPLES:
        if allows(policies, action, resource, context, principal) != expected:
            yield f"iam.py: {action} on {resource} by {policies} should be {expected}"


if __name__ == "__main__":
    wrong = list(wrong_examples())
    print("\n".join(wrong) or f"{len(EXAMPLES)} examples")
    raise SystemExit(bool(wrong))
