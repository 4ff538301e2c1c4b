# Assertions about production once AWS's values are set, with either runtime. tests/check.sh runs them with env/prod.tfvars against
# the published schema; Google itself is mocked.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project        = "tidemark-tests"
  kafka_password = "only-for-tests-0123456789"

  job               = { processes = 2 }
  aws_pipeline_role = "deliver"
  vpn_keys          = ["a", "b", "c", "d"]

  aws = {
    account   = "123456789012"
    region    = "eu-central-1"
    vpc_cidr  = "10.10.0.0/16"
    bgp_asn   = 64512
    brokers   = "b-1.mock.abc123.c2.kafka.eu-central-1.amazonaws.com:9096"
    resolvers = ["10.10.10.53", "10.10.11.53"]
    job_role  = "arn:aws:iam::123456789012:role/tidemark-prod-stream-job"
    tunnels = [
      { gateway = 0, address = "203.0.113.1", inside_cidr = "169.254.20.0/30" },
      { gateway = 0, address = "203.0.113.2", inside_cidr = "169.254.20.4/30" },
      { gateway = 1, address = "203.0.113.3", inside_cidr = "169.254.20.8/30" },
      { gateway = 1, address = "203.0.113.4", inside_cidr = "169.254.20.12/30" },
    ]
  }
}

run "on_a_stateful_group" {
  command = apply

  assert {
    condition     = length(google_compute_vpn_tunnel.aws) == 4 && google_compute_external_vpn_gateway.aws[0].redundancy_type == "FOUR_IPS_REDUNDANCY" && [for i in google_compute_external_vpn_gateway.aws[0].interface : i.ip_address] == ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"]
    error_message = "Four tunnels to four addresses."
  }

  assert {
    condition     = [for key in ["0", "1", "2", "3"] : google_compute_vpn_tunnel.aws[key].vpn_gateway_interface] == [0, 0, 1, 1] && alltrue([for tunnel in google_compute_vpn_tunnel.aws : tunnel.ike_version == 2])
    error_message = "Each of the two addresses must have two tunnels, as on AWS."
  }

  assert {
    condition     = google_compute_router_interface.aws["1"].ip_range == "169.254.20.6/30" && google_compute_router_peer.aws["1"].peer_ip_address == "169.254.20.5" && alltrue([for peer in google_compute_router_peer.aws : peer.peer_asn == 64512])
    error_message = "AWS must have the first address of a tunnel, this side the second."
  }

  assert {
    condition     = google_dns_managed_zone.brokers[0].dns_name == "kafka.eu-central-1.amazonaws.com." && google_dns_managed_zone.brokers[0].visibility == "private" && alltrue([for server in google_dns_managed_zone.brokers[0].forwarding_config[0].target_name_servers : server.forwarding_path == "private"])
    error_message = "The brokers' names must be resolved through the tunnels."
  }

  assert {
    condition     = google_compute_firewall.from_outside["prometheus"].source_ranges == tolist(["10.10.0.0/16"]) && google_compute_firewall.to_outside["kafka"].allow[0].ports == tolist(["9096", "9098"])
    error_message = "AWS may read the job's metrics, the job may reach the brokers."
  }

  assert {
    condition     = strcontains(google_iam_workload_identity_pool_provider.aws[0].attribute_condition, "arn:aws:sts::123456789012:assumed-role/deliver/") && endswith(google_service_account_iam_member.pipeline[0].member, "/attribute.aws_role/deliver")
    error_message = "One role of one account may become the pipeline."
  }

  assert {
    condition     = google_storage_bucket_iam_member.pipeline[0].role == "roles/storage.objectCreator"
    error_message = "The pipeline may add releases, not change or remove them."
  }

  assert {
    condition     = google_secret_manager_secret_version.kafka[0].secret_data_wo_version == 1 && google_secret_manager_secret_version.kafka[0].secret_data == null
    error_message = "The password must be written by the write-only argument."
  }

  # --- The stateful group

  assert {
    condition     = length(google_dataproc_cluster.this) == 0 && length(google_compute_per_instance_config.job) == 2 && keys(google_compute_per_instance_config.job) == ["tidemark-prod-order-analytics-0", "tidemark-prod-order-analytics-1"]
    error_message = "Two machines with fixed names."
  }

  assert {
    condition     = google_compute_health_check.job[0].http_health_check[0].request_path == "/health/live" && google_compute_health_check.job[0].http_health_check[0].port == 5006 && google_compute_instance_group_manager.job[0].auto_healing_policies[0].health_check == google_compute_health_check.job[0].id
    error_message = "A machine whose job is not alive must be recreated."
  }

  assert {
    condition     = google_compute_instance_group_manager.job[0].update_policy[0].replacement_method == "RECREATE" && google_compute_instance_group_manager.job[0].stateful_internal_ip[0].interface_name == "nic0"
    error_message = "A recreated machine must have the old one's name and address."
  }

  assert {
    condition     = length(google_compute_instance_template.job[0].network_interface[0].access_config) == 0 && google_compute_instance_template.job[0].shielded_instance_config[0].enable_secure_boot && google_compute_instance_template.job[0].metadata["enable-oslogin"] == "true"
    error_message = "No public address, secure boot, people by their own accounts."
  }

  assert {
    condition = alltrue([for line in [
      "TIDEMARK_BROKERS=b-1.mock.abc123.c2.kafka.eu-central-1.amazonaws.com:9096",
      "TIDEMARK_CHECKPOINTS=gs://tidemark-tests-checkpoints/order-analytics",
      "TIDEMARK_STATUS_ADDRESS=0.0.0.0:5006",
      "TIDEMARK_WORKERS=2",
      "TIDEMARK_SINK_SLOTS=64",
      "JOB_HOSTS=tidemark-prod-order-analytics-0:5106,tidemark-prod-order-analytics-1:5106",
      "ExecStart=/opt/tidemark/run.sh",
    ] : strcontains(google_compute_instance_template.job[0].metadata["startup-script"], line)])
    error_message = "The machine's unit has the job's settings."
  }

  assert {
    condition     = !strcontains(google_compute_instance_template.job[0].metadata["startup-script"], "only-for-tests")
    error_message = "The password must not be in a machine's metadata, which everyone with access to the machine can read."
  }

  assert {
    condition     = toset(keys(google_monitoring_alert_policy.this)) == toset(["job-errors", "machines-missing", "tunnel-down"])
    error_message = "Alerts about tunnels, errors and missing machines must have a receiver."
  }
}

