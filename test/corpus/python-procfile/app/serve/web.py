import os
from wsgiref.simple_server import make_server


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    with open("migrated.txt", encoding="utf-8") if os.path.exists("migrated.txt") else open(os.devnull, encoding="utf-8") as state:
        return [f"hello from Python at {environ['PATH_INFO']} {state.read()}".encode()]


if __name__ == "__main__":
    host = os.environ.get("HOST", "0.0.0.0")
    make_server(host, int(os.environ["PORT"]), application).serve_forever()
