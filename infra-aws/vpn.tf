# HA VPN to Google Cloud: two connections of two tunnels each, from two addresses there to four here, with routes by BGP. One
# tunnel, or one gateway of a side, may fail without breaking connections. It is created once infra-gcp's addresses are set
# (variable `gcp`).

locals {
  # Four /30 of link-local addresses, the same in infra-gcp: AWS takes the first host of each, Google the second.
  tunnel_cidrs = [["169.254.20.0/30", "169.254.20.4/30"], ["169.254.20.8/30", "169.254.20.12/30"]]
  aws_asn      = 64512

  connections = local.linked ? { for index, address in var.gcp.vpn_addresses : tostring(index) => address } : {}
}

resource "aws_vpn_gateway" "this" {
  count = local.linked ? 1 : 0

  vpc_id          = aws_vpc.this.id
  amazon_side_asn = local.aws_asn

  tags = { Name = local.name }
}

# Brokers and the resolver answer the job.
resource "aws_vpn_gateway_route_propagation" "brokers" {
  count = local.linked ? 1 : 0

  vpn_gateway_id = aws_vpn_gateway.this[0].id
  route_table_id = aws_route_table.brokers.id
}

# Prometheus scrapes the job. The job's network cannot connect to a pod, because no rule of the pods' security group names it.
resource "aws_vpn_gateway_route_propagation" "private" {
  for_each = local.linked ? aws_route_table.private : {}

  vpn_gateway_id = aws_vpn_gateway.this[0].id
  route_table_id = each.value.id
}

resource "aws_customer_gateway" "gcp" {
  for_each = local.connections

  type       = "ipsec.1"
  bgp_asn    = var.gcp.bgp_asn
  ip_address = each.value

  tags = { Name = "${local.name}-gcp-${each.key}" }
}

resource "aws_vpn_connection" "gcp" {
  for_each = local.connections

  type                = "ipsec.1"
  vpn_gateway_id      = aws_vpn_gateway.this[0].id
  customer_gateway_id = aws_customer_gateway.gcp[each.key].id
  static_routes_only  = false

  # AWS generates the pre-shared keys and stores them in Secrets Manager. The state has only the ARNs of the secrets.
  preshared_key_storage = "SecretsManager"

  tunnel1_inside_cidr                  = local.tunnel_cidrs[each.key][0]
  tunnel1_ike_versions                 = ["ikev2"]
  tunnel1_phase1_encryption_algorithms = ["AES256-GCM-16"]
  tunnel1_phase1_integrity_algorithms  = ["SHA2-256"]
  tunnel1_phase1_dh_group_numbers      = [14, 19, 20]
  tunnel1_phase2_encryption_algorithms = ["AES256-GCM-16"]
  tunnel1_phase2_integrity_algorithms  = ["SHA2-256"]
  tunnel1_phase2_dh_group_numbers      = [14, 19, 20]

  tunnel2_inside_cidr                  = local.tunnel_cidrs[each.key][1]
  tunnel2_ike_versions                 = ["ikev2"]
  tunnel2_phase1_encryption_algorithms = ["AES256-GCM-16"]
  tunnel2_phase1_integrity_algorithms  = ["SHA2-256"]
  tunnel2_phase1_dh_group_numbers      = [14, 19, 20]
  tunnel2_phase2_encryption_algorithms = ["AES256-GCM-16"]
  tunnel2_phase2_integrity_algorithms  = ["SHA2-256"]
  tunnel2_phase2_dh_group_numbers      = [14, 19, 20]

  tunnel1_log_options {
    cloudwatch_log_options {
      log_enabled   = true
      log_group_arn = aws_cloudwatch_log_group.this["vpn"].arn
    }
  }

  tunnel2_log_options {
    cloudwatch_log_options {
      log_enabled   = true
      log_group_arn = aws_cloudwatch_log_group.this["vpn"].arn
    }
  }

  tags = { Name = "${local.name}-gcp-${each.key}" }
}
