# Assertions about dev: it is easily destroyed, with the same access rules.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project        = "tidemark-tests"
  kafka_password = "only-for-tests-0123456789"
}

run "alone" {
  command = apply

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.force_destroy && bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced"])
    error_message = "Buckets must be deleted with their content, and never be public."
  }

  assert {
    condition     = !google_secret_manager_secret.kafka.deletion_protection && length(google_dataproc_cluster.this) == 0
    error_message = "Nothing may be protected from deletion, and nothing may cost before there are brokers."
  }
}
