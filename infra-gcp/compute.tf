# The runtime of the job: a stateful instance group (`gce`), or a Dataproc cluster (`dataproc`). Both run the same program and the
# same bootstrap/run.sh.

# --- gce: machines with fixed names and addresses, so that the processes find each other; an unhealthy one is recreated

locals {
  machines = [for index in range(var.job.processes) : "${local.name}-${var.job.name}-${index}"]
}

resource "google_compute_instance_template" "job" {
  count = local.on_gce ? 1 : 0

  name_prefix  = "${local.name}-${var.job.name}-"
  machine_type = var.job.machine_type
  region       = var.region

  disk {
    boot         = true
    auto_delete  = true
    source_image = "debian-cloud/debian-12"
    disk_type    = "pd-balanced"
    disk_size_gb = 20

    disk_encryption_key {
      kms_key_self_link = google_kms_crypto_key.this["disks"].id
    }
  }

  network_interface {
    subnetwork = google_compute_subnetwork.job.id
  }

  service_account {
    email  = google_service_account.job.email
    scopes = ["cloud-platform"] # the account's roles are the limit
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    block-project-ssh-keys     = "true"
    enable-oslogin             = "true"
    serial-port-logging-enable = "true" # the unit logs to the console, so that Cloud Logging has its log without an agent
    startup-script             = local.startup_script
  }

  scheduling {
    automatic_restart   = true
    on_host_maintenance = "MIGRATE"
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

resource "google_compute_health_check" "job" {
  count = local.on_gce ? 1 : 0

  name                = "${local.name}-${var.job.name}"
  check_interval_sec  = 10
  timeout_sec         = 5
  healthy_threshold   = 1
  unhealthy_threshold = 6

  # The check is for liveness, not readiness: a job that waits for a broker must not be recreated.
  http_health_check {
    port         = local.status_port
    request_path = "/health/live"
  }

  log_config {
    enable = true
  }
}

resource "google_compute_instance_group_manager" "job" {
  count = local.on_gce ? 1 : 0

  name               = "${local.name}-${var.job.name}"
  base_instance_name = "${local.name}-${var.job.name}"
  zone               = local.zone

  version {
    instance_template = google_compute_instance_template.job[0].self_link_unique
  }

  named_port {
    name = "status"
    port = local.status_port
  }

  auto_healing_policies {
    health_check      = google_compute_health_check.job[0].id
    initial_delay_sec = 180
  }

  # A recreated machine has the same address.
  stateful_internal_ip {
    interface_name = "nic0"
    delete_rule    = "ON_PERMANENT_INSTANCE_DELETION"
  }

  # All machines are replaced at once, because the processes of one attempt must have the same release.
  update_policy {
    type                  = "PROACTIVE"
    minimal_action        = "REPLACE"
    replacement_method    = "RECREATE"
    max_surge_fixed       = 0
    max_unavailable_fixed = var.job.processes
  }
}

resource "google_compute_address" "job" {
  for_each = local.on_gce ? zipmap(local.machines, local.addresses) : {}

  name         = each.key
  region       = var.region
  subnetwork   = google_compute_subnetwork.job.id
  address_type = "INTERNAL"
  address      = each.value
}

# The group has exactly these machines. Their names are in the hosts file, and Prometheus scrapes their addresses.
resource "google_compute_per_instance_config" "job" {
  for_each = toset(local.on_gce ? local.machines : [])

  name                             = each.key
  instance_group_manager           = google_compute_instance_group_manager.job[0].name
  zone                             = local.zone
  remove_instance_on_destroy       = true
  remove_instance_state_on_destroy = true

  preserved_state {
    metadata = {
      process = index(local.machines, each.key)
    }

    internal_ip {
      interface_name = "nic0"
      auto_delete    = "ON_PERMANENT_INSTANCE_DELETION"

      ip_address {
        address = google_compute_address.job[each.key].self_link
      }
    }
  }
}

# --- dataproc: one master, two workers, YARN in between

resource "google_storage_bucket" "dataproc" {
  #checkov:skip=CKV_GCP_62:Usage logs are the old way; identity.tf switches on the audit log of every read and write
  #checkov:skip=CKV_GCP_78:What Dataproc stages is copied from elsewhere and gone after two weeks
  count = local.on_dataproc ? 1 : 0

  name                        = "${var.project}-dataproc"
  location                    = var.region
  force_destroy               = true
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  encryption {
    default_kms_key_name = google_kms_crypto_key.this["storage"].id
  }

  lifecycle_rule {
    condition {
      age = 14
    }

    action {
      type = "Delete"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

resource "google_dataproc_cluster" "this" {
  count = local.on_dataproc ? 1 : 0

  name   = local.name
  region = var.region

  cluster_config {
    staging_bucket = google_storage_bucket.dataproc[0].name
    temp_bucket    = google_storage_bucket.dataproc[0].name

    gce_cluster_config {
      zone                   = local.zone
      subnetwork             = google_compute_subnetwork.job.id
      internal_ip_only       = true
      service_account        = google_service_account.job.email
      service_account_scopes = ["cloud-platform"]

      shielded_instance_config {
        enable_secure_boot          = true
        enable_vtpm                 = true
        enable_integrity_monitoring = true
      }

      metadata = {
        block-project-ssh-keys = "true"
        enable-oslogin         = "true"
      }
    }

    encryption_config {
      kms_key_name = google_kms_crypto_key.this["disks"].id
    }

    master_config {
      num_instances = 1
      machine_type  = "e2-standard-2"

      disk_config {
        boot_disk_type    = "pd-balanced"
        boot_disk_size_gb = 50
      }
    }

    worker_config {
      num_instances = 2
      machine_type  = var.job.machine_type

      disk_config {
        boot_disk_type    = "pd-balanced"
        boot_disk_size_gb = 50
      }
    }

    software_config {
      image_version = "2.2-debian12"

      override_properties = {
        # One container of the job runs on each worker; a second one does not fit beside it.
        "yarn:yarn.scheduler.capacity.per-node-heartbeat.multiple-assignments-enabled" = "false"
        # A lost worker counts as lost after two minutes, as long as the processes that are left wait for it.
        "yarn:yarn.nm.liveness-monitor.expiry-interval-ms"                = "120000"
        "yarn:yarn.log-aggregation-enable"                                = "true"
        "dataproc:dataproc.logging.stackdriver.job.yarn.container.enable" = "true"
      }
    }

    endpoint_config {
      enable_http_port_access = true # YARN's pages, through Google's proxy with authentication
    }
  }

  depends_on = [
    google_compute_firewall.among_machines,
    google_compute_firewall.to_machines,
    google_kms_crypto_key_iam_member.agent,
    google_project_iam_member.job,
  ]
}
