# The logs and metrics of AWS itself. The chart has the services' own metrics and alerts (Prometheus).

locals {
  log_groups = {
    cluster        = "/aws/eks/${local.name}/cluster"
    database-error = "/aws/rds/instance/${local.name}/error"
    database-slow  = "/aws/rds/instance/${local.name}/slowquery"
    file-processor = "/aws/lambda/${local.name}-file-processor"
    flow           = "/aws/vpc/${local.name}/flow"
    kafka          = "/aws/msk/${local.name}"
    pods           = "/aws/containerinsights/${local.name}/application"
    vpn            = "/aws/vpn/${local.name}"
  }

  # One row for each alarm. `missing` is the meaning of missing data.
  alarms = merge({
    database-cpu = {
      what   = "MySQL has been busy for a quarter of an hour"
      metric = ["AWS/RDS", "CPUUtilization", "Average"], of = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      when   = ["GreaterThanThreshold", 80], minutes = 15, missing = "missing"
    }
    database-storage = {
      what   = "MySQL has less than 10 GiB left and cannot grow"
      metric = ["AWS/RDS", "FreeStorageSpace", "Minimum"], of = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      when   = ["LessThanThreshold", 10 * 1024 * 1024 * 1024], minutes = 15, missing = "missing"
    }
    database-memory = {
      what   = "MySQL is close to swapping"
      metric = ["AWS/RDS", "FreeableMemory", "Minimum"], of = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      when   = ["LessThanThreshold", 200 * 1024 * 1024], minutes = 15, missing = "missing"
    }
    kafka-controller = {
      what   = "Kafka has no controller, or more than one"
      metric = ["AWS/Kafka", "ActiveControllerCount", "Maximum"], of = { "Cluster Name" = aws_msk_cluster.this.cluster_name }
      when   = ["LessThanThreshold", 1], minutes = 5, missing = "breaching"
    }
    kafka-offline = {
      what   = "Partitions of Kafka cannot be read or written"
      metric = ["AWS/Kafka", "OfflinePartitionsCount", "Maximum"], of = { "Cluster Name" = aws_msk_cluster.this.cluster_name }
      when   = ["GreaterThanThreshold", 0], minutes = 2, missing = "missing"
    }
    files-failed = {
      what   = "An upload could not be processed: its event waits in the dead-letter queue"
      metric = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"], of = { QueueName = aws_sqs_queue.failed_files.name }
      when   = ["GreaterThanThreshold", 0], minutes = 5, missing = "notBreaching"
    }
    files-throttled = {
      what   = "Uploads wait because the file processor is at its limit"
      metric = ["AWS/Lambda", "Throttles", "Sum"], of = { FunctionName = aws_lambda_function.file_processor.function_name }
      when   = ["GreaterThanThreshold", 0], minutes = 15, missing = "notBreaching"
    }
    },
    {
      for broker in [1, 2, 3] : "kafka-disk-${broker}" => {
        what   = "Broker ${broker} is running out of disk although storage should grow"
        metric = ["AWS/Kafka", "KafkaDataLogsDiskUsed", "Maximum"], of = { "Cluster Name" = aws_msk_cluster.this.cluster_name, "Broker ID" = tostring(broker) }
        when   = ["GreaterThanThreshold", 85], minutes = 15, missing = "missing"
      }
    },
    {
      for name, table in aws_dynamodb_table.this : "table-${name}" => {
        what   = "DynamoDB turns away writes to ${name}"
        metric = ["AWS/DynamoDB", "WriteThrottleEvents", "Sum"], of = { TableName = table.name }
        when   = ["GreaterThanThreshold", 0], minutes = 5, missing = "notBreaching"
      }
    },
    {
      for name, connection in aws_vpn_connection.gcp : "vpn-${name}" => {
        what   = "Both tunnels of VPN connection ${name} are down: nothing is left to lose"
        metric = ["AWS/VPN", "TunnelState", "Maximum"], of = { VpnId = connection.id }
        when   = ["LessThanThreshold", 1], minutes = 5, missing = "breaching"
      }
  })
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:A year in prod (variable log_retention_days); dev keeps two weeks
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this["logs"].arn
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = aws_kms_key.this["logs"].arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsOfThisAccount"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

# SNS sends the address a link. No message is delivered before it is opened.
resource "aws_sns_topic_subscription" "email" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alert_email
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.what
  namespace           = each.value.metric[0]
  metric_name         = each.value.metric[1]
  statistic           = each.value.metric[2]
  dimensions          = each.value.of
  comparison_operator = each.value.when[0]
  threshold           = each.value.when[1]
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
