# A shop: everything in three zones, private, protected. Sizes are the variables' defaults; this file has only the settings that
# differ.
environment = "prod"
vpc_cidr    = "10.10.0.0/16"

# The office's side of the VPN that people connect through.
admin_cidrs = ["10.200.0.0/16"]

# From infra-gcp, once it stands (README.md, "Two clouds, four applies"):
# gcp = {
#   vpn_addresses   = ["…", "…"]
#   bgp_asn         = 64514
#   cidr            = "10.60.0.0/20"
#   job_identity_id = "…"
# }

# Set your own for all three. These are examples, which bootstrap/apply.sh refuses.
alert_email    = "operations@example.com"
cluster_admins = ["arn:aws:iam::123456789012:role/administrator"]
domain         = { host = "shop.example.com", zone_id = "Z0EXAMPLE" }
