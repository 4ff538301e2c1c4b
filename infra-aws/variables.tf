# Defaults are production's: what a file in env/ leaves out is the safe choice.

variable "environment" {
  description = "Which Tidemark this is. One AWS account holds one environment, for tables keep their plain names."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "region" {
  description = "AWS region. eu-central-1 and Google's europe-west3 both stand in Frankfurt: a few milliseconds from cloud to cloud."
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
  description = "One NAT gateway for each zone, so that a zone's fall takes only itself along. False: one for all."
  type        = bool
  default     = true
}

variable "interface_endpoints" {
  description = "AWS services reached inside the VPC. Each costs about 22 USD a month over three zones; without, NAT carries the traffic."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "eks-auth", "kms", "logs", "secretsmanager", "sts"]
}

variable "protect" {
  description = "Deletion protection on what holds data, and a last snapshot when the database goes."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps logs."
  type        = number
  default     = 365
}

variable "admin_cidrs" {
  description = "Networks people reach the Kubernetes API from: public addresses in dev, the office's side of a VPN in prod."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : tonumber(split("/", cidr)[1]) >= 16])
    error_message = "admin_cidrs must be networks of /16 or smaller: the API is not for everyone."
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
    version        = optional(string, "8.4") # which patch of it runs is AWS's, in the maintenance window
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
  description = "Passwords of Kafka's users, new ones each time: `export TF_VAR_kafka_passwords=$(bootstrap/passwords.sh)`. Used when secrets_version changes, else dropped."
  type = object({
    services = string
    stream   = string
  })
  ephemeral = true
  sensitive = true

  validation {
    condition     = alltrue([for password in values(var.kafka_passwords) : length(password) >= 24])
    error_message = "A password that nobody types can have 24 characters."
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
  description = "Who is told when an alarm of CloudWatch or an alert of Prometheus goes off."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address: without one, nobody hears of an alarm."
  }
}

variable "cluster_admins" {
  description = "ARNs of the IAM roles and users that administer the cluster. Whoever applies this must be one of them."
  type        = set(string)

  validation {
    condition     = length(var.cluster_admins) > 0 && alltrue([for arn in var.cluster_admins : can(regex("^arn:aws:iam::[0-9]+:(role|user)/", arn))])
    error_message = "At least one ARN of an IAM role or user: without one, nobody gets into the cluster."
  }
}

variable "domain" {
  description = "The shop's name, and the Route 53 zone that it lies in. Null: no certificate, so no public listener."
  type = object({
    host    = string
    zone_id = string
  })
  default = null

  validation {
    condition     = var.environment != "prod" || var.domain != null
    error_message = "prod listens on HTTPS only and needs a certificate: say which host, in which zone."
  }
}

variable "files_at_once" {
  description = "Copies of the file processor reserved for it. -1 reserves none: an account that is new may have 10 in all, and must keep as many free."
  type        = number
  default     = -1
}

variable "release_repository" {
  description = "The GitHub repository, owner/name, whose release workflow pushes images here. Null: no workflow does."
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
  description = "Argo CD and the repository it then brings everything else from. Null leaves the cluster empty."
  type = object({
    repository    = string
    revision      = optional(string, "main")
    chart_version = optional(string, "10.1.1") # Argo CD 3.4.4
  })
  default = null
}
