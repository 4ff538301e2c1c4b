# Brokers advertise names under kafka.<region>.amazonaws.com that resolve to addresses in the VPC on AWS. They are resolved there,
# through the VPN.

resource "google_dns_managed_zone" "brokers" {
  #checkov:skip=CKV_GCP_16:DNSSEC is for public zones; this one forwards, inside the tunnel
  count = local.linked ? 1 : 0

  name        = "${local.name}-brokers"
  description = "Names of the brokers, resolved by Route 53 in the VPC on AWS"
  dns_name    = "kafka.${var.aws.region}.amazonaws.com."
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.this.id
    }
  }

  # Private routing: through the tunnels, although the range does not belong to this network.
  forwarding_config {
    dynamic "target_name_servers" {
      for_each = var.aws.resolvers
      content {
        ipv4_address    = target_name_servers.value
        forwarding_path = "private"
      }
    }
  }
}

resource "google_dns_policy" "this" {
  name           = local.name
  enable_logging = true

  networks {
    network_url = google_compute_network.this.id
  }
}
