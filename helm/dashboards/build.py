#!/usr/bin/env python3
"""Writes the dashboards beside this file: a panel is a line here, a screenful in Grafana's JSON.

  build.py            writes them
  build.py --check    fails if the written ones are not up to date

Every panel has a title, a unit, the datasource variable, and a legend for each query.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
REQUESTS = 'service=~"$service",route!~"/health.*|/metrics"'
POD = 'namespace="$namespace"'


def panel(title, unit, *queries, kind="timeseries", width=8, about=""):
    """A panel; each query is an expression and its legend."""
    targets = [
        {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend, "datasource": DATASOURCE}
        for i, (expr, legend) in enumerate(queries)
    ]
    if kind in ("stat", "table"):
        targets = [target | {"instant": True} for target in targets]
    return {
        "type": kind, "title": title, "description": about, "datasource": DATASOURCE, "targets": targets, "width": width,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if kind == "timeseries" else {},
    }


def stat(title, unit, expr, legend, about=""):
    """One number."""
    return panel(title, unit, (expr, legend), kind="stat", width=4, about=about)


def lay_out(rows):
    """Places the panels: rows from the top, each filled from the left and wrapped at 24 columns."""
    placed, top = [], 0
    for row_title, panels in rows:
        placed.append({"type": "row", "title": row_title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        top, left = top + 1, 0
        for entry in panels:
            width, height = entry.pop("width"), 4 if entry["type"] == "stat" else 8
            if left + width > 24:
                top, left = top + height, 0
            placed.append(entry | {"gridPos": {"x": left, "y": top, "w": width, "h": height}})
            left += width
        top += height
    return [entry | {"id": i + 1} for i, entry in enumerate(placed)]


def dashboard(name, title, about, variables, rows):
    """A dashboard as Grafana's sidecar loads it."""
    datasource = {"name": "datasource", "label": "Datasource", "type": "datasource", "query": "prometheus"}
    queried = [
        {"name": variable, "label": variable.capitalize(), "type": "query", "datasource": DATASOURCE, "refresh": 2,
         "query": {"query": query, "refId": variable}, "multi": multi, "includeAll": multi,
         "current": {"text": "All", "value": "$__all"} if multi else {}}
        for variable, query, multi in variables
    ]
    return {
        "uid": f"tidemark-{name}", "title": f"Tidemark / {title}", "description": about, "tags": ["tidemark"],
        "schemaVersion": 39, "editable": False, "timezone": "utc", "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": [datasource, *queried]},
        "panels": lay_out(rows),
    }


def quantile(q, by="service"):
    """The q-quantile of the requests' durations."""
    return (f"histogram_quantile({q}, sum by ({by}, le) "
            f"(rate(http_request_duration_seconds_bucket{{{REQUESTS}}}[$__rate_interval])))")


def share(condition, by="service"):
    """The share of replies that meet a condition; 0 if there are none."""
    total = f"sum by ({by}) (rate(http_requests_total{{{REQUESTS}}}[$__rate_interval]))"
    met = f"sum by ({by}) (rate(http_requests_total{{{condition},{REQUESTS}}}[$__rate_interval]))"
    return f"({met} or 0 * {total}) / ({total} > 0)"


