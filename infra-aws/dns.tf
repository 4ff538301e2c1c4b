# Only this VPC resolves the names that brokers advertise. The other cloud forwards queries for them to these two addresses.

resource "aws_route53_resolver_endpoint" "inbound" {
  count = local.linked ? 1 : 0

  name               = "${local.name}-inbound"
  direction          = "INBOUND"
  protocols          = ["Do53"]
  security_group_ids = [aws_security_group.this["resolver"].id]

  # In the brokers' subnets, whose route table has the route back.
  dynamic "ip_address" {
    for_each = slice(local.zones, 0, 2)
    content {
      subnet_id = aws_subnet.brokers[ip_address.value].id
      ip        = cidrhost(local.brokers_cidrs[ip_address.value], 53)
    }
  }
}

# --- The shop's name: a certificate for it, which the load balancer controller finds by the Ingress' host. The name's record is
# kept by external-dns (helm/argocd), which finds the load balancer.

resource "aws_acm_certificate" "shop" {
  count = var.domain == null ? 0 : 1

  domain_name       = var.domain.host
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# ACM reads this record when it issues the certificate, and at each renewal.
resource "aws_route53_record" "certificate" {
  count = var.domain == null ? 0 : 1

  zone_id         = var.domain.zone_id
  name            = one(aws_acm_certificate.shop[0].domain_validation_options).resource_record_name
  type            = one(aws_acm_certificate.shop[0].domain_validation_options).resource_record_type
  records         = [one(aws_acm_certificate.shop[0].domain_validation_options).resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "shop" {
  count = var.domain == null ? 0 : 1

  certificate_arn         = aws_acm_certificate.shop[0].arn
  validation_record_fqdns = [aws_route53_record.certificate[0].fqdn]
}
