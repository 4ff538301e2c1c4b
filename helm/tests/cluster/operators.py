#!/usr/bin/env python3
"""Does the work of the operators, as far as other controllers wait for it. Runs until it is ended.

In place of External Secrets it marks stores and secrets as ready and creates the secrets. In place of the load balancer controller
it gives each Ingress and each Service of type LoadBalancer an address.
"""
import sys
import time
import urllib.error

import api

SECRETS = "/apis/external-secrets.io/v1"
READY = {"type": "Ready", "status": "True", "reason": "Played", "message": "by a drill", "lastTransitionTime": "2026-01-01T00:00:00Z"}
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}


def patch_status(base, kind, item, status):
    path = f"{base}/namespaces/{item['metadata']['namespace']}/{kind}/{item['metadata']['name']}/status"
    api.call(path, {"status": status}, "PATCH")


def make_secret(item):
    """Creates a secret with a value for each variable; no program reads them."""
    target = item["spec"]["target"]
    secret = {"metadata": {"name": target["name"]}, "stringData": {key: "played" for key in target["template"]["data"]}}
    try:
        api.call(f"/api/v1/namespaces/{item['metadata']['namespace']}/secrets", secret, "POST")
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it exists already
            raise


def look():
    for kind in ("secretstores", "externalsecrets"):
        for item in api.call(f"{SECRETS}/{kind}")["items"]:
            if not item.get("status", {}).get("conditions"):
                if kind == "externalsecrets":
                    make_secret(item)
                patch_status(SECRETS, kind, item, {"conditions": [READY]})
    for base, kind in (("/apis/networking.k8s.io/v1", "ingresses"), ("/api/v1", "services")):
        for item in api.call(f"{base}/{kind}")["items"]:
            public = kind == "ingresses" or item["spec"]["type"] == "LoadBalancer"
            if public and not item.get("status", {}).get("loadBalancer"):
                patch_status(base, kind, item, ADDRESS)


def main():
    while True:
        try:
            look()
        except OSError as error:  # an object vanished meanwhile, or the API server is busy
            print(error, file=sys.stderr, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
