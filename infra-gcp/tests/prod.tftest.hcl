# What must hold in production. Run by tests/check.sh with env/prod.tfvars against the published schema, Google itself mocked.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project        = "tidemark-tests"
  kafka_password = "only-for-tests-0123456789"
}

# First there is only what AWS must know of us.
run "alone" {
  command = apply

  assert {
    condition     = length(google_compute_vpn_tunnel.aws) == 0 && length(google_compute_instance_group_manager.job) == 0 && length(google_secret_manager_secret_version.kafka) == 0
    error_message = "Without brokers there is no tunnel, no password and no job."
  }

  assert {
    condition     = output.for_aws.bgp_asn == 64514 && output.for_aws.cidr == "10.60.0.0/20" && output.for_aws.job_identity_id == "100000000000000000000"
    error_message = "AWS must learn the network, its number and who the job is."
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced" && bucket.versioning[0].enabled && !bucket.force_destroy])
    error_message = "A bucket that could be public, or loses what was overwritten."
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.encryption[0].default_kms_key_name == google_kms_crypto_key.this["storage"].id && bucket.location == "europe-west3" && length(bucket.lifecycle_rule) == 2])
    error_message = "Buckets lie in the job's region, under our key, and old versions go."
  }

  assert {
    condition     = google_secret_manager_secret.kafka.deletion_protection && google_secret_manager_secret.kafka.replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name == google_kms_crypto_key.this["secrets"].id
    error_message = "The password lies in one region under our key."
  }

  assert {
    condition     = google_compute_router.this.bgp[0].advertise_mode == "CUSTOM" && google_compute_router.this.bgp[0].advertised_ip_ranges[0].range == "35.199.192.0/19"
    error_message = "Answers to Cloud DNS find no way back unless its range is advertised."
  }

  assert {
    condition     = google_compute_subnetwork.job.private_ip_google_access && length(google_compute_subnetwork.job.log_config) == 1
    error_message = "Google's APIs are reached privately, and flows are logged."
  }

  assert {
    condition     = alltrue([for rule in google_compute_firewall.from_outside : !contains(rule.source_ranges, "0.0.0.0/0")])
    error_message = "Nothing comes in from the internet."
  }

  assert {
    condition     = google_compute_firewall.from_outside["people"].source_ranges == tolist(["35.235.240.0/20"]) && google_compute_firewall.from_outside["people"].allow[0].ports == tolist(["22"])
    error_message = "People come by Identity-Aware Proxy and only to SSH."
  }

  assert {
    condition     = google_compute_firewall.to_nowhere_else.deny[0].protocol == "all" && google_compute_firewall.to_nowhere_else.priority > 1000
    error_message = "What no rule lets out stays in."
  }

  assert {
    condition     = keys(google_project_iam_member.job) == ["roles/logging.logWriter", "roles/monitoring.metricWriter"]
    error_message = "On the project the job may write logs and metrics, and nothing else."
  }

  assert {
    condition     = google_storage_bucket_iam_member.job["reads-binaries"].role == "roles/storage.objectViewer" && google_storage_bucket_iam_member.job["keeps-checkpoints"].role == "roles/storage.objectUser"
    error_message = "The job reads its program and keeps its checkpoints."
  }
}

run "refuses_an_unknown_runtime" {
  command = plan

  variables {
    runtime = "flink"
  }

  expect_failures = [var.runtime]
}
