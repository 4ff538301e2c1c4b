terraform {
  # 1.11 has write-only arguments: passwords pass through a plan without being stored in the state.
  required_version = ">= 1.11, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # Bucket and prefix come from `-backend-config`: see README.md.
  backend "gcs" {}
}
