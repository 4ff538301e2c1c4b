# The allowed connections. Rules name the job's service account, not addresses or tags that anyone could set. Everything else is
# refused: inbound by Google's implied rule, outbound by the last rule below.

locals {
  from_outside = merge(
    {
      people = {
        what  = "People, through Identity-Aware Proxy"
        cidrs = ["35.235.240.0/20"]
        ports = ["22"]
      }
      health-checks = {
        what  = "Google's health checks"
        cidrs = ["35.191.0.0/16", "130.211.0.0/22"]
        ports = [tostring(local.status_port)]
      }
    },
    local.linked ? {
      prometheus = {
        what  = "Prometheus, in the cluster on AWS"
        cidrs = [var.aws.vpc_cidr]
        ports = [tostring(local.status_port)]
      }
    } : {},
  )

  # Dataproc's components need all ports among themselves; the instance group's processes need one.
  among_machines = var.runtime == "dataproc" ? { tcp = ["0-65535"], udp = ["0-65535"], icmp = [] } : { tcp = [tostring(local.cluster_port)] }

  to_outside = merge(
    { https = { what = "Google's APIs, AWS's token service, packages", cidrs = ["0.0.0.0/0"], ports = ["443"] } },
    local.has_kafka ? { kafka = { what = "The brokers", cidrs = local.kafka.cidrs, ports = local.kafka_ports } } : {},
  )
}

resource "google_compute_firewall" "from_outside" {
  for_each = local.from_outside

  name                    = "${local.name}-from-${each.key}"
  description             = each.value.what
  network                 = google_compute_network.this.id
  direction               = "INGRESS"
  source_ranges           = each.value.cidrs
  target_service_accounts = [google_service_account.job.email]

  allow {
    protocol = "tcp"
    ports    = each.value.ports
  }

  log_config {
    metadata = "EXCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "among_machines" {
  name                    = "${local.name}-among-machines"
  description             = "The job's machines among themselves"
  network                 = google_compute_network.this.id
  direction               = "INGRESS"
  source_service_accounts = [google_service_account.job.email]
  target_service_accounts = [google_service_account.job.email]

  dynamic "allow" {
    for_each = local.among_machines
    content {
      protocol = allow.key
      ports    = length(allow.value) > 0 ? allow.value : null
    }
  }
}

resource "google_compute_firewall" "to_outside" {
  for_each = local.to_outside

  name                    = "${local.name}-to-${each.key}"
  description             = each.value.what
  network                 = google_compute_network.this.id
  direction               = "EGRESS"
  destination_ranges      = each.value.cidrs
  target_service_accounts = [google_service_account.job.email]

  allow {
    protocol = "tcp"
    ports    = each.value.ports
  }
}

resource "google_compute_firewall" "to_machines" {
  name               = "${local.name}-to-machines"
  description        = "The job's machines among themselves: the other direction"
  network            = google_compute_network.this.id
  direction          = "EGRESS"
  destination_ranges = [var.cidr]

  allow {
    protocol = "all"
  }
}

resource "google_compute_firewall" "to_nowhere_else" {
  name               = "${local.name}-to-nowhere-else"
  description        = "All other outbound connections are refused"
  network            = google_compute_network.this.id
  direction          = "EGRESS"
  priority           = 65000
  destination_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "EXCLUDE_ALL_METADATA"
  }
}
