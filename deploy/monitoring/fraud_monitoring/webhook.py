"""Where Alertmanager's messages arrive: one path per receiver."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Told:
    """One alert in one message."""

    receiver: str
    alert: str
    namespace: str
    status: str


class Webhook:
    """Listens on a free loopback port and remembers what it was told."""

    def __init__(self) -> None:
        self._told: list[Told] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                with outer._lock:
                    for alert in message["alerts"]:
                        labels = alert["labels"]
                        outer._told.append(Told(self.path.strip("/"), labels["alertname"], labels.get("namespace", ""), alert["status"]))

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def told(self) -> set[Told]:
        """All of it so far."""
        with self._lock:
            return set(self._told)

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