SERVICES = dashboard(
    "services", "Services", "Rate, errors and durations of every service, as its callers see them.",
    [("service", "label_values(http_requests_total, service)", True)],
    [
        ("All services", [
            panel("Requests", "reqps", (f"sum by (service) (rate(http_requests_total{{{REQUESTS}}}[$__rate_interval]))", "{{service}}")),
            panel("Error rate", "percentunit", (share('status=~"5.."'), "{{service}}"), about="Replies with 5xx."),
            panel("Refused rate", "percentunit", (share('status=~"4.."'), "{{service}}"), about="Replies with 4xx: errors of the caller."),
            panel("P50", "s", (quantile(0.5), "{{service}}")),
            panel("P95", "s", (quantile(0.95), "{{service}}")),
            panel("P99", "s", (quantile(0.99), "{{service}}")),
        ]),
        ("Routes and saturation", [
            panel("Requests by route", "reqps", (f"topk(10, sum by (service, method, route) (rate(http_requests_total{{{REQUESTS}}}[$__rate_interval])))", "{{service}} {{method}} {{route}}")),
            panel("P99 by route", "s", ("topk(10, " + quantile(0.99, "service, method, route") + ")", "{{service}} {{method}} {{route}}")),
            panel("Requests under way", "short", ('sum by (service) (http_requests_in_flight{service=~"$service"})', "{{service}}")),
        ]),
        ("Gateway", [
            panel("Calls to upstreams that failed", "short", ("sum(rate(gateway_upstream_failures_total[5m])) * 60 or vector(0)", "a minute"), width=12, about="Unreachable, broken, too slow, busy, or not called because the circuit breaker is open."),
            panel("Calls sent again", "short", ("sum(rate(gateway_upstream_retries_total[5m])) * 60 or vector(0)", "a minute"), width=12),
        ]),
        ("Relay", [
            panel("Leaders", "short", ("sum(relay_leads)", "relays that lead"), about="One of the orders service's pods relays the outbox."),
            panel("Events in a batch", "short", ("sum(rate(relay_events_published_total[5m])) / (sum(rate(relay_batches_published_total[5m])) > 0)", "events")),
            panel("Failures", "short", ("sum(rate(relay_failures_total[5m])) * 60", "a minute"), about="Steps that were tried again."),
        ]),
        ("Objectives", [
            panel("Error budget spent per month at this pace", "percentunit", ('service:http_errors:ratio_rate1h{service=~"$service"} / 0.001', "{{service}}"), width=12, about="100 % spends the month's budget in a month."),
            panel("Latency budget spent per month at this pace", "percentunit", ('service:http_slow:ratio_rate1h{service=~"$service"} / 0.01', "{{service}}"), width=12, about="Replies over 100 ms, of which 1 % are allowed."),
        ]),
    ],
)

