#!/usr/bin/env python3
"""The rules of the rendered manifests, for all values, and a test that each check detects its mistake.

  manifests.py rendered.yaml …      checks them; the name of a file is that of the environment
  manifests.py --mistakes file      plants one mistake after the other in a copy; each must be detected
"""
import copy
import pathlib
import re
import sys

import documents

# The allowed connections. Stores are identified by their ports; DynamoDB and the object store share one.
PICTURE = {
    ("public", "gateway"), ("public", "platform"),
    ("gateway", "users"), ("gateway", "products"), ("gateway", "orders"), ("gateway", "notifications"), ("gateway", "analytics"),
    ("gateway", "files"), ("files", "users"), ("files", "https"),
    ("orders", "products"), ("notifications", "users"), ("analytics", "orders"),
    ("products", "users"), ("orders", "users"), ("analytics", "users"),
    ("users", "mysql"), ("orders", "mysql"), ("migrations", "mysql"),
    ("products", "https"), ("notifications", "https"), ("analytics", "https"),
    ("orders", "kafka"), ("notifications", "kafka"), ("analytics", "kafka"),
    ("notifications", "smtp"),
    ("order-analytics", "kafka"), ("order-analytics", "https"),
}
STORES = {3306: {"mysql"}, 9096: {"kafka"}, 443: {"https"}, 587: {"smtp"}, 80: {"credentials"}}
COLLECTOR = "opentelemetry-collector"
AUTOSCALED = [{"gateway": (2, 10), "orders": (2, 8)}, {"gateway": (1, 3), "orders": (1, 3)}, {}]  # prod's, dev's, kind's


class Manifests(list):
    """The documents of one rendering."""

    def of(self, *kinds):
        return [document for document in self if document["kind"] in kinds]

    def workloads(self):
        """Returns everything that creates pods, with the template of its pods."""
        return [(d, d["spec"]["template"]) for d in self.of("Deployment", "StatefulSet", "Job")]

    def containers(self):
        for workload, template in self.workloads():
            for container in template["spec"].get("initContainers", []) + template["spec"]["containers"]:
                yield workload, template["spec"], container


def name_of(document):
    return f"{document['kind']} {document['metadata']['name']}"


