#!/usr/bin/env python3
"""Compares the chart and both clouds with helm/edges.json: each connection that the platform needs must be let through by every
route, security group, NetworkPolicy, endpoint, tag, policy of IAM and KMS, port and name on its way.

    python edges.py --aws STATE --gcp STATE --name tidemark-prod

The states are JSON of `terraform test -json -verbose` (the run `distinct` of infra-aws, see distinct.py; `on_a_stateful_group` of
infra-gcp; none for an environment without it). The chart is rendered with the values in the state. Prints each edge that is not
open, with the first obstacle, and exits with 1 if there is one.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = pathlib.Path(os.environ.get("TIDEMARK_ROOT", HERE.parents[1]))
sys.path.insert(0, str(ROOT / "helm/tests"))

import documents  # noqa: E402
import edges_argocd  # noqa: E402
import edges_gcp  # noqa: E402
import edges_limits  # noqa: E402
import iam  # noqa: E402
from edges_services import canary, public, serves, traces  # noqa: E402
from rules import Resources, read_lines  # noqa: E402
from network import INTERNET, Pod, Vpc, policy_lets, selects  # noqa: E402
from rights import FIELDS, FIELDS_GIVEN, is_attached, lacks, may_read, role_of  # noqa: E402

NAMESPACE = "tidemark"
AGENT = Pod("the credentials' agent", cidr="169.254.170.23/32")
SOMEWHERE = "52.94.0.1/32"
LEAST_EDGES = 40
REGION = re.compile(r"\b(?:af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-\d\b")


class Platform:
    """The chart and the states of one environment."""

    def __init__(self, name, aws, gcp):
        self.name = name
        self.environment = name.removeprefix("tidemark-")
        self.outputs, self.aws = aws
        self.gcp = gcp[1] if gcp else None
        self.vpc = Vpc(self.aws)
        self.by_address = {resource["address"]: resource["values"] for resource in self.aws.all}
        self.region = next(endpoint["service_name"].split(".")[2] for _, endpoint in self.aws.of("aws_vpc_endpoint"))
        overlay = ["--set", "image.digest=sha256:" + "0" * 64]
        (self.infrastructure,) = self.read(self.outputs["helm_values"]["value"])
        self.shop = self.render("helm", "helm_values", ["-f", str(ROOT / f"helm/values-{self.environment}.yaml"), *overlay])
        self.apps = self.render("helm/argocd", "argocd_values", [])
        self.policies = [d for d in self.shop if d["kind"] == "NetworkPolicy"]

    def read(self, text):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "documents.yaml")
            file.write_text(text)
            return documents.read(file)

    def render(self, chart, output, arguments):
        with tempfile.TemporaryDirectory() as folder:
            values = pathlib.Path(folder, "values.yaml")
            values.write_text(self.outputs[output]["value"])
            command = ["helm", "template", "tidemark", str(ROOT / chart), "-n", NAMESPACE, "--kube-version", "1.35", *arguments, "-f", str(values)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{chart} does not render with the values of infra-aws: {done.stderr}")
            return self.read(done.stdout)

    def find(self, kind, name):
        found = [d for d in self.shop if d["kind"] == kind and d["metadata"]["name"] == name]
        return found[0] if found else None

    def workload(self, name):
        for kind in ("Deployment", "StatefulSet", "Job"):
            if self.find(kind, name):
                return self.find(kind, name)
        return None

    def workloads(self):
        return [d for d in self.shop if d["kind"] in ("Deployment", "StatefulSet", "Job")]

    def pod(self, name):
        return Pod(name, NAMESPACE, self.workload(name)["spec"]["template"]["metadata"]["labels"])

    def application(self, name):
        found = [d for d in self.apps if d["kind"] == "Application" and d["metadata"]["name"] == name]
        return found[0] if found else None

    def elsewhere(self, what, value):
        """Yields the AWS regions in a setting other than the region of the environment."""
        found = sorted({region for region in REGION.findall(json.dumps(value)) if region != self.region})
        if found:
            yield f"{what} names {', '.join(found)}, but the region of the environment is {self.region}"

    def resolve(self, text):
        return text.replace("$NAME", self.name).replace("$VPC", self.vpc_arn())

    def vpc_arn(self):
        return self.by_address["aws_vpc.this"]["arn"]


# --- Checks that several kinds share


def reaches_aws(platform, pod, service):
    """From a pod of the shop to a service of AWS: names, region, credentials, policies, routes."""
    yield from knows_names(platform, pod)
    yield from platform.elsewhere(f"ConfigMap {pod.name}", platform.find("ConfigMap", pod.name)["data"])
    yield from policy_lets(platform.policies, "Egress", pod, AGENT, 80)
    yield from policy_lets(platform.policies, "Egress", pod, Pod("AWS", cidr=SOMEWHERE), 443)
    yield from platform.vpc.reaches_aws(service)


def knows_names(platform, pod):
    dns = Pod("kube-dns", "kube-system", {"k8s-app": "kube-dns"})
    for protocol in ("UDP", "TCP"):
        yield from policy_lets(platform.policies, "Egress", pod, dns, 53, protocol)
    if "coredns" not in platform.aws.keys("aws_eks_addon"):
        yield "the add-on coredns is missing"


# --- Kinds of edges: each yields the obstacles


def pods(platform, edge):
    caller, called = platform.pod(edge["from"]), platform.pod(edge["to"])
    yield from knows_names(platform, caller)
    yield from serves(platform, edge["to"], edge["port"])
    told = platform.find("ConfigMap", edge["from"])["data"].get(f"TIDEMARK_{edge['to'].upper()}_URL")
    if told != f"http://{edge['to']}:{edge['port']}":
        yield f"{edge['from']} has the address {told}, not http://{edge['to']}:{edge['port']}"
    yield from policy_lets(platform.policies, "Egress", caller, called, edge["port"])
    yield from policy_lets(platform.policies, "Ingress", called, caller, edge["port"])


def store(platform, edge):
    name, pod = edge["from"], platform.pod(edge["from"])
    yield from knows_names(platform, pod)
    subnets = subnets_of(platform, edge["to"])
    for cidr in [subnet["cidr_block"] for subnet in subnets]:
        yield from policy_lets(platform.policies, "Egress", pod, Pod(f"{edge['to']} at {cidr}", cidr=cidr), edge["port"])
    for subnet in [*subnets, *platform.vpc.subnets("private")]:
        if platform.vpc.route_table_of(subnet) is None:
            yield f"subnet {subnet['tags']['Name']} has no route table of its own"
        yield from edges_limits.network_acls(platform.vpc, subnet)
    yield from platform.vpc.group_lets_in(groups_of(platform, edge["to"]), edge["port"], group=platform.vpc.pods)
    yield from knows_secret(platform, name, {"mysql": "TIDEMARK_MYSQL", "kafka": "TIDEMARK_PROPERTIES"}[edge["to"]])
    yield from (speaks_to_mysql if edge["to"] == "mysql" else speaks_to_kafka)(platform, edge)


def groups_of(platform, what):
    if what == "mysql":
        return platform.by_address["aws_db_instance.this"]["vpc_security_group_ids"]
    return platform.by_address["aws_msk_cluster.this"]["broker_node_group_info"][0]["security_groups"]


def subnets_of(platform, what):
    """Returns the subnets of the servers of a store."""
    if what == "kafka":
        ids = platform.by_address["aws_msk_cluster.this"]["broker_node_group_info"][0]["client_subnets"]
    else:
        group = platform.by_address["aws_db_instance.this"]["db_subnet_group_name"]
        ids = next(values["subnet_ids"] for _, values in platform.aws.of("aws_db_subnet_group") if values["name"] == group)
    return [values for _, values in platform.aws.of("aws_subnet") if values["id"] in ids]


def knows_secret(platform, name, variable):
    secret = platform.find("ExternalSecret", name)
    if secret is None or variable not in secret["spec"]["target"]["template"]["data"]:
        yield f"{name} does not get {variable}"
        return
    container = platform.workload(name)["spec"]["template"]["spec"]["containers"][0]
    if {"secretRef": {"name": secret["spec"]["target"]["name"]}} not in container.get("envFrom", []):
        yield f"{name} does not read its secret"


def speaks_to_mysql(platform, edge):
    database = platform.by_address["aws_db_instance.this"]
    template = platform.find("ExternalSecret", edge["from"])["spec"]["target"]["template"]["data"]["TIDEMARK_MYSQL"]
    if database.get("port") and database["port"] != edge["port"]:
        yield f"MySQL listens on {database['port']}, not on {edge['port']}"
    if f"@{database['address']}:{database.get('port') or 3306}/{database['db_name']}" not in template and f"@{database['address']}:{edge['port']}/{database['db_name']}" not in template:
        yield f"{edge['from']} has the address {template}, not {database['address']}:{edge['port']}/{database['db_name']}"
    if "ssl-mode=REQUIRED" not in template:
        yield "MySQL accepts only TLS, and the address does not require it"
    keys = [d["remoteRef"]["key"] for d in platform.find("ExternalSecret", edge["from"])["spec"]["data"] if d["secretKey"] == "mysql_user"]
    master = database["master_user_secret"][0]["secret_arn"]
    wanted = master if edge["from"] == "migrations" else f"{platform.name}/mysql/{edge['from']}"
    if keys != [wanted]:
        yield f"{edge['from']} has the user of {keys}, not of {wanted}"
    yield from edges_limits.connections_fit(platform)


def speaks_to_kafka(platform, edge):
    cluster = platform.by_address["aws_msk_cluster.this"]
    brokers = platform.find("ConfigMap", edge["from"])["data"].get("TIDEMARK_BROKERS")
    if brokers != cluster["bootstrap_brokers_sasl_scram"] or not brokers.endswith(f":{edge['port']}"):
        yield f"{edge['from']} has the brokers {brokers}, not {cluster['bootstrap_brokers_sasl_scram']}"
    properties = platform.find("ExternalSecret", edge["from"])["spec"]["target"]["template"]["data"]["TIDEMARK_PROPERTIES"]
    for needed in ("security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512"):
        if needed not in properties:
            yield f"{edge['from']} lacks the property {needed}"
    if not cluster["client_authentication"][0]["sasl"][0]["scram"]:
        yield "the brokers do not accept passwords (SCRAM)"


def scram(platform, edge):
    """The brokers have the users of these passwords."""
    associated = {arn for _, a in platform.aws.of("aws_msk_scram_secret_association") for arn in a["secret_arn_list"]}
    for address, secret in platform.aws.of("aws_secretsmanager_secret"):
        if not address.startswith("aws_secretsmanager_secret.kafka["):
            continue
        if secret["arn"] not in associated:
            yield f"{secret['name']} is not associated with a cluster"
        policies = [p["policy"] for _, p in platform.aws.of("aws_secretsmanager_secret_policy") if p["secret_arn"] == secret["arn"]]
        context = {"aws:SourceAccount": "123456789012"}
        if not iam.allows(policies, "secretsmanager:GetSecretValue", secret["arn"], context, ("Service", "kafka.amazonaws.com")):
            yield f"the policy of {secret['name']} does not let the brokers read it"
        if not secret["name"].startswith("AmazonMSK_") or not secret["kms_key_id"]:
            yield f"{secret['name']} is not a secret that MSK accepts"


def aws(platform, edge):
    pod = platform.pod(edge["from"])
    yield from reaches_aws(platform, pod, edge["to"])
    account = platform.workload(edge["from"])["spec"]["template"]["spec"]["serviceAccountName"]
    if platform.find("ServiceAccount", account) is None:
        yield f"there is no service account {account}"
    role, why = role_of(platform, NAMESPACE, account)
    yield from [why] if why else lacks(platform, role, edge["rights"])


def internet(platform, edge):
    pod = platform.pod(edge["from"])
    yield from knows_names(platform, pod)
    told = platform.find("ConfigMap", edge["from"])["data"].get("TIDEMARK_NOTIFICATIONS_EMAIL", "")
    if f":{edge['port']}?" not in told:
        yield f"{edge['from']} has {told or 'no mail server'}, not a mail server on port {edge['port']}"
    yield from platform.elsewhere(f"the mail server of {edge['from']}", told)
    yield from policy_lets(platform.policies, "Egress", pod, Pod("the mail server", cidr=SOMEWHERE), edge["port"])
    for subnet in platform.vpc.subnets("private"):
        yield from platform.vpc.routes_to_internet(subnet)


def operator(platform, edge):
    account = edge["operator"]
    if "application" in account:
        application = platform.application(account["application"])
        if application is None:
            yield f"Argo CD does not install {account['application']}"
            return
        if application["spec"]["destination"]["namespace"] != account["namespace"]:
            yield f"{account['application']} is in namespace {application['spec']['destination']['namespace']}, its role is for {account['namespace']}"
        yield from platform.elsewhere(account["application"], application["spec"]["source"]["helm"]["valuesObject"])
        yield from edges_argocd.of_this_cluster(platform, application)
    if "addon" in edge and edge["addon"] not in platform.aws.keys("aws_eks_addon"):
        yield f"the add-on {edge['addon']} is missing"
    for subnet in platform.vpc.subnets("private"):
        yield from platform.vpc.routes_to_internet(subnet)
    role, why = role_of(platform, account["namespace"], account["service_account"])
    if why:
        yield why
    elif "managed" in edge:
        yield from is_attached(platform, role, edge["managed"])
    else:
        yield from lacks(platform, role, edge["rights"])


def secrets(platform, edge):
    """Every secret that the chart uses exists, has the needed keys, and may be read."""
    yield from operator(platform, {**edge, "rights": []})
    role, why = role_of(platform, edge["operator"]["namespace"], edge["operator"]["service_account"])
    if why:
        return
    yield from platform.vpc.reaches_aws("secretsmanager")
    for secret in [d for d in platform.shop if d["kind"] == "ExternalSecret"]:
        asked = platform.find("SecretStore", secret["spec"]["secretStoreRef"]["name"])
        if asked is None or secret["spec"]["secretStoreRef"].get("kind", "SecretStore") != "SecretStore":
            yield f"ExternalSecret {secret['metadata']['name']} names a SecretStore that does not exist"
            return
        yield from platform.elsewhere(f"SecretStore {asked['metadata']['name']}", asked["spec"])
    master = platform.by_address["aws_db_instance.this"]["master_user_secret"][0]
    known = {values["name"]: (address, values) for address, values in platform.aws.of("aws_secretsmanager_secret")}
    for wanted in sorted({(d["remoteRef"]["key"], d["remoteRef"]["property"]) for s in platform.shop if s["kind"] == "ExternalSecret" for d in s["spec"]["data"]}):
        key, field = wanted
        if key == master["secret_arn"]:
            address, arn, lock, fields = "master", key, platform.by_address['aws_kms_key.this["data"]'], {"username", "password"}
        elif key in known:
            address, values = known[key]
            arn, fields = values["arn"], FIELDS.get(address.split("[")[0], FIELDS_GIVEN.get(key.removeprefix(f"{platform.name}/"), set()))
            lock = next(k for _, k in platform.aws.of("aws_kms_key") if k["arn"] == values["kms_key_id"])
        else:
            yield f"there is no secret {key}"
            continue
        if field not in fields:
            yield f"secret {key} has no {field}"
        yield from may_read(platform, role, key, arn, lock)


def nodes(platform, edge):
    role = platform.by_address['aws_iam_role.service["nodes"]']
    for policy in ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"):
        yield from is_attached(platform, role, policy)
    private = {subnet["id"] for subnet in platform.vpc.subnets("private")}
    for address, group in platform.aws.of("aws_eks_node_group"):
        if not set(group["subnet_ids"]) <= private:
            yield f"nodes of {address} start in other subnets than the pods' private ones"
    for service in ("ecr.api", "ecr.dkr", "s3"):
        yield from platform.vpc.reaches_aws(service)
    repository = platform.by_address["aws_ecr_repository.this"]["repository_url"]
    for workload in platform.workloads():
        image = workload["spec"]["template"]["spec"]["containers"][0]["image"]
        if not image.startswith(f"{repository}@"):
            yield f"{workload['metadata']['name']} runs {image}, which is not from {repository}"


def volumes(platform, edge):
    """A claim without a class, as Prometheus' is, has a default one whose driver runs."""
    default = "storageclass.kubernetes.io/is-default-class"
    classes = [d for d in platform.apps if d["kind"] == "StorageClass" and d["metadata"].get("annotations", {}).get(default) == "true"]
    if len(classes) != 1:
        yield f"{len(classes)} default StorageClasses"
        return
    if classes[0]["provisioner"] != "ebs.csi.aws.com" or "aws-ebs-csi-driver" not in platform.aws.keys("aws_eks_addon"):
        yield f"no driver is installed for {classes[0]['provisioner']}"
    monitoring = platform.application("monitoring")
    if edges_argocd.wave(classes[0]) >= edges_argocd.wave(monitoring):
        yield "the StorageClass is created after the first claim of a volume"
    claim = monitoring["spec"]["source"]["helm"]["valuesObject"]["prometheus"]["prometheusSpec"]["storageSpec"]["volumeClaimTemplate"]["spec"]
    if claim.get("storageClassName", classes[0]["metadata"]["name"]) != classes[0]["metadata"]["name"]:
        yield f"Prometheus' claims name the class {claim['storageClassName']}, which does not exist"


