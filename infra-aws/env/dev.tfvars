# Cheap, and easily destroyed: NAT in one zone, one database instance, the smallest size of everything. The stream job runs in the
# cluster (the chart's optional StatefulSet), so there is no second cloud, no VPN and no resolver.
environment = "dev"
vpc_cidr    = "10.20.0.0/16"

nat_per_zone        = false
interface_endpoints = []
protect             = false
log_retention_days  = 14

# Set your own: `curl https://checkip.amazonaws.com`. This one is from the range for documentation and admits no client.
admin_cidrs = ["203.0.113.10/32"]

cluster = {
  public_endpoint = true
  instance_types  = ["t4g.large"]
  nodes_max       = 4
}

database = {
  instance_class = "db.t4g.medium"
  multi_az       = false
  storage_gb     = 20
  storage_max_gb = 100
}

kafka = {
  instance_type  = "kafka.t3.small"
  storage_gb     = 20
  storage_max_gb = 100
  monitoring     = "PER_BROKER"
}

# Set your own, as for admin_cidrs above. These are examples, which bootstrap/apply.sh refuses.
alert_email    = "operations@example.com"
cluster_admins = ["arn:aws:iam::123456789012:role/administrator"]
