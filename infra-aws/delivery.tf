# Delivery of the programs: the image by ECR, everything in the cluster by Argo CD, which is installed from here once.

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
      description  = "Keep the last 50 releases" # each is five entries: two architectures, their index, its signature and its contents
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 250 }
      action       = { type = "expire" }
    }]
  })
}

locals {
  # The values of this account for the operators of helm/argocd.
  operators_settings = {
    alerts        = { topicArn = aws_sns_topic.alarms.arn, region = var.region }
    loadBalancers = { enabled = true, clusterName = aws_eks_cluster.this.name, region = var.region, vpcId = aws_vpc.this.id }
    metricsServer = { enabled = false } # compute.tf has it as an add-on
    names         = { enabled = var.domain != null, host = try(var.domain.host, ""), owner = local.name, zoneId = try(var.domain.zone_id, ""), region = var.region }
    nodes         = { enabled = true, clusterName = aws_eks_cluster.this.name, region = var.region }
    traces        = { enabled = true, region = var.region }
    volumes       = { enabled = true }
  }

  argocd_values = {
    environment    = var.environment
    infrastructure = local.helm_values
    operators      = local.operators_settings
  }

  # The values of this cluster in helm/argocd/root.yaml.
  root_patch = {
    spec = {
      source = {
        repoURL        = try(var.argocd.repository, null)
        targetRevision = try(var.argocd.revision, null)
        helm = {
          valuesObject = merge(local.argocd_values, {
            repoURL  = try(var.argocd.repository, null)
            revision = try(var.argocd.revision, null)
          })
        }
      }
    }
  }
}

# Helm and kubectl run once, and again when a value named here changes. All later changes come through Git and Argo CD.
resource "terraform_data" "argocd" {
  count = var.argocd == null ? 0 : 1

  triggers_replace = [var.argocd, local.root_patch, aws_eks_cluster.this.arn]

  provisioner "local-exec" {
    command = "${path.module}/bootstrap/argocd.sh"

    environment = {
      CLUSTER          = aws_eks_cluster.this.name
      REGION           = var.region
      CHART_VERSION    = var.argocd.chart_version
      WAY_IN           = one(aws_instance.way_in[*].id)
      ROOT_APPLICATION = "${path.module}/../helm/argocd/root.yaml"
      ROOT_PATCH       = jsonencode(local.root_patch)
    }
  }

  depends_on = [aws_eks_access_policy_association.admin, aws_eks_addon.this]
}

# --- The release workflow (.github/workflows/release.yml) pushes images with this role: GitHub attests the repository and the
# environment of a run, so no key is stored there.

resource "aws_iam_openid_connect_provider" "github" {
  count = var.release_repository == null ? 0 : 1

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "release" {
  count = var.release_repository == null ? 0 : 1

  name        = "${local.name}-release"
  description = "The release workflow of ${var.release_repository}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = aws_iam_openid_connect_provider.github[0].arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:sub" = "repo:${var.release_repository}:environment:${var.environment}"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "release" {
  count = var.release_repository == null ? 0 : 1

  name = "images"
  role = aws_iam_role.release[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # The action of logging in has no resources.
        Sid      = "LogsIn"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid    = "PushesImages"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
          "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
        ]
        Resource = aws_ecr_repository.this.arn
      },
    ]
  })
}