def prometheus(platform):
    return Pod("Prometheus", platform.application("monitoring")["spec"]["destination"]["namespace"], {"app.kubernetes.io/name": "prometheus"})


def scrape(platform, edge):
    name, monitor = edge["to"], platform.find("ServiceMonitor", edge["to"])
    # The health and metrics of a service are behind a separate Service; the stream job has only one port.
    by = f"{name}-operator" if platform.find("Service", f"{name}-operator") else name
    yield from serves(platform, name, edge["port"], by)
    if monitor is None or monitor["metadata"]["labels"].get("release") != "monitoring":
        yield f"Prometheus selects no ServiceMonitor of {name}"
        return
    service = platform.find("Service", by)
    if not selects(monitor["spec"]["selector"], service["metadata"]["labels"]):
        yield f"ServiceMonitor {name} does not select Service {by}"
    (endpoint,) = monitor["spec"]["endpoints"]
    if (endpoint.get("path", "/metrics"), endpoint.get("scheme", "http")) != ("/metrics", "http"):
        yield f"ServiceMonitor {name} reads {endpoint.get('scheme', 'http')} {endpoint.get('path')}, not http /metrics"
    if endpoint["port"] not in [port["name"] for port in service["spec"]["ports"]]:
        yield f"ServiceMonitor {name} reads port {endpoint['port']!r}, which Service {by} does not have"
    yield from policy_lets(platform.policies, "Ingress", platform.pod(name), prometheus(platform), edge["port"])


