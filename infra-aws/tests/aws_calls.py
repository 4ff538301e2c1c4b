"""Translates a request to AWS into the rights that it needs: actions, resources and the context of conditions, as in AWS's service
authorization reference (https://docs.aws.amazon.com/service-authorization/latest/reference/). Calls that it does not list raise an
error, so that no call is allowed by mistake.

`look` looks up facts in the emulation: tags(arn), group(id), secret(id) and the network's ARN.
"""

import json
from urllib.parse import parse_qsl

ACCOUNT, REGION = "123456789012", "eu-central-1"
BALANCING = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
# The parameters of calls to load balancers that name the resources to authorize.
NAMES = ("LoadBalancerArn", "ListenerArn", "RuleArn", "TargetGroupArn", "ResourceArns.member.", "RulePriorities.member.")
# The resource that a Create call with tags marks, and the resource that the call itself is authorized on (None: the new one).
CREATED = {
    "CreateLoadBalancer": ("loadbalancer/app/new/0", None),
    "CreateTargetGroup": ("targetgroup/new/0", None),
    "CreateListener": ("listener/app/new/0/0", "LoadBalancerArn"),
    "CreateRule": ("listener-rule/app/new/0/0/0", "ListenerArn"),
}
GROUP_CALLS = ("AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress", "DeleteSecurityGroup")


class Unlisted(Exception):
    """A call whose rights this file does not list."""


def request_tags(form, prefix):
    """Returns the tags that a request sets, as the context of conditions."""
    numbers = {key.removeprefix(prefix).split(".")[0] for key in form if key.startswith(prefix)}
    return {f"aws:RequestTag/{form[f'{prefix}{n}.Key']}": form.get(f"{prefix}{n}.Value", "") for n in numbers}


def resource_tags(look, arn):
    return {f"aws:ResourceTag/{key}": value for key, value in look.tags(arn).items()}


def balancing(action, form, look):
    call = f"elasticloadbalancing:{action}"
    if action.startswith("Describe"):
        return [(call, "*", {})]
    tags = request_tags(form, "Tags.member.")
    if action in CREATED:
        new, parent = CREATED[action]
        new = f"{BALANCING}:{new}"
        rights = [(call, form[parent], {**tags, **resource_tags(look, form[parent])}) if parent else (call, new, tags)]
        if tags:
            rights.append(("elasticloadbalancing:AddTags", new, {**tags, "elasticloadbalancing:CreateAction": action}))
        return rights
    arns = [value for key, value in form.items() if key.startswith(NAMES) and value.startswith(BALANCING)]
    if not arns:
        raise Unlisted(call)
    return [(call, arn, {**tags, **resource_tags(look, arn)}) for arn in arns]


def ec2(action, form, look):
    call = f"ec2:{action}"
    if action.startswith("Describe") or action == "GetSecurityGroupsForVpc":
        return [(call, "*", {})]
    if action == "CreateSecurityGroup":
        tags, group = request_tags(form, "TagSpecification.1.Tag."), f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/new"
        rights = [(call, look.network, {}), (call, group, {**tags, "ec2:Vpc": look.network})]
        return rights + ([("ec2:CreateTags", group, {**tags, "ec2:CreateAction": action})] if tags else [])
    if action in GROUP_CALLS:
        arn, tags, network = look.group(form["GroupId"])
        return [(call, arn, {**{f"aws:ResourceTag/{key}": value for key, value in tags.items()}, "ec2:Vpc": network})]
    if action in ("CreateTags", "DeleteTags"):
        arn, tags, _ = look.group(form["ResourceId.1"])
        return [(call, arn, {**request_tags(form, "Tag."), **{f"aws:ResourceTag/{key}": value for key, value in tags.items()}})]
    raise Unlisted(call)


def secretsmanager(action, asked, look):
    if action not in ("GetSecretValue", "DescribeSecret"):
        raise Unlisted(f"secretsmanager:{action}")
    arn, key, tags = look.secret(asked["SecretId"])
    rights = [(f"secretsmanager:{action}", arn, {f"aws:ResourceTag/{name}": value for name, value in tags.items()})]
    if action == "GetSecretValue":
        rights.append(("kms:Decrypt", key, {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}))
    return rights


def acm(action, _asked, _look):
    if action not in ("ListCertificates", "DescribeCertificate"):
        raise Unlisted(f"acm:{action}")
    return [(f"acm:{action}", "*", {})]


def rights(service, target, body, look):
    """Returns the name of a call, and the rights that it needs."""
    if target:
        action, asked = target.split(".")[-1], json.loads(body or "{}")
    else:
        asked = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = asked.get("Action", "?")
    by_service = {"elasticloadbalancing": balancing, "ec2": ec2, "secretsmanager": secretsmanager, "acm": acm}
    if service not in by_service:
        raise Unlisted(f"{service}:{action}")
    return f"{service}:{action}", by_service[service](action, asked, look)
