# HA VPN to AWS: one gateway with two addresses here, four addresses there, a tunnel to each, with routes by BGP. The gateway is
# created first, because AWS needs its addresses; the tunnels follow once AWS's addresses are set (variable `aws`).

resource "google_compute_ha_vpn_gateway" "this" {
  name    = local.name
  network = google_compute_network.this.id
  region  = var.region
}

locals {
  # AWS has the first host of each link-local /30, this side the second. The map's keys are the interfaces of the external gateway.
  tunnels = local.linked ? { for index, tunnel in var.aws.tunnels : tostring(index) => tunnel } : {}
}

resource "google_compute_external_vpn_gateway" "aws" {
  count = local.linked ? 1 : 0

  name            = "${local.name}-aws"
  redundancy_type = "FOUR_IPS_REDUNDANCY"

  dynamic "interface" {
    for_each = local.tunnels
    content {
      id         = tonumber(interface.key)
      ip_address = interface.value.address
    }
  }
}

resource "google_compute_vpn_tunnel" "aws" {
  for_each = local.tunnels

  name                            = "${local.name}-aws-${each.key}"
  region                          = var.region
  vpn_gateway                     = google_compute_ha_vpn_gateway.this.id
  vpn_gateway_interface           = each.value.gateway
  peer_external_gateway           = google_compute_external_vpn_gateway.aws[0].id
  peer_external_gateway_interface = tonumber(each.key)
  shared_secret                   = var.vpn_keys[tonumber(each.key)]
  router                          = google_compute_router.this.name
  ike_version                     = 2
}

resource "google_compute_router_interface" "aws" {
  for_each = local.tunnels

  name       = "${local.name}-aws-${each.key}"
  region     = var.region
  router     = google_compute_router.this.name
  ip_range   = "${cidrhost(each.value.inside_cidr, 2)}/30"
  vpn_tunnel = google_compute_vpn_tunnel.aws[each.key].name
}

resource "google_compute_router_peer" "aws" {
  for_each = local.tunnels

  name            = "${local.name}-aws-${each.key}"
  region          = var.region
  router          = google_compute_router.this.name
  interface       = google_compute_router_interface.aws[each.key].name
  peer_ip_address = cidrhost(each.value.inside_cidr, 1)
  peer_asn        = var.aws.bgp_asn
}
