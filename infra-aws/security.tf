# The allowed connections. Pods share the security group that EKS creates for its cluster; within it, the chart's NetworkPolicies
# decide. Load balancers open their own ports on it. No rule here names the whole internet.

locals {
  pods = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id

  security_groups = {
    brokers   = "Kafka brokers"
    database  = "MySQL"
    endpoints = "AWS services inside the VPC"
    resolver  = "DNS for the other cloud"
    way-in    = "The machine that people's sessions come through"
  }

  from_pods = {
    brokers-scram   = { group = "brokers", ports = [9096, 9096], what = "programs, by password" }
    brokers-iam     = { group = "brokers", ports = [9098, 9098], what = "people and their tools, by IAM" }
    brokers-metrics = { group = "brokers", ports = [11001, 11002], what = "Prometheus" }
    database        = { group = "database", ports = [3306, 3306], what = "users, orders and the migrations" }
    endpoints       = { group = "endpoints", ports = [443, 443], what = "SDKs and the kubelet" }
  }

  from_gcp = local.linked ? {
    brokers-scram = { group = "brokers", ports = [9096, 9096], protocol = "tcp", cidr = var.gcp.cidr, what = "the stream job" }
    brokers-iam   = { group = "brokers", ports = [9098, 9098], protocol = "tcp", cidr = var.gcp.cidr, what = "the stream job, by IAM" }
    dns-tcp       = { group = "resolver", ports = [53, 53], protocol = "tcp", cidr = local.cloud_dns_cidr, what = "Cloud DNS" }
    dns-udp       = { group = "resolver", ports = [53, 53], protocol = "udp", cidr = local.cloud_dns_cidr, what = "Cloud DNS" }
  } : {}
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:Each is attached: to the brokers, the database, the endpoints and the resolver; a for_each hides it from the check
  for_each = local.security_groups

  name        = "${local.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${local.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "from_pods" {
  for_each = local.from_pods

  security_group_id            = aws_security_group.this[each.value.group].id
  description                  = "From pods: ${each.value.what}"
  referenced_security_group_id = local.pods
  ip_protocol                  = "tcp"
  from_port                    = each.value.ports[0]
  to_port                      = each.value.ports[1]
}

resource "aws_vpc_security_group_ingress_rule" "from_gcp" {
  for_each = local.from_gcp

  security_group_id = aws_security_group.this[each.value.group].id
  description       = "From Google Cloud: ${each.value.what}"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = each.value.protocol
  from_port         = each.value.ports[0]
  to_port           = each.value.ports[1]
}

# The Kubernetes API's private address, for people's sessions and for networks that are connected by a VPN.
resource "aws_vpc_security_group_ingress_rule" "from_way_in" {
  count = local.private_api ? 1 : 0

  security_group_id            = local.pods
  description                  = "From people's sessions: the Kubernetes API"
  referenced_security_group_id = aws_security_group.this["way-in"].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

# Its agent calls Session Manager, and forwards to the API.
resource "aws_vpc_security_group_egress_rule" "way_in" {
  security_group_id = aws_security_group.this["way-in"].id
  description       = "To Session Manager and the Kubernetes API"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "from_admins" {
  for_each = toset(local.private_api ? var.admin_cidrs : [])

  security_group_id = local.pods
  description       = "From people, by VPN: the Kubernetes API"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# Only the resolver opens connections itself: it queries the VPC's DNS server.
resource "aws_vpc_security_group_egress_rule" "resolver" {
  for_each = toset(["tcp", "udp"])

  security_group_id = aws_security_group.this["resolver"].id
  description       = "To the VPC's own DNS server"
  cidr_ipv4         = "${cidrhost(var.vpc_cidr, 2)}/32"
  ip_protocol       = each.value
  from_port         = 53
  to_port           = 53
}
