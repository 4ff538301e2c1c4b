# Identities and their rights. Every program has a role of its own, and a policy that names actions and resources. Pods get their
# roles by EKS Pod Identity, so there is neither a key nor an annotation in the cluster, and another pod cannot take a role.

locals {
  table_arns = { for name, table in aws_dynamodb_table.this : name => [table.arn, "${table.arn}/index/*"] }

  # A table under this key can be read by every identity that may use the key through DynamoDB.
  use_data_key = {
    Sid      = "TablesKey"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:DescribeKey"]
    Resource = aws_kms_key.this["data"].arn
    Condition = {
      StringEquals = { "kms:ViaService" = "dynamodb.${var.region}.amazonaws.com" }
    }
  }

  # The tables that each service uses and its calls, as tests/check_calls.py finds them in its source. A service without tables does
  # not call AWS: it has a role without rights.
  service_tables = {
    gateway       = { tables = [], calls = [] }
    users         = { tables = [], calls = [] }
    products      = { tables = ["products", "product-reservations"], calls = ["BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"] }
    orders        = { tables = [], calls = [] }
    notifications = { tables = ["notifications"], calls = ["DeleteItem", "PutItem", "Query", "UpdateItem"] }
    analytics     = { tables = ["analytics-counts", "analytics-results", "analytics-windows"], calls = ["PutItem", "Query", "UpdateItem"] }
    files         = { tables = ["files"], calls = ["GetItem", "PutItem", "Query"] }
  }

  # Terraform creates and configures the tables, so a service may describe them, not create them.
  look_at_tables = ["DescribeTable", "DescribeTimeToLive"]

  # The rights of a service besides those to its tables.
  further_rights = {
    files = [
      {
        Sid      = "KeepsUploads"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:PutObject"]
        Resource = "${aws_s3_bucket.this["uploads"].arn}/${local.uploads_prefix}*"
      },
      {
        Sid    = "ShowsWhatWasMadeOfUploads"
        Effect = "Allow"
        Action = "s3:GetObject"
        Resource = [
          "${aws_s3_bucket.this["uploads"].arn}/${local.thumbnails_prefix}*",
          "${aws_s3_bucket.this["uploads"].arn}/${local.bad_rows_prefix}*",
        ]
      },
      {
        Sid       = "UploadsKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = aws_kms_key.this["data"].arn
        Condition = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }
      },
    ]
  }

  service_policies = {
    for service, uses in local.service_tables : service => jsonencode({
      Version = "2012-10-17"
      Statement = concat([{
        Sid      = "OwnTables"
        Effect   = "Allow"
        Action   = [for call in concat(local.look_at_tables, uses.calls) : "dynamodb:${call}"]
        Resource = flatten([for table in uses.tables : local.table_arns[table]])
      }, local.use_data_key], [for name, rights in local.further_rights : rights if name == service]...)
    }) if length(uses.tables) > 0
  }

  # The stream job's checkpoints, if it runs in this cluster and not on Google Cloud.
  job_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "OwnCheckpoints"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = "${aws_s3_bucket.this["checkpoints"].arn}/*"
      },
      {
        Sid      = "FindsThem"
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = aws_s3_bucket.this["checkpoints"].arn
      },
      {
        Sid      = "TheirKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = aws_kms_key.this["data"].arn
        Condition = {
          StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" }
        }
      },
    ]
  })

  # Everything in the cluster that calls AWS: its service account and its rights.
  pod_identities = merge(
    {
      for service in keys(local.service_tables) : service => {
        namespace       = local.namespace
        service_account = service
        managed         = null
      }
    },
    {
      order-analytics = { namespace = local.namespace, service_account = "order-analytics", managed = null }
    },
    local.operators,
  )

  # The rights of each, if they are not a policy managed by AWS.
  pod_policies = merge(local.service_policies, { order-analytics = local.job_policy }, local.operator_policies)

  # AWS's own services that act for this account.
  service_roles = {
    cluster             = { principal = "eks.amazonaws.com", managed = ["AmazonEKSClusterPolicy"] }
    nodes               = { principal = "ec2.amazonaws.com", managed = ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"] }
    database-monitoring = { principal = "monitoring.rds.amazonaws.com", managed = ["service-role/AmazonRDSEnhancedMonitoringRole"] }
    flow-logs           = { principal = "vpc-flow-logs.amazonaws.com", managed = [] }
    file-processor      = { principal = "lambda.amazonaws.com", managed = [] }
    way-in              = { principal = "ec2.amazonaws.com", managed = ["AmazonSSMManagedInstanceCore"] }
  }

  service_role_policies = {
    flow-logs = jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this["flow"].arn}:*"
      }]
    })

    file-processor = jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Sid      = "ReadsUploads"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion"]
          Resource = "${aws_s3_bucket.this["uploads"].arn}/${local.uploads_prefix}*"
        },
        {
          # Without it, S3 answers a request for a missing object with a denial.
          Sid      = "KnowsWhatIsGone"
          Effect   = "Allow"
          Action   = "s3:ListBucket"
          Resource = aws_s3_bucket.this["uploads"].arn
        },
        {
          Sid    = "WritesThumbnailsAndBadRows"
          Effect = "Allow"
          Action = "s3:PutObject"
          Resource = [
            "${aws_s3_bucket.this["uploads"].arn}/${local.thumbnails_prefix}*",
            "${aws_s3_bucket.this["uploads"].arn}/${local.bad_rows_prefix}*",
          ]
        },
        {
          Sid      = "WritesMetadata"
          Effect   = "Allow"
          Action   = ["dynamodb:GetItem", "dynamodb:PutItem"]
          Resource = aws_dynamodb_table.this["files"].arn
        },
        {
          Sid      = "HandsOverFailures"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.failed_files.arn
        },
        {
          Sid      = "UsesTheKeyOfAllThese"
          Effect   = "Allow"
          Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource = aws_kms_key.this["data"].arn
        },
        {
          Sid      = "Logs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.this["file-processor"].arn}:*"
        },
        {
          # X-Ray has no resources.
          Sid      = "Traces"
          Effect   = "Allow"
          Action   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
          Resource = "*"
        },
      ]
    })
  }
}

