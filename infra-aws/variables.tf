# The defaults are those of production, so a value that a file in env/ leaves out is the safe one.

variable "environment" {
  description = "The environment. One AWS account holds one, because the names of tables do not contain it."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "region" {
  description = "AWS region. eu-central-1 and Google's europe-west3 are both in Frankfurt: a few milliseconds from cloud to cloud."
  type        = string
  default     = "eu-central-1"
}

variable "zones" {
  description = "Letters of the three availability zones."
  type        = list(string)
  default     = ["a", "b", "c"]

  validation {
    condition     = length(distinct(var.zones)) == 3
    error_message = "Kafka keeps three replicas and needs three different zones."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC, a /16 that overlaps neither infra-gcp nor the office."
  type        = string

  validation {
    condition     = try(cidrnetmask(var.vpc_cidr), "") == "255.255.0.0"
    error_message = "vpc_cidr must be a /16: the subnets are cut from it."
  }
}

variable "nat_per_zone" {
  description = "One NAT gateway for each zone, so that the loss of a zone affects no other. False: one for all."
  type        = bool
  default     = true
}

variable "interface_endpoints" {
  description = "AWS services with an endpoint inside the VPC. Each costs about 22 USD a month over three zones; without an endpoint the traffic goes through NAT."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "eks-auth", "kms", "logs", "secretsmanager", "sts"]
}

variable "protect" {
  description = "Deletion protection of stores, and a last snapshot when the database is deleted."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "The retention of logs in CloudWatch."
  type        = number
  default     = 365
}

variable "admin_cidrs" {
  description = "Networks from which people reach the Kubernetes API: public addresses in dev, the office's side of a VPN in prod."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : tonumber(split("/", cidr)[1]) >= 16])
    error_message = "admin_cidrs must be networks of /16 or smaller, because the API is not public."
  }
}

variable "cluster" {
  description = "The Kubernetes cluster and the bounds of its node group."
  type = object({
    version         = optional(string, "1.35")
    public_endpoint = optional(bool, false)
    instance_types  = optional(list(string), ["m7g.xlarge"])
    nodes_min       = optional(number, 2)
    nodes           = optional(number, 2)
    nodes_max       = optional(number, 6)
  })
  default = {}

  validation {
    condition     = !var.cluster.public_endpoint || length(var.admin_cidrs) > 0
    error_message = "A public endpoint without admin_cidrs would be open to the world."
  }
}

variable "database" {
  description = "MySQL. Performance Insights needs db.t4g.medium or larger."
  type = object({
    version        = optional(string, "8.4") # AWS chooses its patch, in the maintenance window
    instance_class = optional(string, "db.r7g.large")
    multi_az       = optional(bool, true)
    storage_gb     = optional(number, 100)
    storage_max_gb = optional(number, 1000)
  })
  default = {}
}

variable "kafka" {
  description = "Three MSK brokers, one a zone; storage grows by itself up to its maximum and never shrinks."
  type = object({
    version        = optional(string, "3.9.x.kraft")
    instance_type  = optional(string, "kafka.m7g.large")
    storage_gb     = optional(number, 100)
    storage_max_gb = optional(number, 1000)
    monitoring     = optional(string, "PER_TOPIC_PER_BROKER")
  })
  default = {}
}

variable "lambda_zip" {
  description = "The file processor's zip for arm64, as services/file-processor/package.sh makes it: a file named `bootstrap` inside."
  type        = string
  default     = "../target/lambda/file-processor/arm64/bootstrap.zip"
}

variable "imports" {
  description = "For the file processor's imports into the catalogue: the API's public address and the secret that services share (the chart's TIDEMARK_SERVICE_SECRET). Kept in the state. Null: imports end in the dead-letter queue."
  type = object({
    api_url        = string
    service_secret = string
  })
  default   = null
  sensitive = true

  validation {
    condition     = try(startswith(var.imports.api_url, "https://") && length(var.imports.service_secret) >= 32, var.imports == null)
    error_message = "An address like https://shop.example.com/api, and a secret of at least 32 characters."
  }
}

variable "kafka_passwords" {
  description = "Passwords of Kafka's users, new ones each time: `export TF_VAR_kafka_passwords=$(bootstrap/passwords.sh)`. Used when secrets_version changes, otherwise dropped."
  type = object({
    services = string
    stream   = string
  })
  ephemeral = true
  sensitive = true

  validation {
    condition     = alltrue([for password in values(var.kafka_passwords) : length(password) >= 24])
    error_message = "A password must have at least 24 characters."
  }
}

variable "database_passwords" {
  description = "Passwords of the services' MySQL users, as kafka_passwords: `export TF_VAR_database_passwords=$(bootstrap/passwords.sh database)`."
  type = object({
    orders = string
    users  = string
  })
  ephemeral = true
  sensitive = true

  validation {
    condition     = alltrue([for password in values(var.database_passwords) : can(regex("^[0-9A-Za-z-]{24,}$", password))])
    error_message = "At least 24 letters, digits and dashes: it is written into a statement of SQL."
  }
}

variable "secrets_version" {
  description = "Raise by one to give every user of Kafka and MySQL a new password."
  type        = number
  default     = 1
}

variable "alert_email" {
  description = "The receiver of CloudWatch's alarms and Prometheus' alerts."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address; without it, alarms have no receiver."
  }
}

variable "cluster_admins" {
  description = "ARNs of the IAM roles and users that administer the cluster. The one who applies this must be among them."
  type        = set(string)

  validation {
    condition     = length(var.cluster_admins) > 0 && alltrue([for arn in var.cluster_admins : can(regex("^arn:aws:iam::[0-9]+:(role|user)/", arn))])
    error_message = "cluster_admins needs at least one ARN of an IAM role or user; without it, the cluster has no administrator."
  }
}

variable "domain" {
  description = "The shop's name, and its Route 53 zone. Null: no certificate, so no public listener."
  type = object({
    host    = string
    zone_id = string
  })
  default = null

  validation {
    condition     = var.environment != "prod" || var.domain != null
    error_message = "prod listens on HTTPS only and needs a certificate: set the host and its zone."
  }
}

variable "files_at_once" {
  description = "The reserved concurrency of the file processor. -1 reserves none: a new account has 10 executions in all, and must keep as many unreserved."
  type        = number
  default     = -1
}

variable "release_repository" {
  description = "The GitHub repository, owner/name, whose release workflow pushes images here. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.release_repository == null || can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.release_repository))
    error_message = "release_repository must be owner/name."
  }
}

variable "gcp" {
  description = "The other side, from infra-gcp's output `for_aws`. Null until it exists: no VPN, no resolver, no role for the job."
  type = object({
    vpn_addresses   = list(string)
    bgp_asn         = number
    cidr            = string
    job_identity_id = string
    job_targets     = optional(list(string), []) # host:port of each process' metrics; none on Dataproc
  })
  default = null

  validation {
    condition     = var.gcp == null || try(length(var.gcp.vpn_addresses), 0) == 2
    error_message = "An HA VPN gateway has exactly two addresses."
  }
}

variable "argocd" {
  description = "Argo CD, and the repository from which it installs everything else. Null leaves the cluster empty."
  type = object({
    repository    = string
    revision      = optional(string, "main")
    chart_version = optional(string, "10.1.1") # Argo CD 3.4.4
  })
  default = null
}
