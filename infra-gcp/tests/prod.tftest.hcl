# Assertions about production. tests/check.sh runs them with env/prod.tfvars against the published schema; Google itself is mocked.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project        = "tidemark-tests"
  kafka_password = "only-for-tests-0123456789"
}

# First there are only the resources whose values AWS needs.
run "alone" {
  command = apply

  assert {
    condition     = length(google_compute_vpn_tunnel.aws) == 0 && length(google_compute_instance_group_manager.job) == 0 && length(google_secret_manager_secret_version.kafka) == 0
    error_message = "Without brokers there is no tunnel, no password and no job."
  }

  assert {
    condition     = output.for_aws.bgp_asn == 64514 && output.for_aws.cidr == "10.60.0.0/20" && output.for_aws.job_identity_id == "100000000000000000000"
    error_message = "The outputs for AWS must have the network, its BGP number and the job's identity."
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced" && bucket.versioning[0].enabled && !bucket.force_destroy])
    error_message = "A bucket could be public, or has no versions."
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.encryption[0].default_kms_key_name == google_kms_crypto_key.this["storage"].id && bucket.location == "europe-west3" && length(bucket.lifecycle_rule) == 2])
    error_message = "Buckets must be in the job's region, under the customer-managed key, and old versions must expire."
  }

  assert {
    condition     = google_secret_manager_secret.kafka.deletion_protection && google_secret_manager_secret.kafka.replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name == google_kms_crypto_key.this["secrets"].id
    error_message = "The password must be in one region under the customer-managed key."
  }

  assert {
    condition     = google_compute_router.this.bgp[0].advertise_mode == "CUSTOM" && google_compute_router.this.bgp[0].advertised_ip_ranges[0].range == "35.199.192.0/19"
    error_message = "Cloud DNS's range must be advertised, because answers are not routed back otherwise."
  }

  assert {
    condition     = google_compute_subnetwork.job.private_ip_google_access && length(google_compute_subnetwork.job.log_config) == 1
    error_message = "Google's APIs are reached privately, and flows are logged."
  }

  assert {
    condition     = alltrue([for rule in google_compute_firewall.from_outside : !contains(rule.source_ranges, "0.0.0.0/0")])
    error_message = "Nothing may be reachable from the internet."
  }

  assert {
    condition     = google_compute_firewall.from_outside["people"].source_ranges == tolist(["35.235.240.0/20"]) && google_compute_firewall.from_outside["people"].allow[0].ports == tolist(["22"])
    error_message = "People must connect through Identity-Aware Proxy and only to SSH."
  }

  assert {
    condition     = google_compute_firewall.to_nowhere_else.deny[0].protocol == "all" && google_compute_firewall.to_nowhere_else.priority > 1000
    error_message = "Outbound connections without a rule must be refused."
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

# A Kafka that is reached without AWS makes a running job, in one apply.
run "with_a_kafka_of_its_own" {
  command = apply

  variables {
    kafka = { brokers = "kafka-1.example.com:9092,kafka-2.example.com:9092", user = "counts", mechanism = "PLAIN" }
  }

  assert {
    condition     = length(google_compute_vpn_tunnel.aws) == 0 && length(google_dns_managed_zone.brokers) == 0 && length(google_compute_instance_group_manager.job) == 1 && length(google_secret_manager_secret_version.kafka) == 1
    error_message = "The job must run with its password, without a tunnel to AWS."
  }

  assert {
    condition = alltrue([for line in [
      "TIDEMARK_BROKERS=kafka-1.example.com:9092,kafka-2.example.com:9092",
      "JOB_KAFKA_USER=counts",
      "JOB_KAFKA_LOGIN=PLAIN",
      "TIDEMARK_CHECKPOINTS=gs://tidemark-tests-checkpoints/order-analytics",
    ] : strcontains(google_compute_instance_template.job[0].metadata["startup-script"], line)])
    error_message = "The job must have the settings of its Kafka."
  }

  assert {
    condition     = google_compute_firewall.to_outside["kafka"].allow[0].ports == tolist(["9092"]) && !contains(keys(google_compute_firewall.from_outside), "prometheus")
    error_message = "The job may reach the ports of its brokers, and AWS may not reach the job."
  }

  assert {
    condition     = toset(keys(google_monitoring_alert_policy.this)) == toset(["job-errors", "machines-missing"])
    error_message = "Alerts about errors and missing machines must have a receiver, and there is no tunnel to watch."
  }
}

run "with_a_kafka_of_its_own_on_dataproc" {
  command = apply

  variables {
    runtime = "dataproc"
    kafka   = { brokers = "kafka-1.example.com:9092", user = "counts" }
  }

  assert {
    condition     = contains(google_dataproc_job.job[0].hadoop_config[0].args, "JOB_KAFKA_LOGIN=SCRAM-SHA-512") && google_dataproc_cluster.this[0].cluster_config[0].worker_config[0].num_instances == 2
    error_message = "The seed's row, one master and two workers, must run the job in one apply."
  }
}

run "refuses_brokers_without_a_port" {
  command = plan

  variables {
    kafka = { brokers = "kafka-1.example.com", user = "counts" }
  }

  expect_failures = [var.kafka]
}

run "refuses_an_unknown_login" {
  command = plan

  variables {
    kafka = { brokers = "kafka-1.example.com:9092", user = "counts", mechanism = "GSSAPI" }
  }

  expect_failures = [var.kafka]
}

run "refuses_an_unknown_runtime" {
  command = plan

  variables {
    runtime = "flink"
  }

  expect_failures = [var.runtime]
}
