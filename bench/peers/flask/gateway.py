"""A gateway as commonly written in Flask: it forwards each request over the pooled connections of a session."""

import os

import requests
from flask import Flask, Response, request

UPSTREAM = os.environ["UPSTREAM"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
BETWEEN_NEIGHBOURS = {
    "connection", "content-encoding", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
}

app = Flask(__name__)
session = requests.Session()
session.trust_env = False  # otherwise it looks for proxies in the environment at each request
session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))


def onward(headers):
    return {name: value for name, value in headers.items() if name.lower() not in BETWEEN_NEIGHBOURS}


@app.route("/api/<path:path>", methods=METHODS)
def forward(path):
    headers = {**onward(request.headers), "X-Forwarded-For": request.remote_addr}
    url, asked, body = f"{UPSTREAM}/{path}", request.args, request.get_data()
    answer = session.request(request.method, url, params=asked, headers=headers, data=body, timeout=10, allow_redirects=False)
    return Response(answer.content, answer.status_code, onward(answer.headers))
