"""A metadata server of Google on this machine: the email of a service account, and its access token.

    python metadata.py PORT EMAIL TOKEN
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, email, token = sys.argv[1:]
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default/"
ANSWERS = {
    ACCOUNT + "email": email,
    ACCOUNT + "token": json.dumps({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}),
}


class Metadata(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = ANSWERS.get(self.path)
        # The real server refuses requests without this header: a page in a browser cannot send it.
        status = 403 if self.headers.get("Metadata-Flavor") != "Google" else 404 if answer is None else 200
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write((answer or "").encode() if status == 200 else b"")

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(port)), Metadata).serve_forever()
