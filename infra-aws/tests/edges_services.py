"""Edges to pods by a name: Services, and the load balancers that the controller creates for an Ingress or a Service.

Each function yields the obstacles.
"""

import json
import re

from network import Pod, policy_lets, selects

ALB = "alb.ingress.kubernetes.io"
# Without a policy the controller sets ELBSecurityPolicy-2016-08, which accepts TLS 1.0 (its pkg/config/controller_config.go). These
# accept only 1.2 and newer: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
TLS_1_2 = re.compile(r"ELBSecurityPolicy-(TLS13-1-[23]|TLS-1-2|FS-1-2)-.+")


def serves(platform, name, port, by=None):
    """The Service `by`, named like the workload unless given, leads from that port to a container that listens there."""
    service, workload = platform.find("Service", by or name), platform.workload(name)
    if service is None or workload is None:
        yield f"{name} does not exist"
        return
    template = workload["spec"]["template"]
    if not selects({"matchLabels": service["spec"]["selector"]}, template["metadata"]["labels"]):
        yield f"Service {name} selects no pod"
    (entry,) = service["spec"]["ports"]
    named = {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0]["ports"]}
    target = named.get(entry["targetPort"], entry["targetPort"])
    if (entry["port"], target) != (port, port):
        yield f"Service {name} leads from {entry['port']} to {target}, not to {port}"


def public(platform, edge):
    yield from serves(platform, edge["to"], edge["port"])
    if platform.application("aws-load-balancer-controller") is None:
        yield "Argo CD does not install the load balancer controller"
    ingress, service = platform.find("Ingress", edge["to"]), platform.find("Service", edge["to"])
    if ingress is not None:
        yield from ingress_works(platform, ingress, edge)
        scheme = ingress["metadata"]["annotations"].get("alb.ingress.kubernetes.io/scheme", "internal")
    elif service["spec"]["type"] == "LoadBalancer":
        prefix = "service.beta.kubernetes.io/aws-load-balancer-"
        annotations = service["metadata"].get("annotations", {})
        if annotations.get(f"{prefix}type") != "external" or annotations.get(f"{prefix}nlb-target-type") != "ip":
            yield f"the load balancer controller does not handle Service {edge['to']}"
        scheme = annotations.get(f"{prefix}scheme", "internal")
    else:
        yield f"{edge['to']} has no Ingress and no load balancer"
        return
    tag = "kubernetes.io/role/elb" if scheme == "internet-facing" else "kubernetes.io/role/internal-elb"
    subnets = [s for _, s in platform.aws.of("aws_subnet") if s["tags"].get(tag) == "1"]
    if len({subnet["availability_zone"] for subnet in subnets}) < 2:
        yield f"{len(subnets)} subnets have the tag {tag}; a load balancer needs two zones"
    for subnet in subnets:
        if scheme == "internet-facing":
            yield from platform.vpc.routes_to_internet(subnet)
        balancer = Pod(f"load balancers in {subnet['tags']['Name']}", cidr=subnet["cidr_block"])
        yield from policy_lets(platform.policies, "Ingress", platform.pod(edge["to"]), balancer, edge["port"])


def ingress_works(platform, ingress, edge):
    annotations, spec = ingress["metadata"]["annotations"], ingress["spec"]
    if spec.get("ingressClassName") != "alb" or annotations.get("alb.ingress.kubernetes.io/target-type") != "ip":
        yield f"the load balancer controller does not handle Ingress {edge['to']}"
    host = spec["rules"][0]["host"]
    yield from listens_with_tls(annotations)
    yield from checks_health_where_pods_answer(platform, annotations, edge)
    certificates = {c["domain_name"] for _, c in platform.aws.of("aws_acm_certificate")}
    validated = bool(platform.aws.of("aws_acm_certificate_validation")) and bool(platform.aws.of("aws_route53_record"))
    if "HTTPS" in annotations["alb.ingress.kubernetes.io/listen-ports"] and (host not in certificates or not validated):
        yield f"no certificate for {host}, and the listener is HTTPS"
    names = platform.application("external-dns")
    if names is None or names["spec"]["source"]["helm"]["valuesObject"]["domainFilters"] != [host]:
        yield f"no operator manages the name {host}"
    elif "ingress" not in names["spec"]["source"]["helm"]["valuesObject"]["sources"]:
        yield f"external-dns does not read the Ingress of {host}"
    yield from links_lead_here(platform, host)
    (path,) = spec["rules"][0]["http"]["paths"]
    if (path["path"], path["pathType"]) != ("/", "Prefix"):
        yield f"the Ingress leads only requests for {path['path']} to {edge['to']}"
    backend = path["backend"]["service"]
    if backend["name"] != edge["to"]:
        yield f"the Ingress leads to {backend['name']}"


