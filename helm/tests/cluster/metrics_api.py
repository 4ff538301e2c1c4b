#!/usr/bin/env python3
"""Stands in for metrics-server: the API metrics.k8s.io, for pods that kwok plays.

  metrics_api.py PORT CERTIFICATE KEY USAGE.json

USAGE.json is read at every request: {"<app.kubernetes.io/name>": {"cpu_m": millicores of all its pods together, "memory_mib":
of one pod}}. The CPU is shared out evenly among the pods that run, as a load balancer would share out the work.
"""
import datetime
import http.server
import json
import os
import ssl
import sys
import urllib.parse
import urllib.request

GROUP = "metrics.k8s.io"


def kubernetes(path):
    """GET on the API server that KUBECONFIG names; it is on loopback, its certificate its own."""
    config = open(os.environ["KUBECONFIG"]).read()
    token = config.split("token: ")[1].split("}")[0]
    request = urllib.request.Request("https://127.0.0.1:6443" + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as reply:
        return json.load(reply)


def pod_metrics(namespace, selector, usage):
    query = urllib.parse.urlencode({"labelSelector": selector})
    pods = kubernetes(f"/api/v1/namespaces/{namespace}/pods?{query}")["items"]
    pods = [pod for pod in pods if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]
    names = [pod["metadata"]["labels"].get("app.kubernetes.io/name") for pod in pods]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for pod, name in zip(pods, names):
        used = usage.get(name, {"cpu_m": 0, "memory_mib": 16})
        containers = [
            {"name": container["name"], "usage": {"cpu": f"{round(used['cpu_m'] / names.count(name))}m", "memory": f"{used['memory_mib']}Mi"}}
            for container in pod["spec"]["containers"]
        ]
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "labels")}
        yield {"metadata": metadata, "timestamp": now, "window": "15s", "containers": containers}


class Handler(http.server.BaseHTTPRequestHandler):
    """Discovery, and the metrics of the pods of a namespace."""

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        parts = url.path.strip("/").split("/")
        if parts[-1] == "pods" and "namespaces" in parts:
            selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
            with open(sys.argv[4]) as usage:
                items = list(pod_metrics(parts[parts.index("namespaces") + 1], selector, json.load(usage)))
            answer = {"kind": "PodMetricsList", "apiVersion": f"{GROUP}/v1beta1", "metadata": {}, "items": items}
        else:
            pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
            answer = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1beta1", "resources": [pods]}
        body = json.dumps(answer).encode()
        self.send_response(200)
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
