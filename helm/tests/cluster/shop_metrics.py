#!/usr/bin/env python3
"""Plays the metrics of the shop's pods for a real Prometheus: each running pod replies to ten requests a second. Pods of one image
reply to some of them with an error.

  shop_metrics.py PORT DIGEST PERCENT      the digest of the bad image, and its share of errors
"""
import http.server
import sys
import time

import api

PODS = "/api/v1/namespaces/tidemark/pods"
replies = {}  # by pod: good ones and errors until now


def count():
    """Adds the replies since the last call; returns the lines of all pods."""
    now = time.time()
    for pod in api.call(PODS)["items"]:
        name, service = pod["metadata"]["name"], pod["metadata"]["labels"].get("app.kubernetes.io/name")
        if pod["status"].get("phase") != "Running":
            continue
        good, bad, since = replies.get(name, (0.0, 0.0, now))
        share = float(sys.argv[3]) / 100 if pod["spec"]["containers"][0]["image"].endswith(sys.argv[2]) else 0.0
        served = 10 * (now - since)
        replies[name] = (good + served * (1 - share), bad + served * share, now)
        for status, value in (("200", replies[name][0]), ("500", replies[name][1])):
            yield f'http_requests_total{{namespace="tidemark",service="{service}",pod="{name}",route="/orders",status="{status}"}} {value}\n'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "".join(count()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