def matches(selector, template):
    labels = template["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def no_container_may_run_as_root(manifests):
    for workload, pod, container in manifests.containers():
        context = pod.get("securityContext", {}) | container.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser", 0) == 0:
            yield f"{name_of(workload)}: {container['name']} may run as root"


def every_pod_meets_the_restricted_standard_on_a_read_only_root(manifests):
    for workload, pod, container in manifests.containers():
        context = container.get("securityContext", {})
        kept = (
            context.get("allowPrivilegeEscalation") is False,
            context.get("readOnlyRootFilesystem") is True,
            context.get("capabilities") == {"drop": ["ALL"]},
            pod.get("securityContext", {}).get("seccompProfile", {}).get("type") == "RuntimeDefault",
            not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
            all(set(volume) & {"emptyDir", "configMap", "secret", "persistentVolumeClaim"} for volume in pod.get("volumes", [])),
        )
        if not all(kept):
            yield f"{name_of(workload)}: {container['name']} is not restricted: {kept}"


def no_pod_is_given_a_token_of_the_cluster(manifests):
    for workload, template in manifests.workloads():
        if template["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name_of(workload)} mounts a token"


def every_container_says_what_it_needs(manifests):
    for workload, _, container in manifests.containers():
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
            yield f"{name_of(workload)}: {container['name']} lacks requests or a memory limit"


def every_server_has_its_three_probes_and_a_way_to_end(manifests):
    wanted = {"startupProbe": "/health/live", "livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
    for workload in manifests.of("Deployment", "StatefulSet"):
        pod = workload["spec"]["template"]["spec"]
        for container in pod["containers"]:
            for probe, path in wanted.items():
                if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                    yield f"{name_of(workload)} has no {probe} on {path}"
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if workload["kind"] == "Deployment" and not 0 < pause < pod.get("terminationGracePeriodSeconds", 30):
                yield f"{name_of(workload)} does not wait for the load balancers, or is killed while it does"


def every_server_has_a_disruption_budget(manifests):
    budgets = [budget["spec"]["selector"] for budget in manifests.of("PodDisruptionBudget")]
    for workload in manifests.of("Deployment", "StatefulSet"):
        if not any(matches(selector, workload["spec"]["template"]) for selector in budgets):
            yield f"{name_of(workload)} has no PodDisruptionBudget"


def what_the_autoscaler_owns_has_no_replicas(manifests):
    owned = {(scaler["spec"]["scaleTargetRef"]["kind"], scaler["spec"]["scaleTargetRef"]["name"]) for scaler in manifests.of("HorizontalPodAutoscaler")}
    for workload in manifests.of("Deployment", "Rollout"):
        name, written = workload["metadata"]["name"], "replicas" in workload["spec"]
        if written == ((workload["kind"], name) in owned):
            yield f"{name_of(workload)}: replicas are {'written beside an autoscaler' if written else 'nobody’s'}"


def a_canary_runs_the_pods_of_its_deployment(manifests):
    """The Deployment has no pods of its own, the autoscaler scales the Rollout, and errors are counted before the first pause ends."""
    templates = {template["metadata"]["name"]: template["spec"] for template in manifests.of("AnalysisTemplate")}
    described = {deployment["metadata"]["name"]: deployment["spec"] for deployment in manifests.of("Deployment")}
    for rollout in manifests.of("Rollout"):
        name, spec = name_of(rollout), rollout["spec"]
        if described.get(spec["workloadRef"]["name"], {}).get("replicas") != 0 or spec["workloadRef"]["name"] != rollout["metadata"]["name"]:
            yield f"{name}: its Deployment is missing, or has pods of its own"
        canary = spec["strategy"]["canary"]
        weights = [step["setWeight"] for step in canary["steps"] if "setWeight" in step]
        if weights != sorted(weights) or not 0 < weights[0] < 50 or canary["maxUnavailable"] != 0 or not all("duration" in step["pause"] for step in canary["steps"] if "pause" in step):
            yield f"{name}: weights {weights} begin too high, fall, or wait for a person"
        known = {argument["name"] for argument in canary["analysis"]["args"]}
        for template in canary["analysis"]["templates"]:
            found = templates.get(template["templateName"])
            if found is None or {argument["name"] for argument in found["args"]} != known or canary["analysis"].get("startingStep", 0) > 1:
                yield f"{name}: the analysis {template['templateName']} is missing, lacks an argument, or begins too late"
    described_only = {name for name, spec in described.items() if spec.get("replicas") == 0}
    if described_only != {rollout["metadata"]["name"] for rollout in manifests.of("Rollout")}:
        yield f"{sorted(described_only)} have no pods"


def the_autoscalers_are_as_agreed_with_nothing_left_to_defaults(manifests):
    bounds = {s["metadata"]["name"]: (s["spec"].get("minReplicas"), s["spec"]["maxReplicas"]) for s in manifests.of("HorizontalPodAutoscaler")}
    if bounds not in AUTOSCALED:
        yield f"bounds are {bounds}"
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        spec, name = scaler["spec"], scaler["metadata"]["name"]
        targets = {m["resource"]["name"]: m["resource"]["target"].get("averageUtilization") for m in spec["metrics"]}
        if targets != {"cpu": 70, "memory": 80}:
            yield f"{name}: targets are {targets}"
        behavior = spec.get("behavior", {})
        for direction, window in (("scaleUp", 0), ("scaleDown", 300)):
            rules = behavior.get(direction, {})
            if rules.get("stabilizationWindowSeconds") != window or not rules.get("policies") or "selectPolicy" not in rules:
                yield f"{name}: {direction} is not written out"


def every_image_is_named_by_digest(manifests):
    for workload, pod, container in manifests.containers():
        if pod["containers"][0].get("imagePullPolicy") == "Never":
            continue  # kind's image does not come from a registry
        if not re.fullmatch(r"[^@:]+(:\d+)?(/[^@:]+)*@sha256:[0-9a-f]{64}", container["image"]):
            yield f"{name_of(workload)}: {container['image']}"


def no_secret_is_in_the_manifests(manifests):
    for document in manifests.of("Secret"):
        yield f"{name_of(document)} would be kept in Git"
    for document in manifests.of("ConfigMap"):
        for key, value in document.get("data", {}).items():
            if re.search(r"(?i)password|secret|token", key) or re.search(r"://[^/\s{]+:[^/\s{]+@", value):
                yield f"{name_of(document)}: {key} looks like a secret"


def every_variable_is_one_that_the_program_reads(manifests):
    root = pathlib.Path(__file__).resolve().parents[2]
    sources = [path.read_text() for folder in ("services", "stream") for path in (root / folder).rglob("*.rs")]
    read = set(re.findall(r'env = "([A-Z0-9_]+)"', "".join(sources)))
    for document in manifests.of("ConfigMap", "ExternalSecret"):
        data = document.get("data") or document.get("spec", {}).get("target", {}).get("template", {}).get("data", {})
        for variable in data:
            if variable.startswith("TIDEMARK_") and variable not in read:
                yield f"{name_of(document)}: no program reads {variable}"


def everything_is_denied_by_default(manifests):
    for policy in manifests.of("NetworkPolicy"):
        spec = policy["spec"]
        everything = spec["podSelector"] == {} and set(spec["policyTypes"]) == {"Ingress", "Egress"}
        if everything and not spec.get("ingress") and not spec.get("egress"):
            return
    yield "no policy denies everything"


def edges(manifests):
    """Returns the connections that policies let out, and those that they let in, as pairs of names."""
    templates = {w["metadata"]["name"]: t for w, t in manifests.workloads()}
    ports = {s["metadata"]["name"]: s["spec"]["ports"][0]["port"] for s in manifests.of("Service")}
    out, into = set(), set()

    def pods(peer):
        if peer == {}:
            return {"anybody"}
        return {name for name, template in templates.items() if matches(peer["podSelector"], template)}

    for policy in manifests.of("NetworkPolicy"):
        if policy["spec"]["podSelector"] == {}:
            continue
        own = [name for name, template in templates.items() if matches(policy["spec"]["podSelector"], template)]
        for rule in policy["spec"].get("egress") or []:
            for peer in rule.get("to") or [{}]:
                numbers = {port["port"] for port in rule.get("ports", [])}
                if peer.get("namespaceSelector"):
                    far = set(peer.get("podSelector", {}).get("matchLabels", {}).values()) or {"a whole namespace"}
                elif "ipBlock" in peer:
                    far = set().union(*(STORES.get(number, {f"port {number}"}) for number in numbers)) or {"anywhere"}
                else:
                    far = pods(peer) or {"nobody"}
                out |= {(name, other, *sorted(numbers)) for name in own for other in far}
        for rule in policy["spec"].get("ingress") or []:
            for peer in rule.get("from") or [{}]:
                if peer.get("namespaceSelector"):
                    near = set(peer.get("podSelector", {}).get("matchLabels", {}).values()) or {"a whole namespace"}
                else:
                    near = {"public"} if "ipBlock" in peer else pods(peer)
                numbers = {port["port"] for port in rule.get("ports", [])}
                into |= {(other, name, *sorted(numbers)) for name in own for other in near}
    return out, into, ports


def only_edges_of_the_picture_are_open_and_both_their_ends_agree(manifests):
    out, into, ports = edges(manifests)
    inside = set(ports)
    for edge in sorted(out | into, key=str):
        pair = edge[:2]
        known = pair in PICTURE or edge[0] == "prometheus" or edge[1] in ("credentials", COLLECTOR)
        if not known:
            yield f"{edge[0]} may speak to {edge[1]}, which is not in the picture"
        if edge[0] in inside and edge[1] in inside and not (edge in out and edge in into):
            yield f"{edge[0]} to {edge[1]} is open at one end only"


def every_service_may_be_watched(manifests):
    if not manifests.of("ServiceMonitor"):
        return
    _, into, ports = edges(manifests)
    watched = {monitor["metadata"]["name"] for monitor in manifests.of("ServiceMonitor")}
    for workload in manifests.of("Deployment", "StatefulSet"):
        name = workload["metadata"]["name"]
        if name not in watched or not any(edge[:2] == ("prometheus", name) for edge in into):
            yield f"{name} cannot be read by Prometheus"
    for monitor in manifests.of("ServiceMonitor"):
        if not all(endpoint.get("honorLabels") for endpoint in monitor["spec"]["endpoints"]):
            yield f"{monitor['metadata']['name']}: Prometheus would rename the label `service`"


def whoever_is_told_of_a_collector_can_send_to_it_and_nobody_else(manifests):
    out, _, _ = edges(manifests)
    told = {d["metadata"]["name"] for d in manifests.of("ConfigMap") if "TIDEMARK_OTLP_ENDPOINT" in d.get("data", {})}
    let_out = {edge[0] for edge in out if edge[1] == COLLECTOR}
    for name in sorted(told ^ let_out):
        yield f"{name} is {'told of a collector it cannot reach' if name in told else 'let out to a collector it does not know'}"


CHECKS = [
    no_container_may_run_as_root, every_pod_meets_the_restricted_standard_on_a_read_only_root,
    no_pod_is_given_a_token_of_the_cluster, every_container_says_what_it_needs,
    every_server_has_its_three_probes_and_a_way_to_end, every_server_has_a_disruption_budget,
    what_the_autoscaler_owns_has_no_replicas, a_canary_runs_the_pods_of_its_deployment, the_autoscalers_are_as_agreed_with_nothing_left_to_defaults,
    every_image_is_named_by_digest, no_secret_is_in_the_manifests,
    every_variable_is_one_that_the_program_reads, everything_is_denied_by_default,
    only_edges_of_the_picture_are_open_and_both_their_ends_agree, every_service_may_be_watched,
    whoever_is_told_of_a_collector_can_send_to_it_and_nobody_else,
]


def mistakes(manifests):
    """Returns pairs of a check and a change that it must detect."""
    def find(kind, name):
        return next(d for d in manifests if d["kind"] == kind and d["metadata"]["name"] == name)

    pod = find("Deployment", "orders")["spec"]["template"]["spec"]
    box = pod["containers"][0]
    scaler = find("HorizontalPodAutoscaler", "gateway")["spec"]
    policy = find("NetworkPolicy", "orders")["spec"]
    everywhere = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 22, "protocol": "TCP"}]}
    users = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "users"}}}
    return [
        (no_container_may_run_as_root, lambda: pod["securityContext"].update(runAsUser=0)),
        (no_container_may_run_as_root, lambda: box["securityContext"].update(runAsNonRoot=False)),
        (every_pod_meets_the_restricted_standard_on_a_read_only_root, lambda: box["securityContext"].update(readOnlyRootFilesystem=False)),
        (every_pod_meets_the_restricted_standard_on_a_read_only_root, lambda: box["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]})),
        (every_pod_meets_the_restricted_standard_on_a_read_only_root, lambda: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})),
        (no_pod_is_given_a_token_of_the_cluster, lambda: pod.pop("automountServiceAccountToken")),
        (every_container_says_what_it_needs, lambda: box["resources"].pop("limits")),
        (every_server_has_its_three_probes_and_a_way_to_end, lambda: box.pop("readinessProbe")),
        (every_server_has_its_three_probes_and_a_way_to_end, lambda: pod.update(terminationGracePeriodSeconds=3)),
        (every_server_has_a_disruption_budget, lambda: manifests.remove(find("PodDisruptionBudget", "users"))),
        (what_the_autoscaler_owns_has_no_replicas, lambda: find("Rollout", "orders")["spec"].update(replicas=2)),
        (what_the_autoscaler_owns_has_no_replicas, lambda: find("Deployment", "users")["spec"].pop("replicas")),
        *canary_mistakes(manifests, find),
        (the_autoscalers_are_as_agreed_with_nothing_left_to_defaults, lambda: scaler.update(maxReplicas=50)),
        (the_autoscalers_are_as_agreed_with_nothing_left_to_defaults, lambda: scaler["behavior"]["scaleDown"].update(stabilizationWindowSeconds=10)),
        (every_image_is_named_by_digest, lambda: box.update(image="tidemark:latest")),
        (no_secret_is_in_the_manifests, lambda: find("ConfigMap", "users")["data"].update(TIDEMARK_MYSQL="mysql://shop:hunter2@db/shop")),
        (no_secret_is_in_the_manifests, lambda: manifests.append({"kind": "Secret", "metadata": {"name": "kafka"}})),
        (every_variable_is_one_that_the_program_reads, lambda: find("ConfigMap", "orders")["data"].update(TIDEMARK_PRODUCT_URL="http://products")),
        (everything_is_denied_by_default, lambda: manifests.remove(find("NetworkPolicy", "default-deny"))),
        (only_edges_of_the_picture_are_open_and_both_their_ends_agree, lambda: policy["egress"].append(everywhere)),
        (only_edges_of_the_picture_are_open_and_both_their_ends_agree, lambda: policy["ingress"].append({"from": [users], "ports": [{"port": 5003}]})),
        (only_edges_of_the_picture_are_open_and_both_their_ends_agree, lambda: policy["ingress"].append({})),
        (only_edges_of_the_picture_are_open_and_both_their_ends_agree, lambda: find("NetworkPolicy", "products")["spec"]["ingress"].clear()),
        (every_service_may_be_watched, lambda: find("ServiceMonitor", "orders")["spec"]["endpoints"][0].pop("honorLabels")),
        (whoever_is_told_of_a_collector_can_send_to_it_and_nobody_else, lambda: policy["egress"].clear()),
        (whoever_is_told_of_a_collector_can_send_to_it_and_nobody_else, lambda: find("ConfigMap", "orders")["data"].pop("TIDEMARK_OTLP_ENDPOINT")),
    ]


