# How our program gets there: each release lies under the hash of what it is, so a new one is a new object, a new template and a
# new job, and the old one is still there to go back to.

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
