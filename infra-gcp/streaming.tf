# The job: its settings, and how each runtime starts it.

locals {
  # The same names on a laptop, in the chart and here.
  job_environment = local.has_kafka ? {
    TIDEMARK_BROKERS        = local.kafka.brokers
    TIDEMARK_CHECKPOINTS    = "gs://${google_storage_bucket.this["checkpoints"].name}/${var.job.name}"
    TIDEMARK_JOB            = var.job.name
    TIDEMARK_WORKERS        = tostring(var.job.workers)
    TIDEMARK_SINK_SLOTS     = tostring(var.job.sink_slots)
    TIDEMARK_STATUS_ADDRESS = "0.0.0.0:${local.status_port}"
    TIDEMARK_LOG            = "info"
    TIDEMARK_LOG_FORMAT     = "json"

    # The settings of bootstrap/run.sh.
    JOB_PROCESSES    = tostring(var.job.processes)
    JOB_CLUSTER_PORT = tostring(local.cluster_port)
    JOB_KAFKA_USER   = local.kafka.user
    JOB_KAFKA_LOGIN  = local.kafka.mechanism
    JOB_SECRET       = "${google_secret_manager_secret.kafka.id}/versions/latest"
    JOB_RENDEZVOUS   = "${google_storage_bucket.this["checkpoints"].name}/${var.job.name}-rendezvous"
  } : {}

  # gce: a unit that systemd keeps alive, written by the machine's start-up script.
  startup_script = templatefile("${path.module}/bootstrap/startup.sh", {
    release = local.release_url
    run     = local.run_url
    unit    = file("${path.module}/bootstrap/order-analytics.service")
    hosts   = join(",", [for machine in local.machines : "${machine}:${local.cluster_port}"])
    environment = join("\n", [
      for name, value in local.job_environment : "${name}=${value}"
    ])
  })

  # dataproc: there is no job type for a native program, so this uses YARN's example application, DistributedShell. It requests
  # containers, copies the two files into each and runs a command there.
  distributed_shell = "/usr/lib/hadoop-yarn/hadoop-yarn-applications-distributedshell.jar"

  distributed_shell_args = concat(
    [
      "-jar", local.distributed_shell,
      "-appname", var.job.name,
      "-num_containers", tostring(var.job.processes),
      "-container_memory", tostring(var.job.memory_mb),
      "-container_vcores", tostring(var.job.workers),
      "-master_memory", "512",
      # The shell that YARN starts would end at the SIGTERM that drains the job, and YARN would kill the job then.
      "-shell_command", "exec bash run.sh",
      "-localize_files", "order-analytics,run.sh",
      # Without it the client ends the application after ten minutes. This is the greatest value, 24 days. Then Dataproc restarts
      # the job, which continues from its checkpoint.
      "-timeout", "2147483647",
    ],
    flatten([for name, value in local.job_environment : ["-shell_env", "${name}=${value}"]]),
  )
}

resource "google_dataproc_job" "job" {
  count = local.on_dataproc ? 1 : 0

  region       = var.region
  force_delete = true # a running job is cancelled, not waited for

  placement {
    cluster_name = google_dataproc_cluster.this[0].name
  }

  hadoop_config {
    main_class    = "org.apache.hadoop.yarn.applications.distributedshell.Client"
    jar_file_uris = ["file://${local.distributed_shell}"]
    file_uris     = [local.release_url, local.run_url]
    args          = local.distributed_shell_args
  }

  # The supervisor in the container restarts the job; this is for the loss of a supervisor or a machine.
  scheduling {
    max_failures_per_hour = 10
    max_failures_total    = 240
  }

  depends_on = [
    google_secret_manager_secret_iam_member.job,
    google_secret_manager_secret_version.kafka,
    google_storage_bucket_iam_member.job,
  ]
}