def canary_mistakes(manifests, find):
    check, rollout = a_canary_runs_the_pods_of_its_deployment, find("Rollout", "orders")
    canary = rollout["spec"]["strategy"]["canary"]
    return [
        (check, lambda: find("Deployment", "orders")["spec"].update(replicas=2)),
        (check, lambda: rollout["spec"]["workloadRef"].update(name="users")),
        (check, lambda: manifests.remove(rollout)),
        (check, lambda: canary["steps"][0].update(setWeight=80)),
        (check, lambda: canary["steps"][1].update(pause={})),
        (check, lambda: canary.update(maxUnavailable=1)),
        (check, lambda: canary["analysis"].update(startingStep=3)),
        (check, lambda: canary["analysis"]["args"].pop()),
        (check, lambda: manifests.remove(find("AnalysisTemplate", "errors-of-new-pods"))),
    ]


def unnoticed(original):
    """Plants every mistake in a copy of its own; returns those that were not detected."""
    for i in range(len(mistakes(original))):
        manifests = Manifests(copy.deepcopy(original))
        check, plant = mistakes(manifests)[i]
        plant()
        found = list(check(manifests))
        print(f"  {'noticed' if found else 'MISSED'}: {found[0] if found else f'mistake {i} of {check.__name__}'}")
        if not found:
            yield check


def main():
    if sys.argv[1] == "--mistakes":
        sys.exit(1 if list(unnoticed(Manifests(documents.read(sys.argv[2])))) else 0)
    wrong = 0
    for path in sys.argv[1:]:
        manifests = Manifests(documents.read(path))
        for check in CHECKS:
            for finding in check(manifests):
                wrong += 1
                print(f"  {pathlib.Path(path).name}: {check.__name__}: {finding}")
    print(f"  {len(CHECKS)} checks on each of {len(sys.argv) - 1} renderings, {wrong} findings")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
