data "google_project" "this" {}

locals {
  name   = "tidemark-${var.environment}"
  zone   = "${var.region}-${var.zone}"
  linked = var.aws != null

  # The job can only run where it finds brokers.
  on_dataproc = local.linked && var.runtime == "dataproc"
  on_gce      = local.linked && var.runtime == "gce"

  # Cloud DNS forwards queries from this range, for all addresses of the VPC.
  # https://cloud.google.com/dns/docs/zones/zones-overview#firewall-rules
  cloud_dns_cidr = "35.199.192.0/19"

  status_port  = 5006 # health, readiness, metrics, the job's page
  cluster_port = 5106 # processes of the job among each other

  # Where each process of the instance group is: known before it exists, because AWS needs the addresses of the metrics at once. YARN puts
  # its containers anywhere, so on Dataproc AWS does not read them (alert "application-gone" watches there).
  addresses   = var.runtime == "gce" ? [for index in range(var.job.processes) : cidrhost(var.cidr, 10 + index)] : []
  job_targets = [for address in local.addresses : "${address}:${local.status_port}"]
}
