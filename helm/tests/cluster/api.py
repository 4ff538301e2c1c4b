"""Calls the API server of up.sh by HTTP, because kubectl is too slow for a call every second."""
import json
import os
import ssl
import urllib.request

ADDRESS = "https://127.0.0.1:6443"
# On loopback, in a network of its own, with a certificate that it made itself.
TRUSTING = ssl._create_unverified_context()


def call(path, body=None, method="GET"):
    """Returns the answer. A body is a merge patch, or the object to create."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {os.environ['TIDEMARK_CLUSTER_TOKEN']}", "Content-Type": kind}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ADDRESS + path, data, headers, method=method)
    with urllib.request.urlopen(request, context=TRUSTING, timeout=10) as reply:
        return json.load(reply)
