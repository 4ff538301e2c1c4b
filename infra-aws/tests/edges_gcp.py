"""Edges between the two clouds, and of the stream job on Google Cloud. edges.py checks them with the state of infra-gcp."""

from network import covers

DNS_RANGE = "35.199.192.0/19"


def named(platform, kind, key):
    found = [values for address, values in platform.gcp.of(kind) if address.endswith(f'["{key}"]')]
    return found[0] if found else None


def firewall(platform, key, direction, cidr, port):
    rule = named(platform, "google_compute_firewall", key) if key else None
    ranges = (rule or {}).get("source_ranges" if direction == "INGRESS" else "destination_ranges") or []
    ports = [port_range for allow in (rule or {}).get("allow", []) for port_range in allow["ports"] or []]
    if rule is None or rule["direction"] != direction or not any(covers(each, cidr) for each in ranges) or str(port) not in ports:
        yield f"no firewall rule lets {cidr} {'in from' if direction == 'INGRESS' else 'be reached'} on {port}"


def linked(platform):
    """Tunnels on both sides, and routes to each other's networks."""
    tunnels = len(platform.gcp.of("google_compute_vpn_tunnel"))
    if tunnels != 4 or len(platform.aws.of("aws_vpn_connection")) != 2:
        yield f"{tunnels} tunnels on Google's side, {len(platform.aws.of('aws_vpn_connection'))} connections on AWS'"
    peers = platform.gcp.of("google_compute_router_peer")
    if len(peers) != tunnels:
        yield f"{len(peers)} BGP sessions for {tunnels} tunnels"
    gateway = platform.aws.of("aws_vpn_gateway")
    if not gateway or any(peer["peer_asn"] != int(gateway[0][1]["amazon_side_asn"]) for _, peer in peers):
        yield "the BGP numbers of the two sides differ"
    (_, router), = platform.gcp.of("google_compute_router")
    if "ALL_SUBNETS" not in router["bgp"][0]["advertised_groups"]:
        yield "AWS does not have the addresses of the job's subnet"


def is_answered(platform, tier):
    for subnet in platform.vpc.subnets(tier):
        if not platform.vpc.is_propagated(subnet):
            yield f"subnet {subnet['tags']['Name']} has no route to Google Cloud"


def job_network(platform):
    (_, subnet), = platform.gcp.of("google_compute_subnetwork")
    return subnet["ip_cidr_range"]


def scraped(platform, edge):
    config = platform.find("ScrapeConfig", "order-analytics")
    if config is None or config["metadata"]["labels"].get("release") != "monitoring":
        yield "Prometheus does not have the job's address"
        return
    yield from linked(platform)
    yield from is_answered(platform, "private")
    addresses = {a["address"] for _, a in platform.gcp.of("google_compute_address")}
    for target in config["spec"]["staticConfigs"][0]["targets"]:
        host, port = target.rsplit(":", 1)
        if port != str(edge["port"]) or not covers(job_network(platform), f"{host}/32"):
            yield f"Prometheus scrapes {target}, which is not the job"
        if host not in addresses:
            yield f"no machine of the job has the address {host}"
    for cidr in platform.vpc.cidrs("private"):
        yield from firewall(platform, "prometheus", "INGRESS", cidr, edge["port"])


def brokers(platform, edge):
    yield from linked(platform)
    yield from is_answered(platform, "brokers")
    for cidr in platform.vpc.cidrs("brokers"):
        yield from firewall(platform, "kafka", "EGRESS", cidr, edge["port"])
    groups = platform.by_address["aws_msk_cluster.this"]["broker_node_group_info"][0]["security_groups"]
    yield from platform.vpc.group_lets_in(groups, edge["port"], cidr=job_network(platform))
    users = {a["name"] for _, a in platform.aws.of("aws_secretsmanager_secret")}
    if f"AmazonMSK_{platform.name}-stream" not in users:
        yield "the brokers do not have the user stream"


def dns(platform, edge):
    """The brokers' names: from Cloud DNS by the tunnels to the resolver, and back."""
    yield from linked(platform)
    zones = [values for _, values in platform.gcp.of("google_dns_managed_zone") if values["forwarding_config"]]
    if not zones or not zones[0]["dns_name"].startswith("kafka."):
        yield "no zone forwards the brokers' names"
        return
    servers = zones[0]["forwarding_config"][0]["target_name_servers"]
    resolvers = platform.aws.of("aws_route53_resolver_endpoint")
    if not servers or not resolvers or any(server["forwarding_path"] != "private" for server in servers):
        yield "the names are not resolved through the tunnels"
        return
    known = {ip["ip"] for ip in resolvers[0][1]["ip_address"]}
    for server in servers:
        if server["ipv4_address"] not in known:
            yield f"names are resolved at {server['ipv4_address']}, but the resolver is at {sorted(known)}"
    for protocol in ("udp", "tcp"):
        yield from platform.vpc.group_lets_in(resolvers[0][1]["security_group_ids"], edge["port"], protocol, cidr=DNS_RANGE)
    (_, router), = platform.gcp.of("google_compute_router")
    if DNS_RANGE not in [each["range"] for each in router["bgp"][0]["advertised_ip_ranges"]]:
        yield f"AWS has no route back to {DNS_RANGE}"
    subnets = {subnet["id"]: subnet for subnet in platform.vpc.subnets("brokers")}
    if not all(ip["subnet_id"] in subnets and platform.vpc.is_propagated(subnets[ip["subnet_id"]]) for ip in resolvers[0][1]["ip_address"]):
        yield "the resolver's subnets have no route to Google Cloud"


def apis(platform, edge):
    """The job's program, checkpoints and password."""
    (_, subnet), = platform.gcp.of("google_compute_subnetwork")
    if not subnet["private_ip_google_access"]:
        yield "the job's subnet does not reach Google's APIs"
    yield from firewall(platform, "https", "EGRESS", "0.0.0.0/0", edge["port"])
    buckets = {a.split('"')[1]: b["name"] for a, b in platform.gcp.of("google_storage_bucket") if '"' in a}
    granted = {(m["bucket"], m["role"]) for _, m in platform.gcp.of("google_storage_bucket_iam_member")}
    for bucket, role in (("binaries", "roles/storage.objectViewer"), ("checkpoints", "roles/storage.objectUser")):
        if (buckets[bucket], role) not in granted:
            yield f"the job does not have {role} on {bucket}"
    if "roles/secretmanager.secretAccessor" not in {m["role"] for _, m in platform.gcp.of("google_secret_manager_secret_iam_member")}:
        yield "the job may not read Kafka's password"
    keys = {a.split('"')[1] for a, _ in platform.gcp.of("google_kms_crypto_key_iam_member")}
    for key in {"disks", "secrets", "storage"} - keys:
        yield f"Google's agent may not use the key {key}"
