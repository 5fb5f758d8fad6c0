"""A web service with nothing but the standard library. Ends in order when it is told to."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer({"ok": True})
        about = {"release": os.environ.get("SHIPLOCK_RELEASE"), "greeting": read("greeting.txt"), "tool": read_tool()}
        self.answer(about)

    def answer(self, body):
        data = (json.dumps(body) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def read_tool():
    """What run.prepareCommands made, in the home of the instance."""
    return read(os.path.expanduser("~/prepared.txt"))


server = ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
