# Dev is cheaper without being less secure: the same encryption and access rules, fewer replicas.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  kafka_passwords    = { services = "only-for-tests-0123456789", stream = "only-for-tests-9876543210" }
  database_passwords = { orders = "only-for-tests-0123456789", users = "only-for-tests-9876543210" }
}

run "cheap" {
  command = apply

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_vpc_endpoint.interface) == 0 && !aws_db_instance.this.multi_az
    error_message = "Dev pays for one NAT gateway, no interface endpoint and one database."
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(var.admin_cidrs)
    error_message = "A public API endpoint is for the listed networks only."
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period == 7 && aws_db_instance.this.performance_insights_enabled && aws_db_instance.this.instance_class != "db.t4g.micro"
    error_message = "Backups and Performance Insights are in dev as well."
  }

  assert {
    condition     = alltrue([for table in aws_dynamodb_table.this : table.point_in_time_recovery[0].enabled && !table.deletion_protection_enabled])
    error_message = "Tables can be recovered, and can be thrown away."
  }

  assert {
    condition     = aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].client_broker == "TLS"
    error_message = "Kafka must speak TLS only."
  }
}