CLUSTER = dashboard(
    "cluster", "Cluster health", "Nodes, pods and autoscalers.",
    [("namespace", "label_values(kube_deployment_labels, namespace)", False)],
    [
        ("Now", [
            stat("Nodes ready", "short", 'sum(kube_node_status_condition{condition="Ready",status="true"})', "nodes"),
            stat("Pods running", "short", f'sum(kube_pod_status_phase{{{POD},phase="Running"}})', "pods"),
            stat("Pods pending", "short", f'sum(kube_pod_status_phase{{{POD},phase="Pending"}})', "pods"),
            stat("Unavailable replicas", "short", f"sum(kube_deployment_status_replicas_unavailable{{{POD}}})", "replicas"),
            stat("Restarts in an hour", "short", f"sum(increase(kube_pod_container_status_restarts_total{{{POD}}}[1h]))", "restarts"),
            stat("Disruptions allowed", "short", f"min(kube_poddisruptionbudget_status_pod_disruptions_allowed{{{POD}}})", "least"),
        ]),
        ("Nodes", [
            panel("CPU used", "percentunit", ('1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', "{{instance}}")),
            panel("Memory used", "percentunit", ("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "{{instance}}")),
            panel("Disk used", "percentunit", ('1 - node_filesystem_avail_bytes{mountpoint="/"} / node_filesystem_size_bytes{mountpoint="/"}', "{{instance}}")),
        ]),
        ("Pods and autoscalers", [
            panel("CPU by workload", "short", (f'sum by (container) (rate(container_cpu_usage_seconds_total{{{POD},container!=""}}[$__rate_interval]))', "{{container}}"), about="Cores."),
            panel("Memory by workload", "bytes", (f'sum by (container) (container_memory_working_set_bytes{{{POD},container!=""}})', "{{container}}")),
            panel("CPU throttled", "percentunit", (f"sum by (container) (rate(container_cpu_cfs_throttled_periods_total{{{POD}}}[$__rate_interval])) / sum by (container) (rate(container_cpu_cfs_periods_total{{{POD}}}[$__rate_interval]))", "{{container}}")),
            panel("Replicas of autoscaled services", "short",
                  (f"kube_horizontalpodautoscaler_status_current_replicas{{{POD}}}", "{{horizontalpodautoscaler}}"),
                  (f"kube_horizontalpodautoscaler_spec_max_replicas{{{POD}}}", "{{horizontalpodautoscaler}} at most"), width=12),
            panel("CPU against requests", "percentunit", (f'sum by (container) (rate(container_cpu_usage_seconds_total{{{POD},container!=""}}[$__rate_interval])) / sum by (container) (kube_pod_container_resource_requests{{{POD},resource="cpu"}})', "{{container}}"), width=12, about="The autoscalers aim at 70 %."),
        ]),
    ],
)

# One of several processes writes the checkpoints, and each has the watermarks of its own workers. The value is 0 before the first.
WATERMARK_DELAY = "max(tidemark_job_watermark_delay_seconds)"
CHECKPOINT_AGE = "max(tidemark_job_checkpoint_age_seconds)"
COMMITTED_AGE = "time() - max(tidemark_job_checkpoint_boundary_timestamp_seconds > 0)"
JOB = dashboard(
    "stream-job", "Stream job", "From records read to results committed.",
    [],
    [
        ("Now", [
            stat("Records a second", "short", "sum(rate(tidemark_job_records_total[5m]))", "records"),
            stat("Lag", "short", "sum(tidemark_job_lag_records)", "records", about="Unread records in the log."),
            stat("Watermark delay", "s", WATERMARK_DELAY, "delay", about="The time by which the slowest partition is behind the clock."),
            stat("Checkpoint age", "s", CHECKPOINT_AGE, "age", about="The time since the newest one was written."),
            stat("Restarts in an hour", "short", "sum(changes(tidemark_job_attempt[1h]))", "restarts"),
            stat("Open panes", "short", "max(tidemark_job_open_panes)", "panes"),
        ]),
        ("Source", [
            panel("Records", "short", ("sum(rate(tidemark_job_records_total[$__rate_interval]))", "records a second")),
            panel("Bytes", "Bps", ("sum(rate(tidemark_job_bytes_total[$__rate_interval]))", "bytes")),
            panel("Lag by partition", "short", ("sum by (partition) (tidemark_job_lag_records)", "{{partition}}")),
            panel("Rejected", "short", ("sum(rate(tidemark_job_rejected_total[$__rate_interval]))", "rejected a second"), about="Records that went to the dead letters."),
            panel("Late", "short", ("sum by (outcome) (rate(tidemark_job_late_total[$__rate_interval]))", "{{outcome}} a second")),
            panel("Newest event behind the clock, by partition", "s", ("time() - max by (partition) (tidemark_job_newest_event_timestamp_seconds > 0)", "{{partition}}"), about="A partition that is far behind the others holds them up."),
        ]),
        ("Where it waits", [
            panel("Operators that compute", "percentunit", ('avg by (operator) (rate(tidemark_job_operator_seconds_total{activity="busy"}[5m]))', "{{operator}}"), about="Of the time of each worker."),
            panel("Waits for the log, the store and commits", "percentunit", ('avg by (operator, activity) (rate(tidemark_job_operator_seconds_total{activity=~"waits_for_(log|store|commits|side_outputs|event_time)"}[5m]))', "{{operator}} {{activity}}"), about="Reading that waits for commits is held back by the operator behind it that waits the most."),
            panel("Watermark behind the clock, by partition", "s", ("time() - max by (partition) (tidemark_job_partition_watermark_timestamp_seconds > 0)", "{{partition}}"), about="The greatest is the job's, unless its partition is idle."),
            panel("Retries", "short", ("sum by (kind) (rate(tidemark_job_retries_total[5m])) * 60", "{{kind}} a minute"), about="Operations on the log and the object store that failed."),
            panel("Memory", "bytes", ("process_resident_memory_bytes and on (instance) tidemark_job_running", "{{instance}}")),
            panel("Processor", "short", ("rate(process_cpu_seconds_total[5m]) and on (instance) tidemark_job_running", "{{instance}}"), about="Cores in use."),
        ]),
        ("State and sink", [
            panel("Keys kept", "short",
                  ("sum(tidemark_job_open_entries)", "in open panes"), ("sum(tidemark_job_state_entries)", "in windows"), about="Windows are kept while they are open and while they may be corrected."),
            panel("Checkpoint duration", "s",
                  ("histogram_quantile(0.5, sum by (le) (rate(tidemark_job_checkpoint_seconds_bucket[5m])))", "P50"),
                  ("histogram_quantile(0.99, sum by (le) (rate(tidemark_job_checkpoint_seconds_bucket[5m])))", "P99")),
            panel("Checkpoints written", "Bps", ("sum(rate(tidemark_job_checkpoint_bytes_total[$__rate_interval]))", "bytes a second")),
            panel("Commit", "s",
                  ("histogram_quantile(0.5, sum by (le) (rate(tidemark_job_commit_seconds_bucket[5m])))", "P50"),
                  ("histogram_quantile(0.99, sum by (le) (rate(tidemark_job_commit_seconds_bucket[5m])))", "P99"), about="A batch of results of a worker."),
            panel("Rows", "short", ("sum(rate(tidemark_job_rows_total[$__rate_interval]))", "rows a second"), about="Rows of windows, new and corrected."),
            panel("Watermark delay", "s", (WATERMARK_DELAY, "delay")),
        ]),
    ],
)

ORDERED = 'service="orders",method="POST",route="/orders"'
BUSINESS = dashboard(
    "business", "Business", "What the shop does: orders, customers, what was counted of them.",
    [],
    [
        ("Now", [
            stat("Orders in an hour", "short", f'sum(increase(http_requests_total{{{ORDERED},status="201"}}[1h]))', "orders"),
            stat("New customers in an hour", "short", 'sum(increase(http_requests_total{service="users",method="POST",route="/users",status="201"}[1h])) or vector(0)', "customers"),
            stat("Orders refused", "percentunit", f'(sum(rate(http_requests_total{{{ORDERED},status=~"4.."}}[1h])) or vector(0)) / (sum(rate(http_requests_total{{{ORDERED}}}[1h])) > 0)', "share"),
            stat("Order placed within, P99", "s", f"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{{{ORDERED}}}[1h])))", "P99"),
            stat("Share of orders counted", "percentunit", f'sum(increase(tidemark_job_records_total[1h])) / (sum(increase(http_requests_total{{{ORDERED},status="201"}}[1h])) > 0)', "share", about="Records that the job read within an hour, as a share of the accepted orders."),
        ]),
        ("The day", [
            panel("Orders", "short", (f'sum by (status) (rate(http_requests_total{{{ORDERED}}}[5m])) * 60', "{{status}} a minute"), width=12, about="Status 201: the order was accepted."),
            panel("Customers and catalogue", "short",
                  ('sum(rate(http_requests_total{service="users",method="POST",route="/users",status="201"}[5m])) * 60 or vector(0)', "new customers a minute"),
                  ('sum(rate(http_requests_total{service="products",method="GET"}[5m])) * 60 or vector(0)', "looks at the catalogue a minute"), width=12),
            panel("Orders accepted, published, counted, notified", "short",
                  (f'sum(rate(http_requests_total{{{ORDERED},status="201"}}[5m])) * 60', "accepted a minute"),
                  ("sum(rate(relay_events_published_total[5m])) * 60", "published by the relay a minute"),
                  ("sum(rate(tidemark_job_records_total[5m])) * 60", "read by the job a minute"),
                  ("sum(rate(notifications_sent_total[5m])) * 60", "notified a minute"), width=12, about="The four rates are equal, except for orders in flight."),
            panel("Waiting", "short",
                  ("sum(tidemark_job_lag_records)", "orders to be counted"), ("max(analytics_lag_records)", "results to be shown"),
                  ("max(notifications_lag_records)", "orders to be notified"), width=12),
            panel("Dead letters", "short",
                  ("sum(increase(tidemark_job_rejected_total[1h]))", "of the job, in an hour"),
                  ("sum(increase(notifications_dead_letters_total[1h]))", "of notifications, in an hour"),
                  ("sum(increase(analytics_records_malformed_total[1h]))", "left out by analytics, in an hour"), width=12),
            panel("Age of what analytics shows", "s", (COMMITTED_AGE, "newest committed window"), width=12),
            panel("Messages to customers", "short",
                  ("sum(rate(notifications_sent_total[5m])) * 60", "sent a minute"),
                  ("sum(rate(notifications_failed_attempts_total[5m])) * 60", "refused a minute, to be tried again"),
                  ("sum(rate(notifications_skipped_total[5m])) * 60", "for nobody a minute"),
                  ("sum(rate(notifications_dead_letters_total[5m])) * 60", "given up a minute"), width=12),
        ]),
    ],
)


def main():
    stale = []
    for board in (SERVICES, CLUSTER, JOB, BUSINESS):
        path = HERE / (board["uid"].removeprefix("tidemark-") + ".json")
        text = json.dumps(board, indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"not what build.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
