# Keys, and secrets without their values in any file, plan or state: passwords come by an ephemeral variable, go to Secrets
# Manager by a write-only argument, and are read there by the identities in identity.tf.

locals {
  keys = {
    cluster   = "Kubernetes secrets"
    data      = "The database, tables, uploads and secrets"
    logs      = "Logs and alarms"
    streaming = "Kafka's storage and its users' passwords"
  }

  # AWS's services that use a key in their own name. All others use it in the name of a role in identity.tf.
  key_users = {
    logs = [
      {
        Sid       = "LogGroupsOfThisAccount"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${var.region}:${local.account}:*" } }
      },
      {
        Sid       = "AlarmsOfThisAccount"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
    ]
  }

  # The users of Kafka, and the secrets with their passwords. Each program has its own user, so that a single one can be revoked.
  kafka_users = {
    services = "AmazonMSK_${local.name}"
    stream   = "AmazonMSK_${local.name}-stream"
  }

  # MySQL's users, one for each service, with rights to its own tables. The migrations create them (`platform migrate`).
  database_users = toset(["orders", "users"])

  # A deleted secret keeps its name during its recovery window. Environments that are destroyed and recreated have no window.
  recovery_days = var.protect ? 30 : 0

  # Secrets whose values a person or a pipeline sets: `aws secretsmanager put-secret-value`, see README.md.
  given_secrets = {
    "services/auth"      = "The secret by which services know each other"
    "users/admin"        = "E-mail address and password of the first admin"
    "notifications/smtp" = "User and password of the mail server"
  }
}

resource "aws_kms_key" "this" {
  for_each = local.keys

  description             = "${local.name}: ${each.value}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  # The first statement is AWS's default: it leaves the decision to IAM policies. Without it a key can become unmanageable for ever.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([{
      Sid       = "DecidedByIam"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }], try(local.key_users[each.key], []))
  })

  tags = { Name = "${local.name}-${each.key}" }
}

resource "aws_kms_alias" "this" {
  for_each = aws_kms_key.this

  name          = "alias/${local.name}-${each.key}"
  target_key_id = each.value.key_id
}

# --- Kafka's users. MSK requires this prefix of the name, and a customer-managed key.

resource "aws_secretsmanager_secret" "kafka" {
  #checkov:skip=CKV2_AWS_57:Rotated by raising secrets_version: a password that changes alone would cut off the other cloud, which holds a copy
  for_each = local.kafka_users

  name        = each.value
  description = "Kafka user ${each.key}"
  kms_key_id  = aws_kms_key.this["streaming"].arn

  recovery_window_in_days = local.recovery_days
}

resource "aws_secretsmanager_secret_version" "kafka" {
  for_each = aws_secretsmanager_secret.kafka

  secret_id                = each.value.id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = jsonencode({
    username = each.key
    password = var.kafka_passwords[each.key]
  })
}

resource "aws_secretsmanager_secret_policy" "kafka" {
  for_each = aws_secretsmanager_secret.kafka

  secret_arn = each.value.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "BrokersReadIt"
      Effect    = "Allow"
      Principal = { Service = "kafka.amazonaws.com" }
      Action    = "secretsmanager:GetSecretValue"
      Resource  = each.value.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

# --- MySQL's users

resource "aws_secretsmanager_secret" "database" {
  #checkov:skip=CKV2_AWS_57:Rotated by raising secrets_version, as Kafka's; MySQL lets the old password in until the one after it
  for_each = local.database_users

  name        = "${local.name}/mysql/${each.key}"
  description = "MySQL user ${each.key}"
  kms_key_id  = aws_kms_key.this["data"].arn

  recovery_window_in_days = local.recovery_days
}

resource "aws_secretsmanager_secret_version" "database" {
  for_each = aws_secretsmanager_secret.database

  secret_id                = each.value.id
  secret_string_wo_version = var.secrets_version
  secret_string_wo = jsonencode({
    username = each.key
    password = var.database_passwords[each.key]
  })
}

# --- Secrets that people set

resource "aws_secretsmanager_secret" "given" {
  #checkov:skip=CKV2_AWS_57:Issued by people or third parties: there is nothing a rotation function could ask for a new value
  for_each = local.given_secrets

  name        = "${local.name}/${each.key}"
  description = each.value
  kms_key_id  = aws_kms_key.this["data"].arn

  recovery_window_in_days = local.recovery_days
}
