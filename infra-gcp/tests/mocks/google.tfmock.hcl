# Answers of Google, as far as the configuration uses them.

mock_data "google_project" {
  defaults = {
    number = "123456789012"
  }
}

mock_data "google_storage_project_service_account" {
  defaults = {
    email_address = "service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
  }
}

mock_resource "google_service_account" {
  defaults = {
    email     = "mock@mock.iam.gserviceaccount.com"
    member    = "serviceAccount:mock@mock.iam.gserviceaccount.com"
    unique_id = "100000000000000000000"
  }
}
