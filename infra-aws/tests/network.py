"""Checks connections by the routes and security groups of a Terraform state, and by the NetworkPolicies of rendered manifests.

Every function yields the obstacles as sentences, in their order on the way. None means that the connection is open.
"""

import ipaddress

INTERNET = "0.0.0.0/0"


def covers(cidr, other):
    return ipaddress.ip_network(other).subnet_of(ipaddress.ip_network(cidr))


# --- Terraform: subnets, routes, security groups


class Vpc:
    """The network of infra-aws, by its state."""

    def __init__(self, resources):
        self.resources = resources
        self.cidr = resources.of("aws_vpc")[0][1]["cidr_block"]
        self.pods = resources.of("aws_eks_cluster")[0][1]["vpc_config"][0]["cluster_security_group_id"]

    def subnets(self, tier):
        return [values for address, values in self.resources.of("aws_subnet") if address.startswith(f"aws_subnet.{tier}[")]

    def has_private_names(self):
        """Names of endpoints, of the cluster's private address and of AWS's stores resolve in the VPC only with both settings."""
        vpc = self.resources.of("aws_vpc")[0][1]
        if not vpc["enable_dns_support"] or not vpc["enable_dns_hostnames"]:
            yield "the VPC does not resolve private names"

    def cidrs(self, tier):
        return [subnet["cidr_block"] for subnet in self.subnets(tier)]

    def route_table_of(self, subnet):
        tables = [a["route_table_id"] for _, a in self.resources.of("aws_route_table_association") if a["subnet_id"] == subnet["id"]]
        return tables[0] if tables else None

    def routes_to_internet(self, subnet):
        """Yields the obstacles from a subnet to the internet: on its route, and on that of its NAT gateway, if it has one."""
        name, table = subnet["tags"]["Name"], self.route_table_of(subnet)
        routes = [r for _, r in self.resources.of("aws_route") if r["route_table_id"] == table and r["destination_cidr_block"] == INTERNET]
        if table is None or not routes:
            yield f"subnet {name} has no route to {INTERNET}"
            return
        if routes[0]["gateway_id"] in [values["id"] for _, values in self.resources.of("aws_internet_gateway")]:
            return
        nats = [values for _, values in self.resources.of("aws_nat_gateway") if values["id"] == routes[0]["nat_gateway_id"]]
        if not nats:
            yield f"subnet {name}: its route to {INTERNET} does not lead to a NAT or internet gateway"
            return
        (public,) = [s for _, s in self.resources.of("aws_subnet") if s["id"] == nats[0]["subnet_id"]]
        if public["id"] == subnet["id"] or "-public-" not in public["tags"]["Name"]:
            yield f"the NAT gateway of subnet {name} is in {public['tags']['Name']}"
        else:
            yield from self.routes_to_internet(public)

    def is_propagated(self, subnet):
        table = self.route_table_of(subnet)
        return table is not None and table in [p["route_table_id"] for _, p in self.resources.of("aws_vpn_gateway_route_propagation")]

    def group_lets_in(self, groups, port, protocol="tcp", group=None, cidr=None):
        """Yields the obstacles to these security groups, from a group or a network."""
        for _, rule in self.resources.of("aws_vpc_security_group_ingress_rule"):
            is_open = rule["ip_protocol"] == protocol and rule["from_port"] <= port <= rule["to_port"] or rule["ip_protocol"] == "-1"
            by_group = group is not None and rule["referenced_security_group_id"] == group
            by_cidr = cidr is not None and rule["cidr_ipv4"] and covers(rule["cidr_ipv4"], cidr)
            if rule["security_group_id"] in groups and is_open and (by_group or by_cidr):
                return
        yield f"no rule of security group {self.names(groups)} lets {'pods' if group == self.pods else group or cidr} in on {protocol} {port}"

    def names(self, groups):
        found = [values["name"] for _, values in self.resources.of("aws_security_group") if values["id"] in groups]
        return ", ".join(found) or "none"

    def reaches_aws(self, service):
        """Yields the obstacles from pods to a service of AWS: through an endpoint inside the VPC, or through NAT."""
        for address, endpoint in self.resources.of("aws_vpc_endpoint"):
            name = endpoint["service_name"].split(".", 3)[-1]
            if name != service:
                continue
            if endpoint["vpc_endpoint_type"] == "Interface" and endpoint["private_dns_enabled"]:
                yield from self.has_private_names()
                yield from self.group_lets_in(endpoint["security_group_ids"], 443, group=self.pods)
                if not set(endpoint["subnet_ids"]) & {subnet["id"] for subnet in self.subnets("private")}:
                    yield f"endpoint {address} is in none of the pods' subnets"
                return
            missing = {self.route_table_of(subnet) for subnet in self.subnets("private")} - set(endpoint["route_table_ids"] or [])
            if endpoint["vpc_endpoint_type"] == "Gateway" and not missing:
                return
        for subnet in self.subnets("private"):
            yield from self.routes_to_internet(subnet)


# --- Kubernetes: NetworkPolicies


def selects(selector, labels):
    if selector.get("matchExpressions"):
        raise ValueError("the checker does not know matchExpressions")
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


class Pod:
    """The target: a pod by its namespace and labels, or an address outside."""

    def __init__(self, name, namespace=None, labels=None, cidr=None):
        self.name = name
        self.namespace = namespace
        self.labels = labels or {}
        self.cidr = cidr


def peer_is(peer, pod, namespace):
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return pod.cidr is not None and covers(block["cidr"], pod.cidr) and not any(covers(each, pod.cidr) for each in block.get("except", []))
    if pod.cidr is not None:
        return False
    in_namespace = pod.namespace == namespace
    if "namespaceSelector" in peer:
        in_namespace = selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod.namespace})
    return in_namespace and selects(peer.get("podSelector", {}), pod.labels)


def policy_lets(policies, direction, pod, other, port, protocol="TCP"):
    """Yields the obstacles to a pod's connection, by the policies of its namespace: {direction} is Egress or Ingress."""
    rules, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    own = [p for p in policies if p["metadata"].get("namespace", "tidemark") == pod.namespace
           and selects(p["spec"]["podSelector"], pod.labels) and direction in p["spec"]["policyTypes"]]
    for policy in own:
        for rule in policy["spec"].get(rules) or []:
            is_peer = not rule.get(peers) or any(peer_is(peer, other, pod.namespace) for peer in rule[peers])
            is_port = not rule.get("ports") or any(p["port"] == port and p.get("protocol", "TCP") == protocol for p in rule["ports"])
            if is_peer and is_port:
                return
    if own:
        word = "to" if direction == "Egress" else "from"
        yield f"no {direction} rule of the NetworkPolicies of {pod.name} is {word} {other.name} on {protocol} {port}"
