# The Kubernetes cluster with its nodes, and the file processor.

resource "aws_eks_cluster" "this" {
  #checkov:skip=CKV_AWS_339:The version is a variable's default, which the check does not see
  #checkov:skip=CKV_AWS_39:Public in dev only, and there only for admin_cidrs; tests hold that prod is private
  name     = local.name
  role_arn = aws_iam_role.service["cluster"].arn
  version  = var.cluster.version

  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false

  vpc_config {
    subnet_ids              = [for subnet in aws_subnet.private : subnet.id]
    endpoint_private_access = true
    endpoint_public_access  = var.cluster.public_endpoint
    public_access_cidrs     = var.cluster.public_endpoint ? var.admin_cidrs : null
  }

  # Rights in the cluster are access entries (people.tf), so the creator of the cluster has no rights by default.
  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.this["cluster"].arn
    }
  }

  # A version whose standard support has ended is upgraded, because extended support costs six times as much.
  upgrade_policy {
    support_type = "STANDARD"
  }

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy_attachment.service]
}

resource "aws_launch_template" "nodes" {
  name_prefix            = "${local.name}-nodes-"
  update_default_version = true

  # One hop: a pod cannot reach the node's own credentials.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type = "gp3"
      volume_size = 40
      encrypted   = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${local.name}-node" }
  }
}

resource "aws_eks_node_group" "this" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "default"
  node_role_arn   = aws_iam_role.service["nodes"].arn
  subnet_ids      = [for subnet in aws_subnet.private : subnet.id]
  ami_type        = "AL2023_ARM_64_STANDARD"
  instance_types  = var.cluster.instance_types

  launch_template {
    id      = aws_launch_template.nodes.id
    version = aws_launch_template.nodes.latest_version
  }

  # Within these bounds the cluster autoscaler (helm/argocd) sets the number, from the first pod that cannot be scheduled.
  scaling_config {
    min_size     = var.cluster.nodes_min
    desired_size = var.cluster.nodes
    max_size     = var.cluster.nodes_max
  }

  update_config {
    max_unavailable = 1
  }

  node_repair_config {
    enabled = true
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size]
  }

  # Nodes become ready only with a network plugin, which needs its role.
  depends_on = [
    aws_eks_addon.before_nodes,
    aws_iam_role_policy_attachment.pod,
    aws_iam_role_policy_attachment.service,
  ]
}

locals {
  addons_before_nodes = {
    eks-pod-identity-agent = {}
    kube-proxy             = {}
    vpc-cni                = { enableNetworkPolicy = "true" } # without it the chart's NetworkPolicies have no effect
  }

  addons = {
    aws-ebs-csi-driver = {}
    coredns            = {}
    metrics-server     = {} # the HorizontalPodAutoscalers read it

    # The pods' logs go to CloudWatch (Fluent Bit, log group "pods" in monitoring.tf). Metrics go to Prometheus.
    amazon-cloudwatch-observability = {
      containerLogs = { enabled = true }
      agent         = { config = { logs = { metrics_collected = {} } } }
    }
  }
}

resource "aws_eks_addon" "before_nodes" {
  for_each = local.addons_before_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  configuration_values        = length(each.value) > 0 ? jsonencode(each.value) : null
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [aws_eks_pod_identity_association.this]
}

resource "aws_eks_addon" "this" {
  for_each = local.addons

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  configuration_values        = length(each.value) > 0 ? jsonencode(each.value) : null
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [aws_eks_node_group.this]
}

# --- The file processor: S3 calls it for each upload

locals {
  # Thumbnails and bad rows are beside, not below, the uploads, so writing one does not call the function again.
  uploads_prefix    = "uploads/"
  thumbnails_prefix = "thumbnails/"
  bad_rows_prefix   = "bad-rows/"
}

resource "aws_sqs_queue" "failed_files" {
  name                      = "${local.name}-failed-files"
  kms_master_key_id         = aws_kms_key.this["data"].arn
  message_retention_seconds = 14 * 24 * 3600
}

resource "aws_lambda_function" "file_processor" {
  #checkov:skip=CKV_AWS_117:It speaks to S3, DynamoDB, SQS and the public API only, over TLS; a VPC would add NAT and cold start and protect nothing
  #checkov:skip=CKV_AWS_272:The zip is built and uploaded by the same pipeline that applies this; a signing profile would be signed by the same hands
  function_name = "${local.name}-file-processor"
  description   = "Processes uploads and writes the findings to the table files"
  role          = aws_iam_role.service["file-processor"].arn

  runtime          = "provided.al2023"
  architectures    = ["arm64"]
  handler          = "bootstrap"
  filename         = var.lambda_zip
  source_code_hash = fileexists(var.lambda_zip) ? filebase64sha256(var.lambda_zip) : null

  memory_size                    = 512 # a picture of 25 million pixels takes up to 200 MiB, a file of another kind 50
  timeout                        = 300 # 5 GiB take 30 s of CPU time at this memory; they are refused if S3 delivers less than 18 MB a second
  reserved_concurrent_executions = var.files_at_once
  kms_key_arn                    = aws_kms_key.this["data"].arn

  environment {
    variables = merge({
      TIDEMARK_DYNAMODB = "aws"
      TIDEMARK_OBJECTS  = "s3://${aws_s3_bucket.this["uploads"].bucket}"
      TIDEMARK_LOG      = "info"
      }, var.imports == null ? {} : {
      TIDEMARK_AUTH           = "enforced"
      TIDEMARK_PRODUCTS_URL   = var.imports.api_url
      TIDEMARK_SERVICE_SECRET = var.imports.service_secret
    })
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.failed_files.arn
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.this["file-processor"].name
  }

  depends_on = [aws_iam_role_policy.service]
}

resource "aws_lambda_function_event_invoke_config" "file_processor" {
  function_name                = aws_lambda_function.file_processor.function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 6 * 3600
}

resource "aws_lambda_permission" "uploads" {
  statement_id   = "uploads"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.file_processor.function_name
  principal      = "s3.amazonaws.com"
  source_arn     = aws_s3_bucket.this["uploads"].arn
  source_account = local.account
}

resource "aws_s3_bucket_notification" "uploads" {
  bucket = aws_s3_bucket.this["uploads"].id

  lambda_function {
    lambda_function_arn = aws_lambda_function.file_processor.arn
    events              = ["s3:ObjectCreated:*"]
    filter_prefix       = local.uploads_prefix
  }

  depends_on = [aws_lambda_permission.uploads]
}
