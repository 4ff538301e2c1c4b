"""Finds the role of a service account and the calls that it may not make, by Pod Identity, trust, policies and keys of a state."""

import json

import edges_limits
import iam

# The fields of the secrets that Terraform writes, and of those in README.md that people set.
FIELDS = {"aws_secretsmanager_secret.kafka": {"username", "password"}, "aws_secretsmanager_secret.database": {"username", "password"}}
FIELDS_GIVEN = {"services/auth": {"secret"}, "users/admin": {"email", "password"}, "notifications/smtp": {"username", "password"}}


def role_of(platform, namespace, service_account):
    """Returns the role of a service account, or the obstacle."""
    associations = [a for _, a in platform.aws.of("aws_eks_pod_identity_association") if (a["namespace"], a["service_account"]) == (namespace, service_account)]
    if not associations:
        return None, f"no Pod Identity for service account {service_account} in namespace {namespace}"
    roles = [values for _, values in platform.aws.of("aws_iam_role") if values["arn"] == associations[0]["role_arn"]]
    if not roles:
        return None, f"the Pod Identity of {service_account} names no role"
    tags = {"eks-cluster-arn": platform.by_address["aws_eks_cluster.this"]["arn"], "kubernetes-namespace": namespace, "kubernetes-service-account": service_account}
    context = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    for action in ("sts:AssumeRole", "sts:TagSession"):
        if not iam.allows([roles[0]["assume_role_policy"]], action, "", context, ("Service", "pods.eks.amazonaws.com")):
            return None, f"role {roles[0]['name']} does not let {service_account} in namespace {namespace} take it ({action})"
    if "eks-pod-identity-agent" not in platform.aws.keys("aws_eks_addon"):
        return None, "the add-on eks-pod-identity-agent is missing"
    return roles[0], None


def lacks(platform, role, rights):
    """Returns the calls that a role may not make."""
    yield from edges_limits.unbounded(role)
    policies = [p["policy"] for _, p in platform.aws.of("aws_iam_role_policy") if p["role"] == role["name"]]
    for right in rights:
        if "on" in right and right["on"] not in platform.by_address:
            yield f"{right['on']} does not exist"
            continue
        resource = platform.by_address[right["on"]]["arn"] if "on" in right else platform.resolve(right["arn"])
        resource += right.get("path", "")
        context = {platform.resolve(key): platform.resolve(value) for key, value in right.get("context", {}).items()}
        for action in right["actions"]:
            if not iam.allows(policies, action, resource, context):
                yield f"role {role['name']} may not {action} on {resource}"
            elif is_denied(platform, right.get("on", ""), action, resource, role):
                yield f"the policy of {right['on']} denies {action} to role {role['name']}"
            elif action.startswith("kms:") and not key_lets(platform, right["on"], action):
                yield f"the policy of {right['on']} does not delegate {action} to IAM policies"
            elif action.startswith("kms:"):
                yield from edges_limits.key_is_on(platform, right["on"])
            yield from edges_limits.endpoint_lets(platform, role, action, resource)


def is_denied(platform, address, action, resource, role):
    """Returns True if a bucket's policy denies a call over TLS that the role's own policies allow."""
    bucket = platform.by_address.get(address, {}).get("id")
    policies = [values["policy"] for _, values in platform.aws.of("aws_s3_bucket_policy") if values["bucket"] == bucket]
    anything = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    return bool(policies) and not iam.allows([anything, *policies], action, resource, {"aws:SecureTransport": "true"}, ("AWS", role["arn"]))


def key_lets(platform, address, action):
    root = ("AWS", "arn:aws:iam::123456789012:root")
    return iam.allows([platform.by_address[address]["policy"]], action, "*", {}, root)


def is_attached(platform, role, policy):
    arn = f"arn:aws:iam::aws:policy/{policy}"
    if (role["name"], arn) not in {(a["role"], a["policy_arn"]) for _, a in platform.aws.of("aws_iam_role_policy_attachment")}:
        yield f"role {role['name']} does not have {policy}"


def may_read(platform, role, key, arn, lock):
    yield from edges_limits.unbounded(role)
    policies = [p["policy"] for _, p in platform.aws.of("aws_iam_role_policy") if p["role"] == role["name"]]
    for action in ("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"):
        if not iam.allows(policies, action, arn):
            yield f"role {role['name']} may not {action} on {key}"
    if not iam.allows(policies, "kms:Decrypt", lock["arn"], {"kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com"}):
        yield f"role {role['name']} may not use the key of {key}"
