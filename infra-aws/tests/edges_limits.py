"""Limits that close an edge although every route and right is there: connections of MySQL, room on the nodes, permissions boundaries,
and policies of endpoints and network ACLs.

Each function yields the obstacles.
"""

import re

import iam

# GiB of memory of an instance with one size of the families t and m; a c has half of it, an r twice that.
GIB = {"micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32, "4xlarge": 64, "8xlarge": 128}
CPUS = {"micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32}
OF_FAMILY = {"c": 0.5, "m": 1, "r": 2, "t": 1}
# RDS sets max_connections to DBInstanceClassMemory / 12582880; a tenth of the memory is the server's own.
BYTES_OF_CONNECTION = 12582880
# The share of the nodes that is left for pods beside the operators and Kubernetes' own.
FOR_PODS = 0.7
# The part of each node's memory that the system and the agents on it use.
OF_THE_SYSTEM = 2**30
UNITS = {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1}


def memory_and_cpus(kind):
    """Returns bytes of memory and the number of processors of an instance such as m7g.xlarge or db.r7g.large."""
    family, size = kind.removeprefix("db.").split(".")
    return GIB[size] * OF_FAMILY[family[0]] * 2**30, CPUS[size]


def amount(quantity):
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", str(quantity)).groups()
    return float(number) * UNITS[unit]


def pods_at_most(platform, workload):
    scaler = platform.find("HorizontalPodAutoscaler", workload["metadata"]["name"])
    return scaler["spec"]["maxReplicas"] if scaler else workload["spec"].get("replicas", 1)


def connections_fit(platform):
    """The pods of all services together may not open more connections than MySQL accepts."""
    database, wanted = platform.by_address["aws_db_instance.this"], 0
    for workload in platform.workloads():
        settings = (platform.find("ConfigMap", workload["metadata"]["name"]) or {}).get("data", {})
        wanted += pods_at_most(platform, workload) * int(settings.get("TIDEMARK_MYSQL_CONNECTIONS", 0))
    accepted = int(memory_and_cpus(database["instance_class"])[0] * 0.9 / BYTES_OF_CONNECTION)
    for _, group in platform.aws.of("aws_db_parameter_group"):
        accepted = next((int(p["value"]) for p in group["parameter"] if p["name"] == "max_connections"), accepted)
    if wanted > accepted:
        yield f"all pods may open {wanted} connections, but a {database['instance_class']} accepts {accepted}"


def pods_fit(platform):
    """The nodes have room for the pods that the autoscalers may start."""
    requests = {"memory": 0.0, "cpu": 0.0}
    for workload in platform.workloads():
        for container in workload["spec"]["template"]["spec"]["containers"]:
            for resource, quantity in container["resources"]["requests"].items():
                requests[resource] += pods_at_most(platform, workload) * amount(quantity)
    memory = cpus = 0
    for _, group in platform.aws.of("aws_eks_node_group"):
        smallest = min(memory_and_cpus(kind) for kind in group["instance_types"])
        memory += group["scaling_config"][0]["max_size"] * max(0, smallest[0] - OF_THE_SYSTEM)
        cpus += group["scaling_config"][0]["max_size"] * smallest[1]
    for resource, has in (("memory", memory), ("cpu", cpus)):
        if requests[resource] > has * FOR_PODS:
            yield f"the pods request {requests[resource]:.4g} of {resource}, and all nodes together have {has * FOR_PODS:.4g} for them"


def unbounded(role):
    """A permissions boundary may refuse each call of a role; none is expected, so none is evaluated."""
    if role.get("permissions_boundary"):
        yield f"role {role['name']} has the permissions boundary {role['permissions_boundary']}, which is not evaluated"


def endpoint_lets(platform, role, action, resource):
    """Yields the policies of endpoints that refuse a pod's call to their service. A program outside the VPC does not pass them."""
    if "pods.eks.amazonaws.com" not in role["assume_role_policy"]:
        return
    service = action.split(":")[0]
    of_endpoint = {p["vpc_endpoint_id"]: p["policy"] for _, p in platform.aws.of("aws_vpc_endpoint_policy")}
    for address, endpoint in platform.aws.of("aws_vpc_endpoint"):
        policy = of_endpoint.get(endpoint["id"], endpoint.get("policy"))
        # A mocked provider fills an unset policy with a word.
        if endpoint["service_name"].split(".")[3] != service or not str(policy).startswith("{"):
            continue
        if not iam.allows([policy], action, resource, {}, ("AWS", role["arn"])):
            yield f"the policy of endpoint {address} does not allow {action} on {resource}"


def network_acls(vpc, subnet):
    """A network ACL of its own may refuse what security groups allow; none is expected, so none is evaluated."""
    for address, acl in vpc.resources.of("aws_network_acl"):
        if subnet["id"] in (acl["subnet_ids"] or []):
            yield f"subnet {subnet['tags']['Name']} has the network ACL {address}, which is not evaluated"
    for address, association in vpc.resources.of("aws_network_acl_association"):
        if association["subnet_id"] == subnet["id"]:
            yield f"subnet {subnet['tags']['Name']} has the network ACL of {address}, which is not evaluated"
    for address, _ in vpc.resources.of("aws_default_network_acl"):
        yield f"{address} changes the VPC's default network ACL and is not evaluated"


def key_is_on(platform, address):
    """A key that is switched off refuses every call, also of those whose policies allow it."""
    if platform.by_address[address].get("is_enabled") is False:
        yield f"{address} is switched off"


def runs_its_zip(function):
    """The function's processor is that of its zip, whose folder package.sh names after it."""
    wanted = function["filename"].split("/")[-2].replace("x86-64", "x86_64")
    if function["architectures"] != [wanted]:
        yield f"the function runs on {function['architectures']}, its zip is for {wanted}"
