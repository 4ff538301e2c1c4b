provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project     = "tidemark"
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}
