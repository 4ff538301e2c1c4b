# Keys, and one secret whose value is in no file, plan or state: it comes from an ephemeral variable and is written by a write-only
# argument.

locals {
  # Keys and the service agents that use them. An agent's name is made of the project's number.
  keys = {
    disks   = "service-${data.google_project.this.number}@compute-system.iam.gserviceaccount.com"
    secrets = "service-${data.google_project.this.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    storage = data.google_storage_project_service_account.this.email_address
  }
}

data "google_storage_project_service_account" "this" {
  depends_on = [google_project_service.this]
}

# The provider never deletes a ring, and in Google Cloud the name of a deleted key cannot be used again. So an environment that is
# destroyed and recreated gets another ring (variable key_ring). https://docs.cloud.google.com/kms/docs/delete-kms-resources
resource "google_kms_key_ring" "this" {
  name     = var.key_ring == 1 ? local.name : "${local.name}-${var.key_ring}"
  location = var.region

  depends_on = [google_project_service.this]
}

resource "google_kms_crypto_key" "this" {
  #checkov:skip=CKV_GCP_82:prevent_destroy would keep dev from ever being thrown away; Google itself keeps a destroyed key for thirty days
  for_each = local.keys

  name            = each.key
  key_ring        = google_kms_key_ring.this.id
  rotation_period = "7776000s" # 90 days

  # Destroying a key makes its data unreadable. Google waits thirty days first, and the key's name cannot be used again.
  destroy_scheduled_duration = "2592000s"
}

resource "google_kms_crypto_key_iam_member" "agent" {
  for_each = local.keys

  crypto_key_id = google_kms_crypto_key.this[each.key].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.value}"
}

resource "google_secret_manager_secret" "kafka" {
  secret_id           = "${local.name}-kafka"
  deletion_protection = var.protect

  replication {
    user_managed {
      replicas {
        location = var.region

        customer_managed_encryption {
          kms_key_name = google_kms_crypto_key.this["secrets"].id
        }
      }
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.agent]
}

resource "google_secret_manager_secret_version" "kafka" {
  count = local.has_kafka ? 1 : 0

  secret                 = google_secret_manager_secret.kafka.id
  secret_data_wo         = var.kafka_password
  secret_data_wo_version = var.secrets_version
}
