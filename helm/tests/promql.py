#!/usr/bin/env python3
"""Evaluates every expression of dashboards, rules and alerts in a real Prometheus that scrapes a running platform.

  promql.py [PORT_BASE]        the platform's port base, 5000 unless given

Prometheus listens on loopback and scrapes for a hundred seconds with the chart's own rules, while a customer orders. Then each
expression is evaluated. Alerts are evaluated without their thresholds, because they only need data here. Expressions over metrics
that only a cluster exports (kube-state-metrics, nodes) are counted separately. Exits with 1 if any other returns nothing.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import expressions

PARTS = ["gateway", "users", "products", "orders", "notifications", "analytics", "order-analytics", "files"]
ADDRESS = "127.0.0.1:19090"
SECONDS = 100


def configuration(base):
    rules = sorted((expressions.HELM_FOLDER / "rules").glob("*.yaml"))
    scrapes = [
        {"job_name": part, "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{base + i}"]}]}
        for i, part in enumerate(PARTS)
    ]
    settings = {"scrape_interval": "5s", "evaluation_interval": "10s"}
    return {"global": settings, "rule_files": [str(path) for path in rules], "scrape_configs": scrapes}


def query(expr):
    url = f"http://{ADDRESS}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
    with urllib.request.urlopen(url) as reply:
        return json.load(reply)["data"]["result"]


def undecided(expr):
    """Returns an alert's expression without its thresholds."""
    return re.sub(r"(>=|>|==) ", r"\1 bool ", expr)


def has_data(entry):
    expr = entry["expr"]
    if "absent(" in expr:
        return not query(expr)
    is_alert = "alerts.yaml" in entry["from"]
    found = query(undecided(expr) if is_alert else expr)
    return bool(found) and all(label in result["metric"] for result in found for label in entry["labels"])


def is_of_the_cluster(expr):
    return any(re.match(r"(kube|node|container)_", metric) for metric in expressions.metrics_of(expr))


def post(address, body):
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def shop(base, seconds):
    """Places five orders a second."""
    api, end = f"http://127.0.0.1:{base}/api", time.monotonic() + seconds
    user = post(f"{api}/users", {"name": "Customer", "email": f"promql-{time.time_ns()}@example.com"})["id"]
    product = post(f"{api}/products", {"name": "Lamp", "price_cents": 1999, "stock": 1000000})["id"]
    while time.monotonic() < end:
        order = post(f"{api}/orders", {"user_id": user, "items": [{"product_id": product, "quantity": 1}]})["id"]
        for seen in (f"orders/{order}", f"products/{product}", f"users/{user}", "analytics/summary", "notifications"):
            try:
                urllib.request.urlopen(f"{api}/{seen}").close()
            except urllib.error.HTTPError:
                pass  # the request is counted, whatever its answer
        time.sleep(0.2)


def wait_for_prometheus():
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://{ADDRESS}/-/ready").close()
            return
        except OSError:
            time.sleep(0.2)
    sys.exit("Prometheus is not ready")


def verdicts():
    """Runs all queries; returns the numbers of those with data, without data, and of the cluster's."""
    counts = {"data": 0, "nothing": 0, "cluster": 0}
    for entry in expressions.expressions():
        if is_of_the_cluster(entry["expr"]):
            counts["cluster"] += 1
        elif has_data(entry):
            counts["data"] += 1
        else:
            counts["nothing"] += 1
            print(f"FAILED   {entry['from']}: no data, or not the labels of its legend, for {entry['expr']}")
    return counts


def main():
    base = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "prometheus.json"
        config.write_text(json.dumps(configuration(base)))
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={ADDRESS}"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_for_prometheus()
            shop(base, SECONDS)
            up = query("up == 1")
            print(f"Prometheus reads {len(up)} of {len(PARTS)} parts")
            counts = verdicts()
        finally:
            server.terminate()
            server.wait()
    print(f"{counts['cluster']} expressions are over what only a cluster exports: parsed, not evaluated")
    print(f"{counts['data']} passed, {counts['nothing']} failed")
    sys.exit(1 if counts["nothing"] or not counts["data"] else 0)


if __name__ == "__main__":
    main()