def alarms(platform, edge):
    """From Alertmanager and from CloudWatch to a topic, from the topic to a person."""
    topic = platform.by_address["aws_sns_topic.alarms"]["arn"]
    config = platform.application("monitoring")["spec"]["source"]["helm"]["valuesObject"]["alertmanager"]["config"]
    receivers = {r["name"]: r for r in config["receivers"]}
    told = [sns["topic_arn"] for sns in receivers[config["route"]["receiver"]].get("sns_configs", [])]
    if told != [topic]:
        yield f"Alertmanager publishes to {told or 'no topic'}, not to {topic}"
    subscribed = [s for _, s in platform.aws.of("aws_sns_topic_subscription") if s["topic_arn"] == topic]
    if not any(s["protocol"] == "email" and "@" in s["endpoint"] for s in subscribed):
        yield "no address of e-mail is subscribed to the topic"
    context = {"aws:SourceAccount": "123456789012"}
    cloudwatch = ("Service", "cloudwatch.amazonaws.com")
    if not iam.allows([platform.by_address["aws_sns_topic_policy.alarms"]["policy"]], "sns:Publish", topic, context, cloudwatch):
        yield "the topic does not let CloudWatch publish"
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        if not iam.allows([platform.by_address['aws_kms_key.this["logs"]']["policy"]], action, "*", context, cloudwatch):
            yield f"the topic's key does not let CloudWatch {action}"
    rules = platform.find("PrometheusRule", "job-alerts")
    watched = platform.find("ServiceMonitor", "order-analytics") or platform.find("ScrapeConfig", "order-analytics")
    if bool(rules) != bool(watched):
        yield "there are alerts about the stream job without a job that Prometheus scrapes, or a job without alerts"


