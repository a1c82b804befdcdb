"""Takes Alertmanager's webhooks and prints one line for each alert: where a chat, a pager or a mail gateway would stand."""
import http.server
import json
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    """POST with Alertmanager's JSON."""

    def do_POST(self) -> None:
        """Prints the alerts of one notification."""
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
            for alert in body["alerts"]:
                name = alert["labels"].get("alertname", "?")
                summary = alert.get("annotations", {}).get("summary", "")
                print(f"{alert['status'].upper():8} {body['receiver']}: {name} {summary}", flush=True)
        except (ValueError, KeyError, TypeError) as error:
            self.send_error(400, f"not a notification of Alertmanager: {error}")
            return
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Requests are not logged; alerts are."""


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    http.server.ThreadingHTTPServer(("", port), Handler).serve_forever()
