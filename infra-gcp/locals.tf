data "google_project" "this" {}

locals {
  name   = "tidemark-${var.environment}"
  zone   = "${var.region}-${var.zone}"
  linked = var.aws != null

  # The brokers on AWS, or a Kafka without AWS; null before there is one. The job can only run where it finds brokers.
  kafka = var.kafka != null ? var.kafka : (local.linked ? {
    brokers   = var.aws.brokers
    user      = "stream"
    mechanism = "SCRAM-SHA-512"
    cidrs     = [var.aws.vpc_cidr]
  } : null)

  has_kafka   = local.kafka != null
  kafka_ports = local.linked ? ["9096", "9098"] : distinct([for broker in split(",", try(local.kafka.brokers, "")) : split(":", broker)[1] if local.has_kafka])
  on_dataproc = local.has_kafka && var.runtime == "dataproc"
  on_gce      = local.has_kafka && var.runtime == "gce"

  # Cloud DNS forwards queries from this range, for all addresses of the VPC.
  # https://cloud.google.com/dns/docs/zones/zones-overview#firewall-rules
  cloud_dns_cidr = "35.199.192.0/19"

  status_port  = 5006 # health, readiness, metrics, the job's page
  cluster_port = 5106 # links between the processes of the job

  # The address of each process of the instance group. It is fixed before the machine exists, because AWS needs the addresses of the
  # metrics first. YARN places containers on any worker, so AWS does not scrape them on Dataproc; the alert "application-gone" is
  # for that case.
  addresses   = var.runtime == "gce" ? [for index in range(var.job.processes) : cidrhost(var.cidr, 10 + index)] : []
  job_targets = [for address in local.addresses : "${address}:${local.status_port}"]
}