def people(platform, edge):
    if not platform.aws.of("aws_eks_access_entry"):
        yield "there is no access entry, so the cluster has no administrator"
    granted = {a["principal_arn"] for _, a in platform.aws.of("aws_eks_access_policy_association") if a["policy_arn"].endswith("ClusterAdminPolicy")}
    for _, entry in platform.aws.of("aws_eks_access_entry"):
        if entry["principal_arn"] not in granted:
            yield f"{entry['principal_arn']} has no rights in the cluster"
    cluster = platform.by_address["aws_eks_cluster.this"]
    if cluster["access_config"][0]["authentication_mode"] not in ("API", "API_AND_CONFIG_MAP"):
        yield "the cluster does not use access entries"
    yield from platform.vpc.has_private_names()
    config = cluster["vpc_config"][0]
    if config["endpoint_public_access"]:
        if not config["public_access_cidrs"]:
            yield "the API admits no network"
        return
    machines = platform.aws.of("aws_instance")
    if not machines:
        yield "the API is private, and there is no machine that forwards to it"
        return
    group = platform.by_address['aws_security_group.this["way-in"]']["id"]
    yield from platform.vpc.group_lets_in([platform.vpc.pods], edge["port"], group=group)
    yield from has_the_role_of_the_way_in(platform, machines[0][1])
    subnet = next(s for _, s in platform.aws.of("aws_subnet") if s["id"] == machines[0][1]["subnet_id"])
    yield from platform.vpc.routes_to_internet(subnet)
    yield from is_attached(platform, platform.by_address['aws_iam_role.service["way-in"]'], "AmazonSSMManagedInstanceCore")
    out = [r for _, r in platform.aws.of("aws_vpc_security_group_egress_rule") if r["security_group_id"] == group and r["cidr_ipv4"] == INTERNET]
    if not any(r["from_port"] <= 443 <= r["to_port"] for r in out):
        yield "the machine that forwards to the API may not call Session Manager"


