output "for_aws" {
  description = "infra-aws's variable `gcp`: `terraform output -json for_aws`."
  value = {
    vpn_addresses   = [for interface in google_compute_ha_vpn_gateway.this.vpn_interfaces : interface.ip_address]
    bgp_asn         = google_compute_router.this.bgp[0].asn
    cidr            = var.cidr
    job_identity_id = google_service_account.job.unique_id
    job_targets     = local.job_targets
  }
}

output "checkpoints" {
  description = "The location of the job's checkpoints, for `order-analytics checkpoints list`."
  value       = "gs://${google_storage_bucket.this["checkpoints"].name}/${var.job.name}"
}

output "binaries" {
  description = "The location of releases, each under its hash."
  value       = local.binaries
}

output "machines" {
  description = "The job's machines, for `gcloud compute ssh --tunnel-through-iap`."
  value       = local.on_gce ? local.machines : []
}

output "pipeline" {
  description = "What the pipeline on AWS names to become this side's service account."
  value = {
    provider        = one(google_iam_workload_identity_pool_provider.aws[*].name)
    service_account = one(google_service_account.pipeline[*].email)
  }
}
