# Assertions about production. tests/check.sh runs them with env/prod.tfvars against the real provider's schema; AWS itself is
# mocked.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  kafka_passwords    = { services = "only-for-tests-0123456789", stream = "only-for-tests-9876543210" }
  database_passwords = { orders = "only-for-tests-0123456789", users = "only-for-tests-9876543210" }
}

run "alone" {
  command = apply

  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot
    error_message = "The database is in one zone, or can be deleted by mistake."
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period == 7 && aws_db_instance.this.manage_master_user_password && aws_db_instance.this.storage_encrypted && !aws_db_instance.this.publicly_accessible
    error_message = "The database must have seven days of backups, a password managed by AWS, encryption, and no public address."
  }

  assert {
    condition     = [for p in aws_db_parameter_group.this.parameter : p.value if p.name == "require_secure_transport"] == ["1"]
    error_message = "MySQL must refuse connections without TLS."
  }

  assert {
    condition     = toset(keys(aws_dynamodb_table.this)) == toset(["products", "product-reservations", "analytics-counts", "analytics-results", "analytics-windows", "files", "notifications"])
    error_message = "The tables are not those of the services."
  }

  assert {
    condition     = alltrue([for table in aws_dynamodb_table.this : table.point_in_time_recovery[0].enabled && table.server_side_encryption[0].enabled && table.deletion_protection_enabled])
    error_message = "A table lacks point-in-time recovery, the customer-managed key or deletion protection."
  }

  assert {
    condition     = alltrue([for name in ["analytics-counts", "analytics-results", "analytics-windows", "notifications", "product-reservations"] : aws_dynamodb_table.this[name].ttl[0].enabled])
    error_message = "Items of temporary interest must expire."
  }

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "The Kubernetes API must be private."
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"])
    error_message = "Kubernetes secrets must be encrypted with the customer-managed key."
  }

  assert {
    condition     = aws_eks_node_group.this.scaling_config[0].desired_size == 2 && aws_eks_node_group.this.scaling_config[0].max_size > 2
    error_message = "Two nodes, with room to grow."
  }

  assert {
    condition     = contains(keys(aws_eks_addon.this), "metrics-server") && contains(keys(aws_eks_addon.before_nodes), "eks-pod-identity-agent")
    error_message = "The autoscalers need metrics-server, the pods their identity."
  }

  assert {
    condition     = length(setsubtract(["users", "products", "orders", "notifications", "analytics", "gateway"], keys(aws_iam_role.pod))) == 0
    error_message = "One role for each service."
  }

  assert {
    condition     = aws_msk_cluster.this.number_of_broker_nodes == 3 && length(aws_msk_cluster.this.broker_node_group_info[0].client_subnets) == 3
    error_message = "Three brokers in three zones."
  }

  assert {
    condition     = aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].client_broker == "TLS" && aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].in_cluster
    error_message = "Kafka must speak TLS only."
  }

  assert {
    condition     = !aws_msk_cluster.this.client_authentication[0].unauthenticated && aws_msk_cluster.this.client_authentication[0].sasl[0].scram && aws_msk_cluster.this.client_authentication[0].sasl[0].iam
    error_message = "Kafka must authenticate clients by SCRAM or IAM."
  }

  assert {
    condition     = alltrue([for line in ["min.insync.replicas=2", "default.replication.factor=3", "unclean.leader.election.enable=false", "transaction.state.log.min.isr=2", "auto.create.topics.enable=false", "log.cleanup.policy=delete"] : strcontains(aws_msk_configuration.this.server_properties, line)])
    error_message = "Kafka's settings must keep acknowledged records."
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.kafka : startswith(secret.name, "AmazonMSK_") && secret.kms_key_id == aws_kms_key.this["streaming"].arn])
    error_message = "MSK accepts only secrets with its prefix under a customer-managed key."
  }

  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.this : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "A bucket could be made public."
  }

  assert {
    condition     = alltrue([for versioning in aws_s3_bucket_versioning.this : versioning.versioning_configuration[0].status == "Enabled"])
    error_message = "A bucket has no versions."
  }

  assert {
    condition     = aws_lambda_function.file_processor.architectures == tolist(["arm64"]) && aws_lambda_function.file_processor.dead_letter_config[0].target_arn == aws_sqs_queue.failed_files.arn
    error_message = "The file processor is an arm64 function with a dead-letter queue."
  }

  assert {
    condition     = var.lambda_zip == "../target/lambda/file-processor/arm64/bootstrap.zip" && aws_lambda_function.file_processor.filename == var.lambda_zip
    error_message = "The zip is not the one that services/file-processor/package.sh makes."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_subnet.private) == 3 && length(aws_subnet.public) == 3 && length(aws_subnet.database) == 3
    error_message = "Three zones, each with its own NAT."
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 7 && length(aws_vpc_endpoint.gateway) == 2
    error_message = "Calls to AWS must stay inside the VPC."
  }

  assert {
    condition     = length(aws_vpn_connection.gcp) == 0 && length(aws_route53_resolver_endpoint.inbound) == 0 && output.for_gcp == null
    error_message = "Without the other cloud's addresses there is nothing to connect to."
  }
}

run "linked" {
  command = apply

  variables {
    gcp = {
      vpn_addresses   = ["198.51.100.1", "198.51.100.2"]
      bgp_asn         = 64514
      cidr            = "10.60.0.0/20"
      job_identity_id = "100000000000000000000"
    }
  }

  assert {
    condition     = length(aws_vpn_connection.gcp) == 2 && length(output.for_gcp.tunnels) == 4
    error_message = "Two connections, four tunnels."
  }

  assert {
    condition     = length(distinct(flatten([for c in aws_vpn_connection.gcp : [c.tunnel1_inside_cidr, c.tunnel2_inside_cidr]]))) == 4
    error_message = "Four tunnels with four networks of their own."
  }

  assert {
    condition     = alltrue([for c in aws_vpn_connection.gcp : !c.static_routes_only && c.tunnel1_ike_versions == toset(["ikev2"]) && c.preshared_key_storage == "SecretsManager"])
    error_message = "Routes by BGP, IKEv2, and no pre-shared key in the state."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.from_gcp : rule.cidr_ipv4]) == toset(["10.60.0.0/20", "35.199.192.0/19"])
    error_message = "Brokers open to the job's network, the resolver to Cloud DNS, and nothing else."
  }

  assert {
    condition     = jsondecode(aws_iam_role.stream_job[0].assume_role_policy).Statement[0].Condition.StringEquals["accounts.google.com:sub"] == "100000000000000000000"
    error_message = "Only the one service account may take the job's role."
  }
}

run "lets_imports_in" {
  command = plan

  variables {
    imports = {
      api_url        = "https://shop.example.com/api"
      service_secret = "only-for-tests-0123456789-0123456789"
    }
  }

  assert {
    condition     = nonsensitive(aws_lambda_function.file_processor.environment[0].variables["TIDEMARK_PRODUCTS_URL"]) == "https://shop.example.com/api"
    error_message = "The file processor must know where the catalogue is."
  }
}

run "refuses_an_open_api" {
  command = plan

  variables {
    cluster     = { public_endpoint = true }
    admin_cidrs = []
  }

  expect_failures = [var.cluster]
}

run "refuses_everyone_as_administrator" {
  command = plan

  variables {
    admin_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.admin_cidrs]
}

run "refuses_two_zones" {
  command = plan

  variables {
    zones = ["a", "b", "b"]
  }

  expect_failures = [var.zones]
}