def has_the_role_of_the_way_in(platform, machine):
    """By the profile of the machine's launch template, or by its own."""
    templates = [values for _, values in platform.aws.of("aws_launch_template") if values["id"] in [t["id"] for t in machine["launch_template"] or []]]
    profiles = [profile["arn"] for template in templates for profile in template["iam_instance_profile"] or []]
    role = platform.by_address['aws_iam_role.service["way-in"]']["name"]
    if not any(values["role"] == role and (values["arn"] in profiles or values["name"] == machine["iam_instance_profile"]) for _, values in platform.aws.of("aws_iam_instance_profile")):
        yield "the machine that forwards to the API does not have its role"


def file_processor(platform, edge):
    role = platform.by_address['aws_iam_role.service["file-processor"]']
    if platform.by_address["aws_lambda_function.file_processor"]["role"] != role["arn"]:
        yield "the function has another role"
    if not iam.allows([role["assume_role_policy"]], "sts:AssumeRole", "", {}, ("Service", "lambda.amazonaws.com")):
        yield "Lambda may not take the function's role"
    yield from lacks(platform, role, edge["rights"])
    variables = platform.by_address["aws_lambda_function.file_processor"]["environment"][0]["variables"]
    bucket = platform.by_address['aws_s3_bucket.this["uploads"]']["bucket"]
    if edge["to"] == "s3" and variables["TIDEMARK_OBJECTS"] != f"s3://{bucket}":
        yield f"the function has {variables['TIDEMARK_OBJECTS']}, not s3://{bucket}"


