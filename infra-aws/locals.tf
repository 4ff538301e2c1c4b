data "aws_caller_identity" "current" {}

locals {
  name    = "tidemark-${var.environment}"
  account = data.aws_caller_identity.current.account_id
  linked  = var.gcp != null

  private_api = !var.cluster.public_endpoint

  zones = [for letter in var.zones : "${var.region}${letter}"]

  # The third octet: load balancers and NAT from 0, brokers from 10, database from 20; pods have a /19 for each zone from 32.
  # Brokers have a range of their own, because the chart's NetworkPolicies match addresses, not security groups.
  public_cidrs   = { for index, zone in local.zones : zone => cidrsubnet(var.vpc_cidr, 8, index) }
  brokers_cidrs  = { for index, zone in local.zones : zone => cidrsubnet(var.vpc_cidr, 8, 10 + index) }
  database_cidrs = { for index, zone in local.zones : zone => cidrsubnet(var.vpc_cidr, 8, 20 + index) }
  private_cidrs  = { for index, zone in local.zones : zone => cidrsubnet(var.vpc_cidr, 3, 1 + index) }
  nat_zones      = toset(var.nat_per_zone ? local.zones : slice(local.zones, 0, 1))

  # Cloud DNS forwards queries from this range, for all addresses of the VPC.
  # https://cloud.google.com/dns/docs/zones/zones-overview#firewall-rules
  cloud_dns_cidr = "35.199.192.0/19"

  # The namespace in which the Helm chart installs the services. The roles that pods may assume depend on it.
  namespace = "tidemark"
}
