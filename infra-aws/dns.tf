# Brokers announce names that only this VPC resolves. The other cloud forwards queries for them to these two addresses.

resource "aws_route53_resolver_endpoint" "inbound" {
  count = local.linked ? 1 : 0

  name               = "${local.name}-inbound"
  direction          = "INBOUND"
  protocols          = ["Do53"]
  security_group_ids = [aws_security_group.this["resolver"].id]

  # Beside the brokers: their route table knows the way back.
  dynamic "ip_address" {
    for_each = slice(local.zones, 0, 2)
    content {
      subnet_id = aws_subnet.brokers[ip_address.value].id
      ip        = cidrhost(local.brokers_cidrs[ip_address.value], 53)
    }
  }
}