def links_lead_here(platform, host):
    told = platform.find("ConfigMap", "users")["data"].get("TIDEMARK_USERS_SHOP_URL")
    if told != f"https://{host}":
        yield f"links in mail begin with {told}, not with https://{host}"


def listens_with_tls(annotations):
    """Nothing is served without TLS, or with a version of TLS before 1.2."""
    listeners = [protocol for each in json.loads(annotations.get(f"{ALB}/listen-ports", '[{"HTTP": 80}]')) for protocol in each]
    if "HTTPS" not in listeners or "HTTP" in listeners and f"{ALB}/ssl-redirect" not in annotations:
        yield f"the load balancer serves {' and '.join(listeners)} without TLS"
    policy = annotations.get(f"{ALB}/ssl-policy", "ELBSecurityPolicy-2016-08")
    if not TLS_1_2.fullmatch(policy):
        yield f"the load balancer's policy {policy} accepts TLS before 1.2"


def checks_health_where_pods_answer(platform, annotations, edge):
    """The load balancer sends requests to pods that answer its check with 200: at the path of the pods' own probe."""
    probe = platform.workload(edge["to"])["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"]
    path, port = annotations.get(f"{ALB}/healthcheck-path", "/"), annotations.get(f"{ALB}/healthcheck-port", "traffic-port")
    if path != probe or port not in ("traffic-port", str(edge["port"])):
        yield f"the load balancer checks health at {path} on port {port}, the pods' probe is at {probe}"
    if annotations.get(f"{ALB}/success-codes", "200") != "200":
        yield f"the load balancer treats {annotations[f'{ALB}/success-codes']} as healthy"


def canary(platform, edge):
    """New pods of a service are tested: Argo Rollouts is installed after Prometheus' kinds, and asks the Prometheus of the monitoring
    chart, which is read by the name of a service that its operator creates."""
    rollouts, monitoring = platform.application("rollouts"), platform.application("monitoring")
    waves = [app and int(app["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for app in (monitoring, rollouts, platform.application("tidemark"))]
    if None in waves or waves != sorted(waves) or len(set(waves)) < 3:
        yield f"monitoring, rollouts and the shop are installed in waves {waves}"
    rollout = platform.find("Rollout", edge["to"])
    if rollout is None:
        yield f"{edge['to']} has no Rollout"
        return
    (template,) = [platform.find("AnalysisTemplate", each["templateName"]) for each in rollout["spec"]["strategy"]["canary"]["analysis"]["templates"]]
    address = template["spec"]["metrics"][0]["provider"]["prometheus"]["address"]
    namespace = monitoring["spec"]["destination"]["namespace"]
    if address != f"http://prometheus-operated.{namespace}:{edge['port']}":
        yield f"errors of new pods are counted at {address}"
    target = platform.find("HorizontalPodAutoscaler", edge["to"])["spec"]["scaleTargetRef"]
    if (target["kind"], target["name"]) != ("Rollout", edge["to"]):
        yield f"the autoscaler scales {target['kind']} {target['name']}"
    monitor = rollouts["spec"]["source"]["helm"]["valuesObject"]["controller"]["metrics"]["serviceMonitor"]
    if not monitor["enabled"] or not monitor["additionalLabels"].items() <= platform.find("ServiceMonitor", edge["to"])["metadata"]["labels"].items():
        yield "Prometheus does not read the metrics of Argo Rollouts, which the alert ServiceAbsent needs"


def traces(platform, edge):
    pod, told = platform.pod(edge["from"]), platform.find("ConfigMap", edge["from"])["data"].get("TIDEMARK_OTLP_ENDPOINT", "")
    application = platform.application("traces")
    if application is None or not told:
        yield f"{edge['from']} has {told or 'no collector'}; Argo CD installs {'one' if application else 'none'}"
        return
    namespace, name = application["spec"]["destination"]["namespace"], application["spec"]["source"]["helm"]["valuesObject"]["fullnameOverride"]
    if told != f"http://{name}.{namespace}:{edge['port']}":
        yield f"{edge['from']} has the address {told}, not http://{name}.{namespace}:{edge['port']}"
    collector = Pod("the collector", namespace, {"app.kubernetes.io/name": "opentelemetry-collector"})
    yield from policy_lets(platform.policies, "Egress", pod, collector, edge["port"])
