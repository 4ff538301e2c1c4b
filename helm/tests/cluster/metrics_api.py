#!/usr/bin/env python3
"""A stand-in for metrics-server: serves the API metrics.k8s.io for pods that kwok simulates.

  metrics_api.py PORT CERTIFICATE KEY USAGE.json

USAGE.json is read at every request: {"<app.kubernetes.io/name>": {"cpu_m": millicores of all its pods together, "memory_mib":
of one pod}}. The CPU time is distributed evenly over the running pods, as a load balancer distributes the work.
"""
import datetime
import http.server
import json
import ssl
import sys
import urllib.parse

import api

GROUP = "metrics.k8s.io"
IDLE = {"cpu_m": 0, "memory_mib": 16}
KIND = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
DISCOVERY = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1beta1", "resources": [KIND]}


def pod_metrics(namespace, selector, usage):
    query = urllib.parse.urlencode({"labelSelector": selector})
    pods = api.call(f"/api/v1/namespaces/{namespace}/pods?{query}")["items"]
    pods = [pod for pod in pods if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]
    names = [pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") for pod in pods]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for pod, name in zip(pods, names):
        used = usage.get(name, IDLE)
        container = {"cpu": f"{round(used['cpu_m'] / names.count(name))}m", "memory": f"{used['memory_mib']}Mi"}
        yield {
            "metadata": {key: pod["metadata"].get(key) for key in ("name", "namespace", "labels")}, "timestamp": now, "window": "15s",
            "containers": [{"name": each["name"], "usage": container} for each in pod["spec"]["containers"]],
        }


def answer(address):
    """Returns the discovery document, or the metrics of the pods of a namespace; None for other paths."""
    url = urllib.parse.urlparse(address)
    parts = url.path.strip("/").split("/")
    if parts[-1] == "v1beta1":
        return DISCOVERY
    if parts[-1] != "pods" or "namespaces" not in parts:
        return None
    selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
    with open(sys.argv[4]) as usage:
        items = list(pod_metrics(parts[parts.index("namespaces") + 1], selector, json.load(usage)))
    return {"kind": "PodMetricsList", "apiVersion": f"{GROUP}/v1beta1", "metadata": {}, "items": items}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = answer(self.path)
        body = json.dumps(found).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