run "on_dataproc" {
  command = apply

  variables {
    runtime = "dataproc"
  }

  assert {
    condition     = google_dataproc_cluster.this[0].cluster_config[0].master_config[0].num_instances == 1 && google_dataproc_cluster.this[0].cluster_config[0].worker_config[0].num_instances == 2 && google_dataproc_cluster.this[0].cluster_config[0].gce_cluster_config[0].internal_ip_only
    error_message = "One master, two workers, no public address."
  }

  assert {
    condition     = google_dataproc_job.job[0].hadoop_config[0].main_class == "org.apache.hadoop.yarn.applications.distributedshell.Client" && google_dataproc_job.job[0].scheduling[0].max_failures_per_hour > 0
    error_message = "The job must be a YARN application that Dataproc restarts when it fails."
  }

  assert {
    condition     = contains(google_dataproc_job.job[0].hadoop_config[0].args, "-timeout") && contains(google_dataproc_job.job[0].hadoop_config[0].args, "exec bash run.sh") && !contains(google_dataproc_job.job[0].hadoop_config[0].args, "-shell_script")
    error_message = "The time-out must be set, because the application ends after ten minutes otherwise; -shell_script must not be used, because two containers clash."
  }

  assert {
    condition     = contains(google_dataproc_job.job[0].hadoop_config[0].args, "TIDEMARK_SINK_SLOTS=64")
    error_message = "The job's slots leave room for more workers."
  }

  assert {
    condition     = length(google_compute_instance_group_manager.job) == 0 && contains(keys(google_project_iam_member.job), "roles/dataproc.worker")
    error_message = "One runtime at a time."
  }
}

run "grows_to_a_worker_for_each_slot" {
  command = plan

  variables {
    job = { processes = 16, workers = 8, sink_slots = 128 }
  }

  assert {
    condition     = local.job_environment["TIDEMARK_SINK_SLOTS"] == "128" && local.job_environment["JOB_PROCESSES"] == "16"
    error_message = "The job has the slots that its size needs."
  }
}

run "refuses_workers_without_a_slot" {
  command = plan

  variables {
    job = { processes = 9, workers = 8 }
  }

  expect_failures = [var.job]
}

run "refuses_more_slots_than_the_program_takes" {
  command = plan

  variables {
    job = { sink_slots = 1025 }
  }

  expect_failures = [var.job]
}

run "refuses_two_kafkas" {
  command = plan

  variables {
    kafka = { brokers = "kafka-1.example.com:9092", user = "counts" }
  }

  expect_failures = [var.kafka]
}

run "refuses_a_tunnel_without_a_key" {
  command = plan

  variables {
    vpn_keys = ["a", "b", "c"]
  }

  expect_failures = [var.vpn_keys]
}
