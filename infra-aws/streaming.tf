# Kafka: three brokers, one in each zone. Programs log in by password over TLS (SASL/SCRAM, port 9096, for which librdkafka needs no
# callback), people and their tools by IAM (port 9098). Connections without TLS or without a login are refused.

resource "aws_msk_configuration" "this" {
  # Each version of Kafka has its own configuration, which is created before the old one is deleted. So it has a name of its own,
  # too.
  name           = "${local.name}-${replace(var.kafka.version, ".", "-")}"
  kafka_versions = [var.kafka.version]
  description    = "Durable by default; transactions and progress that outlive a long pause"

  server_properties = join("\n", [for key, value in {
    # The programs that own topics create them with the settings they need. Compaction is set for single topics, not here: the keys
    # of results name users, and compaction would keep one record of each user.
    "auto.create.topics.enable"      = false
    "default.replication.factor"     = 3
    "min.insync.replicas"            = 2
    "unclean.leader.election.enable" = false
    "num.partitions"                 = 4
    "log.cleanup.policy"             = "delete"
    "log.retention.hours"            = 168

    # For exactly once: a transaction is short (the job's own limit is 15 s), and its log is as safe as the data. Transactional ids
    # and their progress must survive a job that is stopped over a holiday.
    "transaction.max.timeout.ms"               = 60000
    "transaction.state.log.replication.factor" = 3
    "transaction.state.log.min.isr"            = 2
    "transactional.id.expiration.ms"           = 2592000000
    "offsets.topic.replication.factor"         = 3
    "offsets.retention.minutes"                = 43200
  } : "${key}=${value}"])

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_msk_cluster" "this" {
  cluster_name           = local.name
  kafka_version          = var.kafka.version
  number_of_broker_nodes = 3
  enhanced_monitoring    = var.kafka.monitoring

  broker_node_group_info {
    instance_type   = var.kafka.instance_type
    client_subnets  = [for subnet in aws_subnet.brokers : subnet.id]
    security_groups = [aws_security_group.this["brokers"].id]

    storage_info {
      ebs_storage_info {
        volume_size = var.kafka.storage_gb
      }
    }

    connectivity_info {
      public_access {
        type = "DISABLED"
      }
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }

  client_authentication {
    unauthenticated = false

    sasl {
      iam   = true
      scram = true
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.this["streaming"].arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  open_monitoring {
    prometheus {
      jmx_exporter {
        enabled_in_broker = true
      }

      node_exporter {
        enabled_in_broker = true
      }
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.this["kafka"].name
      }
    }
  }

  # After creation, the autoscaling below sets the size.
  lifecycle {
    ignore_changes = [broker_node_group_info[0].storage_info[0].ebs_storage_info[0].volume_size]
  }
}

resource "aws_msk_scram_secret_association" "this" {
  cluster_arn     = aws_msk_cluster.this.arn
  secret_arn_list = [for secret in aws_secretsmanager_secret.kafka : secret.arn]

  depends_on = [aws_secretsmanager_secret_version.kafka, aws_secretsmanager_secret_policy.kafka]
}

resource "aws_appautoscaling_target" "kafka_storage" {
  service_namespace  = "kafka"
  scalable_dimension = "kafka:broker-storage:VolumeSize"
  resource_id        = aws_msk_cluster.this.arn
  min_capacity       = 1
  max_capacity       = var.kafka.storage_max_gb
}

resource "aws_appautoscaling_policy" "kafka_storage" {
  name               = "${local.name}-kafka-storage"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.kafka_storage.service_namespace
  scalable_dimension = aws_appautoscaling_target.kafka_storage.scalable_dimension
  resource_id        = aws_appautoscaling_target.kafka_storage.resource_id

  target_tracking_scaling_policy_configuration {
    target_value     = 60
    disable_scale_in = true # EBS volumes only grow

    predefined_metric_specification {
      predefined_metric_type = "KafkaBrokerStorageUtilization"
    }
  }
}
