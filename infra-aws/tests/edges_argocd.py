"""Edges that begin at Argo CD: what it installs, from where, with which values; and what operators then do for the shop's pods.

Each function yields the obstacles.
"""

import json
import re

import edges_limits
import iam

WAVE = "argocd.argoproj.io/sync-wave"
RELOADED = "secret.reloader.stakater.com/reload"
# An operator whose objects have kinds of another one, which must be there before.
NEEDS = {"monitoring": ["external-secrets"], "rollouts": ["monitoring"], "tidemark": ["external-secrets", "monitoring", "rollouts", "reloader"]}
# Families of instances with Graviton processors: m7g, t4g, c8gn.
ARM = re.compile(r"[a-z]+\d+g[a-z]*\..+")
# An image is up to five entries of the registry: two architectures, their index, its signature and its contents.
LEAST_IMAGES = 5 * 50


def wave(document):
    return int(document["metadata"].get("annotations", {}).get(WAVE, 0))


def argo(platform, edge):
    """Argo CD may install an application, in a namespace that exists, with the values of this environment, after what it needs."""
    application = platform.application(edge["to"])
    if application is None:
        yield f"Argo CD does not install {edge['to']}"
        return
    yield from project_admits(platform, application)
    spec = application["spec"]
    if "CreateNamespace=true" not in spec["syncPolicy"]["syncOptions"]:
        yield f"the namespace {spec['destination']['namespace']} is not created"
    for needed in NEEDS.get(edge["to"], []):
        before = platform.application(needed)
        if before is None or wave(before) >= wave(application):
            yield f"{edge['to']} is not installed after {needed}, whose kinds it has"
    if edge["to"] == "tidemark":
        yield from values_of_the_environment(platform, spec["source"])


def project_admits(platform, application):
    (project,) = [d for d in platform.apps if d["kind"] == "AppProject"]
    name, spec = application["metadata"]["name"], application["spec"]
    if spec["project"] != project["metadata"]["name"] or wave(project) >= wave(application):
        yield f"{name} is of project {spec['project']}, which is not there before it"
    if spec["source"]["repoURL"] not in project["spec"]["sourceRepos"]:
        yield f"the project does not admit {spec['source']['repoURL']}, where {name} is from"
    if {key: spec["destination"][key] for key in ("server", "namespace")} not in project["spec"]["destinations"]:
        yield f"the project does not admit the namespace {spec['destination']['namespace']} of {name}"


def values_of_the_environment(platform, source):
    files = ["values.yaml", f"values-{platform.environment}.yaml"]
    if source["path"] != "helm" or source["helm"]["valueFiles"] != files:
        yield f"the shop gets {source['helm']['valueFiles']} of {source['path']}, not {files} of helm"
    if source["helm"].get("valuesObject") != platform.infrastructure:
        yield "the shop does not get the values of infra-aws"


def of_this_cluster(platform, application):
    """The values of an operator name the cluster, the VPC and the zone of this configuration."""
    name, values = application["metadata"]["name"], application["spec"]["source"]["helm"]["valuesObject"]
    cluster = platform.by_address["aws_eks_cluster.this"]["name"]
    named = values.get("clusterName") or values.get("autoDiscovery", {}).get("clusterName") or cluster
    if named != cluster:
        yield f"{name} has the cluster {named}, not {cluster}"
    vpc = platform.by_address["aws_vpc.this"]["id"]
    if values.get("vpcId", vpc) != vpc:
        yield f"{name} has the VPC {values['vpcId']}, not {vpc}"
    zones = {record["zone_id"] for _, record in platform.aws.of("aws_route53_record")}
    filters = {a.partition("=")[2] for a in values.get("extraArgs", []) if isinstance(a, str) and a.startswith("--zone-id-filter=")}
    if not filters <= zones:
        yield f"{name} manages zone {sorted(filters)}, and the certificate's record is in {sorted(zones)}"


def rotation(platform, edge):
    """A changed secret arrives in the cluster within the hour, and its pods are started again."""
    reloader = platform.application("reloader")
    settings = (reloader or {}).get("spec", {}).get("source", {}).get("helm", {}).get("valuesObject", {}).get("reloader", {})
    if not settings.get("watchGlobally", True) or settings.get("ignoreSecrets") or reloader is None:
        yield "Reloader does not watch the shop's secrets"
    secrets = [d for d in platform.shop if d["kind"] == "ExternalSecret"]
    if len(secrets) < 3:
        yield f"only {len(secrets)} secrets"
    for secret in secrets:
        name, interval = secret["metadata"]["name"], secret["spec"]["refreshInterval"]
        if interval not in ("1m", "5m", "1h"):
            yield f"secret {name} is read again after {interval}"
        workload = platform.workload(name)
        if workload["kind"] != "Job" and workload["metadata"].get("annotations", {}).get(RELOADED) != secret["spec"]["target"]["name"]:
            yield f"{name} is not started again when its secret changes"


def runs_pods(platform, edge):
    """Nodes run the image: their processor is that of their operating system, no taint keeps pods away, and the image is kept."""
    for address, group in platform.aws.of("aws_eks_node_group"):
        for kind in group["instance_types"]:
            if bool(ARM.fullmatch(kind)) != ("ARM_64" in group["ami_type"]):
                yield f"{address}: {group['ami_type']} does not run on {kind}"
        for taint in group.get("taint") or []:
            yield f"{address}: the taint {taint['key']} keeps every pod away"
    yield from edges_limits.pods_fit(platform)
    for address, policy in platform.aws.of("aws_ecr_lifecycle_policy"):
        for rule in json.loads(policy["policy"])["rules"]:
            if rule["selection"]["countType"] != "imageCountMoreThan" or rule["selection"]["countNumber"] < LEAST_IMAGES:
                yield f"{address} deletes images after {rule['selection']['countNumber']}: one that runs may be among them"


def locked_logs(platform, edge):
    """CloudWatch may use the key of each log group; otherwise the group cannot be created."""
    for address, group in platform.aws.of("aws_cloudwatch_log_group"):
        keys = [key for _, key in platform.aws.of("aws_kms_key") if key["arn"] == group["kms_key_id"]]
        context = {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{platform.region}:123456789012:log-group:{group['name']}"}
        for action in ("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"):
            if not keys or not iam.allows([keys[0]["policy"]], action, "*", context, ("Service", f"logs.{platform.region}.amazonaws.com")):
                yield f"the key of {address} does not let CloudWatch {action}"