# --- Pods

resource "aws_iam_role" "pod" {
  for_each = local.pod_identities

  name        = "${local.name}-${each.key}"
  description = "${each.value.service_account} in ${each.value.namespace}"

  # Only Pod Identity of this cluster, for this service account.
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = {
        StringEquals = {
          "aws:RequestTag/eks-cluster-arn"            = aws_eks_cluster.this.arn
          "aws:RequestTag/kubernetes-namespace"       = each.value.namespace
          "aws:RequestTag/kubernetes-service-account" = each.value.service_account
        }
      }
    }]
  })
}

resource "aws_eks_pod_identity_association" "this" {
  for_each = local.pod_identities

  cluster_name    = aws_eks_cluster.this.name
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.pod[each.key].arn
}

resource "aws_iam_role_policy" "pod" {
  for_each = toset(keys(local.pod_policies))

  name   = each.key
  role   = aws_iam_role.pod[each.key].name
  policy = local.pod_policies[each.key]
}

resource "aws_iam_role_policy_attachment" "pod" {
  for_each = { for name, pod in local.pod_identities : name => pod.managed if pod.managed != null }

  role       = aws_iam_role.pod[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/${each.value}"
}

# For clients that cannot use Pod Identity: tools that only support OIDC, and Google's side of the federation.
resource "aws_iam_openid_connect_provider" "cluster" {
  url            = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]
}

# --- AWS's services

resource "aws_iam_role" "service" {
  for_each = local.service_roles

  name = "${local.name}-${each.key}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = each.value.principal }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "service" {
  for_each = toset(["flow-logs", "file-processor"])

  name   = each.key
  role   = aws_iam_role.service[each.key].name
  policy = local.service_role_policies[each.key]
}

resource "aws_iam_role_policy_attachment" "service" {
  for_each = merge([
    for role, spec in local.service_roles : { for policy in spec.managed : "${role}/${policy}" => { role = role, policy = policy } }
  ]...)

  role       = aws_iam_role.service[each.value.role].name
  policy_arn = "arn:aws:iam::aws:policy/${each.value.policy}"
}

# --- The stream job on Google Cloud. AWS trusts accounts.google.com: neither a provider nor a key is needed, only the number of the
# one service account. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html

resource "aws_iam_role" "stream_job" {
  count = local.linked ? 1 : 0

  name        = "${local.name}-stream-job"
  description = "The stream job on Google Cloud, if it logs in to Kafka by IAM"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = "accounts.google.com" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "accounts.google.com:aud"  = var.gcp.job_identity_id
          "accounts.google.com:sub"  = var.gcp.job_identity_id
          "accounts.google.com:oaud" = "sts.amazonaws.com/${local.name}"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "stream_job" {
  count = local.linked ? 1 : 0

  name = "kafka"
  role = aws_iam_role.stream_job[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Connects"
        Effect   = "Allow"
        Action   = ["kafka-cluster:Connect", "kafka-cluster:DescribeCluster", "kafka-cluster:WriteDataIdempotently"]
        Resource = aws_msk_cluster.this.arn
      },
      {
        Sid      = "ReadsOrders"
        Effect   = "Allow"
        Action   = ["kafka-cluster:DescribeTopic", "kafka-cluster:DescribeTopicDynamicConfiguration", "kafka-cluster:ReadData"]
        Resource = "${local.kafka_resources.topic}/orders"
      },
      {
        Sid    = "MakesAndWritesItsResults"
        Effect = "Allow"
        Action = ["kafka-cluster:CreateTopic", "kafka-cluster:DescribeTopic", "kafka-cluster:DescribeTopicDynamicConfiguration", "kafka-cluster:ReadData", "kafka-cluster:WriteData"]
        Resource = [
          "${local.kafka_resources.topic}/analytics-*",
          "${local.kafka_resources.topic}/orders-dead-letter",
          "${local.kafka_resources.topic}/orders-late",
          "${local.kafka_resources.topic}/tidemark-publisher-progress",
        ]
      },
      {
        Sid      = "KeepsItsProgress"
        Effect   = "Allow"
        Action   = ["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"]
        Resource = "${local.kafka_resources.group}/order-analytics*"
      },
      {
        Sid      = "CommitsByTransaction"
        Effect   = "Allow"
        Action   = ["kafka-cluster:AlterTransactionalId", "kafka-cluster:DescribeTransactionalId"]
        Resource = "${local.kafka_resources.transactional-id}/order-analytics*"
      },
    ]
  })
}

locals {
  # A cluster's topics, groups and transactional ids share its name and number: …:cluster/name/uuid → …:topic/name/uuid
  kafka_resources = {
    for kind in ["topic", "group", "transactional-id"] : kind => replace(aws_msk_cluster.this.arn, ":cluster/", ":${kind}/")
  }
}
