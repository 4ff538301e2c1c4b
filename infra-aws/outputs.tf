output "cluster_name" {
  description = "For `aws eks update-kubeconfig --name`."
  value       = aws_eks_cluster.this.name
}

output "cluster_issuer" {
  description = "OIDC issuer of the cluster, for federation to other clouds."
  value       = aws_eks_cluster.this.identity[0].oidc[0].issuer
}

output "image_repository" {
  description = "The registry of the image."
  value       = aws_ecr_repository.this.repository_url
}

output "database_address" {
  description = "MySQL, from inside the VPC, with TLS."
  value       = aws_db_instance.this.address
}

output "way_in" {
  description = "The machine that bootstrap/way-in.sh forwards through; null if the API has a public address."
  value       = one(aws_instance.way_in[*].id)
}

output "release_role" {
  description = "The role of the release workflow: its variable AWS_ROLE."
  value       = one(aws_iam_role.release[*].arn)
}

output "database_secret_arn" {
  description = "The secret of MySQL's master user, for the migrations alone. RDS changes its password every seven days."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "brokers_scram" {
  description = "Kafka for programs: SASL_SSL with SCRAM-SHA-512."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
}

output "brokers_iam" {
  description = "Kafka for people's tools: SASL_SSL with AWS_MSK_IAM."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_iam
}

output "uploads_bucket" {
  description = "The bucket of uploads. Files under uploads/ are processed."
  value       = aws_s3_bucket.this["uploads"].bucket
}

output "tables" {
  description = "DynamoDB tables by name."
  value       = { for name, table in aws_dynamodb_table.this : name => table.arn }
}

output "pod_roles" {
  description = "The role of each program in the cluster."
  value       = { for name, role in aws_iam_role.pod : name => role.arn }
}

locals {
  # External Secrets fills in whose it is.
  mysql_address = "mysql://{{ .mysql_user | urlquery }}:{{ .mysql_password | urlquery }}@${aws_db_instance.this.address}:3306/tidemark?ssl-mode=REQUIRED"

  # In the shape of helm/values.yaml: the values of this configuration.
  helm_values = {
    image = { repository = aws_ecr_repository.this.repository_url }
    stores = {
      mysql = { cidrs = values(local.database_cidrs) }
      kafka = {
        cidrs       = values(local.brokers_cidrs)
        environment = { TIDEMARK_BROKERS = aws_msk_cluster.this.bootstrap_brokers_sasl_scram }
      }
      dynamodb = { environment = { TIDEMARK_DYNAMODB = "aws", AWS_REGION = var.region } }
      objects  = { environment = { TIDEMARK_OBJECTS = "s3://${aws_s3_bucket.this["uploads"].bucket}" } }
    }
    externalSecrets = {
      aws = { region = var.region }
      secrets = {
        migrations-mysql    = { key = aws_db_instance.this.master_user_secret[0].secret_arn, template = local.mysql_address }
        orders-mysql        = { key = aws_secretsmanager_secret.database["orders"].name, template = local.mysql_address }
        users-mysql         = { key = aws_secretsmanager_secret.database["users"].name, template = local.mysql_address }
        TIDEMARK_PROPERTIES = { key = aws_secretsmanager_secret.kafka["services"].name }
      }
    }
    job = {
      checkpoints = "s3://${aws_s3_bucket.this["checkpoints"].bucket}/order-analytics"
      targets     = try(var.gcp.job_targets, [])
    }
    network = { publicFrom = values(local.public_cidrs) }
    public  = { ingress = var.domain == null ? {} : { host = var.domain.host } }
    tracing = { endpoint = "http://opentelemetry-collector.observability:4318" }
  }
}

output "helm_values" {
  description = "Values for the chart that override values-dev.yaml or values-prod.yaml. Argo CD gets them automatically."
  value       = yamlencode(local.helm_values)
}

output "for_gcp" {
  description = "infra-gcp's variable `aws`: `terraform output -json for_gcp`. Null until the variable gcp is set."
  value = local.linked ? {
    account   = local.account
    region    = var.region
    vpc_cidr  = var.vpc_cidr
    bgp_asn   = local.aws_asn
    brokers   = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
    resolvers = [for ip in aws_route53_resolver_endpoint.inbound[0].ip_address : ip.ip]
    job_role  = aws_iam_role.stream_job[0].arn
    tunnels = flatten([for index, connection in aws_vpn_connection.gcp : [
      { gateway = tonumber(index), address = connection.tunnel1_address, inside_cidr = connection.tunnel1_inside_cidr },
      { gateway = tonumber(index), address = connection.tunnel2_address, inside_cidr = connection.tunnel2_inside_cidr },
    ]])
  } : null
}

output "vpn_secret_arns" {
  description = "The secrets with the tunnels' pre-shared keys, for infra-gcp's TF_VAR_vpn_keys."
  value       = [for connection in aws_vpn_connection.gcp : connection.preshared_key_arn]
}

output "stream_secret_arn" {
  description = "The secret with the stream job's Kafka password, for infra-gcp's TF_VAR_kafka_password."
  value       = aws_secretsmanager_secret.kafka["stream"].arn
}

output "argocd_values" {
  description = "Values of this cluster for the app of apps, helm/argocd."
  value       = jsonencode(local.argocd_values)
}
