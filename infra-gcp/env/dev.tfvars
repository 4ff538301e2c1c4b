# Dev has no second cloud: there the job runs in the cluster on AWS (the chart's optional StatefulSet). This file is for testing
# infra-gcp itself: small machines, no protection, on Dataproc.
environment        = "dev"
protect            = false
log_retention_days = 7
runtime            = "dataproc"

job = {
  machine_type = "e2-standard-2"
}

# Set your own. This is an example without a mailbox.
alert_email = "operations@example.com"
