provider "google" {
  project = var.project
  region  = var.region

  default_labels = {
    project     = "tidemark"
    environment = var.environment
    managed-by  = "terraform"
  }
}
