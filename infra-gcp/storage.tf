# The data that outlives a machine: the program's releases and the job's checkpoints.

locals {
  buckets = {
    binaries    = { what = "releases of the program" }
    checkpoints = { what = "closed panes and manifests: the job writes each object once and deletes it when no window needs it" }
  }
}

resource "google_storage_bucket" "this" {
  #checkov:skip=CKV_GCP_62:Usage logs are the old way; identity.tf switches on the audit log of every read and write
  for_each = local.buckets

  # A bucket's name must be unique world-wide, and so is the project's id.
  name                        = "${var.project}-${each.key}"
  location                    = var.region
  storage_class               = "STANDARD"
  force_destroy               = !var.protect
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.this["storage"].id
  }

  lifecycle_rule {
    condition {
      with_state                 = "ARCHIVED"
      days_since_noncurrent_time = var.log_retention_days
    }

    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 2
    }

    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}
