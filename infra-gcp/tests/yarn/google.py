"""A stand-in on this machine for the services of Google that bootstrap/run.sh calls: a token, an address, a password, and objects
that can be created only once.

    python google.py PORT PASSWORD
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "a-token"
objects = {}
lock = Lock()


class Google(BaseHTTPRequestHandler):
    def answer(self, status, content=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("/metadata/"):
            if self.headers.get("Metadata-Flavor") != "Google":
                return self.answer(403)
            token = path.endswith("/token")
            return self.answer(200, json.dumps({"access_token": TOKEN, "expires_in": 3599}).encode() if token else b"127.0.0.1")
        if not self.known():
            return self.answer(401)
        if path.startswith("/secrets/") and path.endswith("/versions/latest:access"):
            return self.answer(200, json.dumps({"payload": {"data": base64.b64encode(sys.argv[2].encode()).decode()}}, indent=2).encode())
        name = unquote(path.partition("/o/")[2])
        content = objects.get(name)
        return self.answer(200, content) if content else self.answer(404)

    def do_POST(self):
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.known() or asked.get("ifGenerationMatch") != ["0"]:
            return self.answer(400)
        with lock:
            made = objects.setdefault(asked["name"][0], content) is content
        return self.answer(200 if made else 412)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Google).serve_forever()
