# Identities and their rights. There are two service accounts without keys: the job's, which its machines use, and the pipeline's,
# which one AWS role may use.

resource "google_service_account" "job" {
  account_id   = "${local.name}-job"
  display_name = "The stream job's machines"
}

locals {
  # Roles on the project, for rights that have no resource of their own. Dataproc's agent needs its role, which reaches every bucket
  # of the project. Therefore the project must contain nothing else.
  job_roles = toset(concat(
    ["roles/logging.logWriter", "roles/monitoring.metricWriter"],
    var.runtime == "dataproc" ? ["roles/dataproc.worker"] : [],
  ))

  bucket_roles = {
    reads-binaries    = { bucket = "binaries", role = "roles/storage.objectViewer" }
    keeps-checkpoints = { bucket = "checkpoints", role = "roles/storage.objectUser" }
  }
}

resource "google_project_iam_member" "job" {
  for_each = local.job_roles

  project = var.project
  role    = each.key
  member  = google_service_account.job.member
}

resource "google_storage_bucket_iam_member" "job" {
  for_each = local.bucket_roles

  bucket = google_storage_bucket.this[each.value.bucket].name
  role   = each.value.role
  member = google_service_account.job.member
}

resource "google_secret_manager_secret_iam_member" "job" {
  secret_id = google_secret_manager_secret.kafka.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.job.member
}

# --- Google to AWS: no resources here. AWS trusts accounts.google.com, and in infra-aws this account's number may assume one role.
# The job gets a token for that audience from its machine and exchanges it at AWS's token service.

# --- AWS to Google: the pipeline on AWS proves its AWS role, and uploads a binary with this account.

resource "google_service_account" "pipeline" {
  count = var.aws_pipeline_role != null && local.linked ? 1 : 0

  account_id   = "${local.name}-pipeline"
  display_name = "The pipeline on AWS"
}

resource "google_iam_workload_identity_pool" "aws" {
  count = var.aws_pipeline_role != null && local.linked ? 1 : 0

  workload_identity_pool_id = "${local.name}-aws"
  display_name              = "AWS"
}

resource "google_iam_workload_identity_pool_provider" "aws" {
  #checkov:skip=CKV_GCP_125:Not GitHub: the provider is AWS, and attribute_condition names one role of one account
  count = var.aws_pipeline_role != null && local.linked ? 1 : 0

  workload_identity_pool_id          = google_iam_workload_identity_pool.aws[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "aws"
  display_name                       = "The account of infra-aws"

  aws {
    account_id = var.aws.account
  }

  # Only this role of this account is admitted; later grants do not widen that.
  attribute_mapping = {
    "google.subject"     = "assertion.arn"
    "attribute.aws_role" = "assertion.arn.extract('assumed-role/{role}/')"
  }
  attribute_condition = "assertion.arn.startsWith('arn:aws:sts::${var.aws.account}:assumed-role/${var.aws_pipeline_role}/')"
}

resource "google_service_account_iam_member" "pipeline" {
  count = var.aws_pipeline_role != null && local.linked ? 1 : 0

  service_account_id = google_service_account.pipeline[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.aws[0].name}/attribute.aws_role/${var.aws_pipeline_role}"
}

resource "google_storage_bucket_iam_member" "pipeline" {
  count = var.aws_pipeline_role != null && local.linked ? 1 : 0

  bucket = google_storage_bucket.this["binaries"].name
  role   = "roles/storage.objectCreator"
  member = google_service_account.pipeline[0].member
}

# Audit logs of reads and writes of objects and secrets.
resource "google_project_iam_audit_config" "data" {
  for_each = toset(["secretmanager.googleapis.com", "storage.googleapis.com"])

  project = var.project
  service = each.key

  audit_log_config {
    log_type = "DATA_READ"
  }

  audit_log_config {
    log_type = "DATA_WRITE"
  }
}