def lambda_trigger(platform, edge):
    bucket = platform.by_address['aws_s3_bucket.this["uploads"]']
    (notification,) = [values for _, values in platform.aws.of("aws_s3_bucket_notification")]
    called = notification["lambda_function"][0]
    if called["filter_prefix"] != "uploads/" or called["events"] != ["s3:ObjectCreated:*"] or notification["bucket"] != bucket["id"]:
        yield f"S3 calls for {called['events']} under {called['filter_prefix']} of {notification['bucket']}, not for uploads/ of {bucket['id']}"
    if platform.by_address["aws_lambda_function.file_processor"]["reserved_concurrent_executions"] == 0:
        yield "the function's reserved concurrency is 0"
    yield from edges_limits.runs_its_zip(platform.by_address["aws_lambda_function.file_processor"])
    permissions = [values for _, values in platform.aws.of("aws_lambda_permission")]
    wanted = ("s3.amazonaws.com", bucket["arn"], "lambda:InvokeFunction")
    if not any((p["principal"], p["source_arn"], p["action"]) == wanted for p in permissions):
        yield "S3 may not call the function"
    told = platform.find("ConfigMap", "files")["data"].get("TIDEMARK_OBJECTS")
    if told != f"s3://{bucket['bucket']}":
        yield f"files has {told}, not s3://{bucket['bucket']}"


