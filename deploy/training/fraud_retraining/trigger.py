"""Alertmanager's webhook → a run of the retraining, through Airflow's API. Standard library only.

All drift that began on one day starts one run, however many alerts tell of it and however often: the run's id is the day.
The run passes the gate like any other.
"""

import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TIMEOUT = 10
MAX_BODY = 1 << 20


class AirflowError(Exception):
    """Airflow did not take the run."""


@dataclass(frozen=True)
class Airflow:
    """Where runs are asked for. `credentials`: a JSON file, `{"username": …, "password": …}`. `dag` is asked for."""

    url: str
    credentials: Path
    dag: str = "fraud_retraining"

    def _send(self, path: str, body: dict, headers: dict[str, str]) -> dict:
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.loads(answer.read())

    def start(self, run_id: str, conf: dict, note: str) -> bool:
        """Asks for a run, noting why; False where one of this id is there already. Raises `AirflowError`."""
        try:
            token = self._send("/auth/token", json.loads(self.credentials.read_text()), {})["access_token"]
            body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
            self._send(f"/api/v2/dags/{self.dag}/dagRuns", body, {"Authorization": f"Bearer {token}"})
        except urllib.error.HTTPError as error:
            if error.code == 409:
                return False
            raise AirflowError(f"{self.url}: {error.code} {error.reason}") from error
        except (OSError, ValueError, KeyError) as error:
            raise AirflowError(f"{self.url}: {error}") from error
        return True


@dataclass(frozen=True)
class Hook:
    """Turns what Alertmanager sends into runs of the alerts named, with `conf` as parameters."""

    airflow: Airflow
    alerts: tuple[str, ...]
    conf: dict = field(default_factory=dict)

    def take(self, message: dict) -> list[str]:
        """The id of the run that was begun, if any. Raises `KeyError`, `TypeError` for a message that is not Alertmanager's."""
        firing = [alert for alert in message["alerts"] if alert["status"] == "firing"]
        mine = [alert for alert in firing if alert["labels"].get("alertname") in self.alerts]
        if not mine:
            return []
        since = max(datetime.fromisoformat(alert["startsAt"].replace("Z", "+00:00")).astimezone(UTC) for alert in mine)
        run_id = f"alert__{since:%Y-%m-%d}"
        names = sorted({alert["labels"]["alertname"] for alert in mine})
        note = f"{', '.join(names)}; alerts: {len(mine)}"
        return [run_id] if self.airflow.start(run_id, self.conf, note) else []


def serve(hook: Hook, address: tuple[str, int]) -> ThreadingHTTPServer:
    """A server on `address`: `POST /alerts` for Alertmanager, `GET /healthz` for probes. `serve_forever` runs it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(
                200 if self.path == "/healthz" else 404, {"status": "ok" if self.path == "/healthz" else "not found"}
            )

        def do_POST(self):
            if self.path != "/alerts":
                return self._answer(404, {"error": "POST /alerts"})
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_BODY:
                return self._answer(413, {"error": f"a body of at most {MAX_BODY} bytes is expected"})
            try:
                begun = hook.take(json.loads(self.rfile.read(int(length))))
            except AirflowError as error:
                # Alertmanager tries again.
                return self._answer(502, {"error": str(error)})
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                return self._answer(400, {"error": f"not a message of Alertmanager: {error!r}"})
            return self._answer(200, {"runs": begun})

        def _answer(self, status: int, body: dict):
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, form, *values):
            print(f"{self.address_string()} {form % values}", flush=True)

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    return server


def run(hook: Hook, address: tuple[str, int]) -> None:
    """Serves until the process is ended."""
    server = serve(hook, address)
    print(
        f"waiting for alerts {', '.join(hook.alerts)} on {server.server_address[0]}:{server.server_address[1]}",
        flush=True,
    )
    stop = threading.Event()
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            stop.wait()
        except KeyboardInterrupt:
            server.shutdown()
