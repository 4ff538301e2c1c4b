# Delivery of the program: each release is stored under the hash of its content. So a new release is a new object, a new template
# and a new job, and the old one remains for a rollback.

locals {
  binary_hash = fileexists(var.binary) ? filesha256(var.binary) : "not-built"
  run_hash    = filesha256("${path.module}/bootstrap/run.sh")
  binaries    = "gs://${google_storage_bucket.this["binaries"].name}"
  release_url = "${local.binaries}/${local.binary_hash}/order-analytics"
  run_url     = "${local.binaries}/${local.run_hash}/run.sh"
}

resource "google_storage_bucket_object" "binary" {
  name   = "${local.binary_hash}/order-analytics"
  bucket = google_storage_bucket.this["binaries"].name
  source = var.binary

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_storage_bucket_object" "run" {
  name   = "${local.run_hash}/run.sh"
  bucket = google_storage_bucket.this["binaries"].name
  source = "${path.module}/bootstrap/run.sh"

  lifecycle {
    create_before_destroy = true
  }
}
