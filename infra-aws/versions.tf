terraform {
  # 1.11 has write-only arguments: passwords pass through a plan without being stored in the state.
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket, key and region come from `-backend-config`: see README.md.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