KINDS = {
    "alarms": alarms, "argo": edges_argocd.argo, "aws": aws, "canary": canary, "internet": internet, "lambda": file_processor, "lambda-trigger": lambda_trigger, "nodes": nodes, "operator": operator,
    "locked-logs": edges_argocd.locked_logs, "people": people, "pods": pods, "public": public, "rotation": edges_argocd.rotation, "runs-pods": edges_argocd.runs_pods, "scram": scram, "scrape": scrape, "secrets": secrets, "store": store, "traces": traces,
    "volumes": volumes, "gcp-apis": edges_gcp.apis, "gcp-brokers": edges_gcp.brokers, "gcp-dns": edges_gcp.dns, "gcp-scrape": edges_gcp.scraped,
}


def first_in_the_way(platform, edge):
    try:
        return next(iter(KINDS[edge["kind"]](platform, edge)), None)
    except (AttributeError, KeyError, IndexError, StopIteration, TypeError, ValueError) as error:
        return f"a resource of the edge is missing: {type(error).__name__} {error}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--aws", required=True, type=pathlib.Path)
    parser.add_argument("--gcp", type=pathlib.Path)
    arguments = parser.parse_args()
    states = [(path, run) for path, run in ((arguments.aws, "distinct"), (arguments.gcp, "on_a_stateful_group")) if path]
    loaded = [(state.get("outputs", {}), Resources(found)) for state, found in (read_lines(path.open(), run) for path, run in states)]
    platform = Platform(arguments.name, loaded[0], loaded[1] if len(loaded) > 1 else None)
    edges = [e for e in json.loads((ROOT / "helm/edges.json").read_text())["edges"] if e.get("where", platform.environment) == platform.environment]
    closed = [(edge, why) for edge in edges if (why := first_in_the_way(platform, edge))]
    for edge, why in closed:
        print(f"  CLOSED {edge['from']} → {edge['to']}: {why}")
    print(f"  {len(edges)} edges, {len(closed)} closed")
    sys.exit(bool(closed) or len(edges) < LEAST_EDGES)


if __name__ == "__main__":
    main()
