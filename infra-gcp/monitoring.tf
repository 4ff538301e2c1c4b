# The metrics of Google itself. The chart has the job's own metrics and alerts: Prometheus scrapes the job through the tunnel.

locals {
  # One row for each alert: a filter, the aggregation, and the threshold.
  alerts = merge(
    local.linked ? {
      tunnel-down = {
        what   = "A VPN tunnel to AWS is down: the others carry the traffic"
        filter = "resource.type = \"vpn_gateway\" AND metric.type = \"vpn.googleapis.com/tunnel_established\""
        how    = "ALIGN_MAX"
        when   = ["COMPARISON_LT", 1]
        lasts  = "300s"
      }
    } : {},
    local.has_kafka ? {
      job-errors = {
        what   = "The job writes errors: somebody must act"
        filter = "metric.type = \"logging.googleapis.com/user/${google_logging_metric.errors.name}\" AND resource.type = \"${local.on_gce ? "gce_instance" : "cloud_dataproc_job"}\""
        how    = "ALIGN_RATE"
        when   = ["COMPARISON_GT", 0]
        lasts  = "60s"
      }
    } : {},
    local.on_gce ? {
      machines-missing = {
        what   = "The job has fewer machines than processes"
        filter = "resource.type = \"instance_group\" AND metric.type = \"compute.googleapis.com/instance_group/size\""
        how    = "ALIGN_MIN"
        when   = ["COMPARISON_LT", var.job.processes]
        lasts  = "600s"
      }
    } : {},
    local.on_dataproc ? {
      application-gone = {
        what   = "YARN runs no application: the job has given up"
        filter = "resource.type = \"cloud_dataproc_cluster\" AND metric.type = \"dataproc.googleapis.com/cluster/yarn/apps\" AND metric.labels.status = \"running\""
        how    = "ALIGN_MAX"
        when   = ["COMPARISON_LT", 1]
        lasts  = "300s"
      }
    } : {},
  )
}

resource "google_logging_metric" "errors" {
  name        = "${local.name}-job-errors"
  description = "Lines of the job's log at level error"

  # The job writes a line of JSON for each event: to the machine's console, or to its YARN container's log. If an agent parses the
  # line as JSON, the entry has its severity. stream/order-analytics/tests/it/logs.rs compares lines of the program with this
  # filter.
  filter = "textPayload : \"\\\"severity\\\":\\\"ERROR\\\"\" OR jsonPayload.message : \"\\\"severity\\\":\\\"ERROR\\\"\" OR (severity = ERROR AND jsonPayload.target : \"stream\")"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }
}

resource "google_monitoring_notification_channel" "email" {
  display_name = "${local.name} by mail"
  type         = "email"
  labels       = { email_address = var.alert_email }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  display_name          = "${local.name}: ${each.value.what}"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = [google_monitoring_notification_channel.email.name]

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = each.value.filter
      comparison      = each.value.when[0]
      threshold_value = each.value.when[1]
      duration        = each.value.lasts

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = each.value.how
      }
    }
  }

  documentation {
    content = "See infra-gcp/README.md, \"Troubleshooting\"."
  }
}
