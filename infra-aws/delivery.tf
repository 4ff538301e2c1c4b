# How our programs get there: the image by ECR, everything in the cluster by Argo CD, which is started from here once.

resource "aws_ecr_repository" "this" {
  name                 = "tidemark"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.protect

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this["data"].arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  repository = aws_ecr_repository.this.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the last 50 images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 50 }
      action       = { type = "expire" }
    }]
  })
}

locals {
  # What is this cluster's own in helm/argocd/root.yaml.
  root_patch = {
    spec = {
      source = {
        repoURL        = try(var.argocd.repository, null)
        targetRevision = try(var.argocd.revision, null)
        helm = {
          valuesObject = {
            repoURL        = try(var.argocd.repository, null)
            revision       = try(var.argocd.revision, null)
            environment    = var.environment
            infrastructure = local.helm_values
            operators = {
              metricsServer = { enabled = false } # compute.tf has it as an add-on
              loadBalancers = { enabled = true, clusterName = aws_eks_cluster.this.name, region = var.region, vpcId = aws_vpc.this.id }
            }
          }
        }
      }
    }
  }
}

# Helm and kubectl do this once, and again when something named here changes; whatever comes after is Argo CD's and Git's.
resource "terraform_data" "argocd" {
  count = var.argocd == null ? 0 : 1

  triggers_replace = [var.argocd, local.root_patch, aws_eks_cluster.this.arn]

  provisioner "local-exec" {
    command = "${path.module}/bootstrap/argocd.sh"

    environment = {
      CLUSTER          = aws_eks_cluster.this.name
      REGION           = var.region
      CHART_VERSION    = var.argocd.chart_version
      ROOT_APPLICATION = "${path.module}/../helm/argocd/root.yaml"
      ROOT_PATCH       = jsonencode(local.root_patch)
    }
  }

  depends_on = [aws_eks_addon.this]
}
