"""python3 -m app: serve the board on port 8080 (or PORT) until SIGTERM."""

import os
import signal
import sys
import time

from werkzeug.serving import WSGIRequestHandler, make_server

from . import create_app


class PlainLog(WSGIRequestHandler):
    """One plain line a request, none for the load balancer's questions."""

    def log_request(self, code="-", size="-"):
        if self.path != "/healthz":
            now = time.strftime("%H:%M:%S")
            print(f"{now} {self.address_string()} {self.command} {self.path!r} {int(code)}", flush=True)


def main():
    # As the first process of a container there is no default action to rely on.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    port = os.environ.get("PORT") or "8080"
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        sys.exit(f"PORT is {port!r}: not a port number")
    server = make_server("0.0.0.0", int(port), create_app(), threaded=True, request_handler=PlainLog)
    print(f"boyacky is listening on port {server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
