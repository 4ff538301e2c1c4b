# Defaults are production's: what a file in env/ leaves out is the safe choice.

variable "environment" {
  description = "Which Tidemark this is. One Google project holds one environment."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "project" {
  description = "The Google project's id. It holds nothing but this."
  type        = string
}

variable "region" {
  description = "Google region. europe-west3 and AWS's eu-central-1 both stand in Frankfurt: a few milliseconds from cloud to cloud."
  type        = string
  default     = "europe-west3"
}

variable "zone" {
  description = "Letter of the zone the job runs in. One zone: its processes talk all the time, and its state is in a regional bucket."
  type        = string
  default     = "b"
}

variable "cidr" {
  description = "Addresses of the job's subnet; must not overlap infra-aws."
  type        = string
  default     = "10.60.0.0/20"
}

variable "protect" {
  description = "Deletion protection on what holds data."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long old versions of objects are kept."
  type        = number
  default     = 30
}

variable "runtime" {
  description = "What runs the job: `gce`, a stateful instance group with a systemd unit; or `dataproc`, a YARN application on a cluster of one master and two workers."
  type        = string
  default     = "gce"

  validation {
    condition     = contains(["dataproc", "gce"], var.runtime)
    error_message = "runtime must be dataproc or gce."
  }
}

variable "job" {
  description = "The job: how many processes, each with how many workers, on which machines. More than one process needs the program's `supervise`. At most `sink_slots` workers have windows and publish; it may change at any start."
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
  description = "The Kafka user's password, copied from AWS (README.md). Used when secrets_version changes, else dropped."
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
  description = "Who is told when an alert goes off."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address: without one, nobody hears of an alert."
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
    error_message = "HA VPN to AWS is four tunnels."
  }
}

variable "vpn_keys" {
  description = "The tunnels' pre-shared keys, in the order of aws.tunnels. The provider keeps them in the state: guard its bucket."
  type        = list(string)
  default     = []
  sensitive   = true

  validation {
    condition     = length(var.vpn_keys) == (var.aws == null ? 0 : 4)
    error_message = "One key for each tunnel."
  }
}

variable "aws_pipeline_role" {
  description = "Name of the AWS role whose holder may upload a new binary, without a key; null for nobody."
  type        = string
  default     = null
}

variable "key_ring" {
  description = "Raise by one after a destroy, before the next apply: the provider leaves the ring where it is, and Google keeps the names of keys for good."
  type        = number
  default     = 1
}
