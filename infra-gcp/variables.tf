# The defaults are those of production, so a value that a file in env/ leaves out is the safe one.

variable "environment" {
  description = "The environment. One Google project holds one."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "project" {
  description = "The Google project's id. The project must contain nothing else."
  type        = string
}

variable "region" {
  description = "Google region. europe-west3 and AWS's eu-central-1 are both in Frankfurt: a few milliseconds from cloud to cloud."
  type        = string
  default     = "europe-west3"
}

variable "zone" {
  description = "Letter of the job's zone. There is one, because its processes exchange data all the time, and its state is in a regional bucket."
  type        = string
  default     = "b"
}

variable "cidr" {
  description = "Addresses of the job's subnet; must not overlap infra-aws."
  type        = string
  default     = "10.60.0.0/20"
}

variable "protect" {
  description = "Deletion protection of stores."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "The retention of old versions of objects."
  type        = number
  default     = 30
}

variable "runtime" {
  description = "The runtime of the job: `gce`, a stateful instance group with a systemd unit; or `dataproc`, a YARN application on a cluster of one master and two workers."
  type        = string
  default     = "gce"

  validation {
    condition     = contains(["dataproc", "gce"], var.runtime)
    error_message = "runtime must be dataproc or gce."
  }
}

variable "job" {
  description = "The job: the number of processes, the workers of each, and the machines. More than one process needs the program's `supervise`. At most `sink_slots` workers have windows and publish; it may change at any start."
  type = object({
    name         = optional(string, "order-analytics")
    processes    = optional(number, 1)
    workers      = optional(number, 2)
    sink_slots   = optional(number, 64)
    memory_mb    = optional(number, 2048)
    machine_type = optional(string, "n2d-standard-2")
  })
  default = {}

  validation {
    condition     = var.job.sink_slots >= 1 && var.job.sink_slots <= 1024
    error_message = "The program takes from 1 to 1024 slots."
  }

  validation {
    condition     = var.job.processes * var.job.workers <= var.job.sink_slots
    error_message = "There are more workers than slots: some would have no windows. Raise sink_slots."
  }
}

variable "binary" {
  description = "The job's program, for x86-64 Linux: `cargo build --release -p order-analytics`."
  type        = string
  default     = "../target/release/order-analytics"
}

variable "kafka_password" {
  description = "The Kafka user's password, copied from AWS (README.md). Used when secrets_version changes, otherwise dropped."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "secrets_version" {
  description = "Raise by one when the password has changed."
  type        = number
  default     = 1
}

variable "alert_email" {
  description = "The receiver of alerts."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address; without it, alerts have no receiver."
  }
}

variable "aws" {
  description = "The other side, from infra-aws's output `for_gcp`. Null until it exists: no tunnels, no names, no job."
  type = object({
    account   = string
    region    = string
    vpc_cidr  = string
    bgp_asn   = number
    brokers   = string
    resolvers = list(string)
    job_role  = string
    tunnels = list(object({
      gateway     = number
      address     = string
      inside_cidr = string
    }))
  })
  default = null

  validation {
    condition     = var.aws == null || try(length(var.aws.tunnels), 0) == 4
    error_message = "HA VPN to AWS needs four tunnels."
  }
}

variable "kafka" {
  description = "A Kafka that is reached without AWS: Google's managed one, Confluent Cloud, one's own. Its brokers have TLS with a certificate of a public authority. Null: the brokers are those on AWS."
  type = object({
    brokers   = string
    user      = string
    mechanism = optional(string, "SCRAM-SHA-512")
    cidrs     = optional(list(string), ["0.0.0.0/0"])
  })
  default = null

  validation {
    condition     = var.kafka == null || var.aws == null
    error_message = "The job has one Kafka: set kafka or aws, not both."
  }

  validation {
    condition     = var.kafka == null || can([for broker in split(",", var.kafka.brokers) : regex("^[^:\\s]+:[0-9]+$", broker)])
    error_message = "kafka.brokers must be host:port, comma separated."
  }

  validation {
    condition     = var.kafka == null || contains(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], try(var.kafka.mechanism, ""))
    error_message = "kafka.mechanism must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
  }

  validation {
    condition     = var.kafka == null || var.kafka_password != null
    error_message = "Set TF_VAR_kafka_password to the password of kafka.user."
  }
}

variable "vpn_keys" {
  description = "The tunnels' pre-shared keys, in the order of aws.tunnels. The provider keeps them in the state: guard its bucket."
  type        = list(string)
  default     = []
  sensitive   = true

  validation {
    condition     = length(var.vpn_keys) == (var.aws == null ? 0 : 4)
    error_message = "vpn_keys must have one key for each tunnel."
  }
}

variable "aws_pipeline_role" {
  description = "Name of the AWS role that may upload a new binary, without a key; null for none."
  type        = string
  default     = null
}

variable "key_ring" {
  description = "Raise by one after a destroy, before the next apply: the provider does not delete the ring, and names of keys cannot be used again."
  type        = number
  default     = 1
}
