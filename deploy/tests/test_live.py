"""The real programs, started with what the manifests give them: they listen where Services and probes look, answer what the
probes ask, and end as the Pod's grace expects."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from balancer import Balancer
from deploy_check.build import DEPLOY, build
from deploy_check.pods import workloads
from deploy_check.settings import environment, file_text

BINARIES = Path(os.environ.get("BINARIES", DEPLOY.parent / "target" / "debug"))
# A deadline for what must happen at all; nothing is measured.
PATIENCE = 60
PAYMENT = {"transaction_id": 1, "customer_id": 7, "terminal_id": 42, "tx_amount": 57.16}


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def ask(port, path, body=None):
    """Status, headers and text of an answer; status 0 while nobody answers."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()
    except (OSError, ConnectionError):
        return 0, {}, ""


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail(f"not within {PATIENCE} s: {what}")


@contextmanager
def running(overlay, name, folder, changes):
    """A service of an overlay. Its ports are free ones, its files in a folder; all else is the manifest's."""
    bundle = build(DEPLOY / overlay)
    pod = next(w for w in workloads(bundle) if w.kind == "Deployment" and w.name == name)
    container = pod.containers[0]
    env = environment(bundle, pod, container)
    config = folder / "settings.toml"
    config.write_text(file_text(bundle, pod, container, env["FRAUD_CONFIG"]))
    env["FRAUD_CONFIG"] = str(config)
    env.update(changes)
    with (folder / "log").open("wb") as log:
        command = [str(BINARIES / name), *container.get("args", [])]
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        yield process, container
    finally:
        process.kill()
        process.wait()


def probe(container, kind, ports):
    asked = container[kind]["httpGet"]
    return ask(ports[asked["port"]], asked["path"])[0]


def test_the_api_answers_its_probes_and_drains(tmp_path):
    http, management = free_ports(2)
    ports = {"http": http, "management": management}
    changes = {
        "FRAUD__SERVER__BIND": f"127.0.0.1:{http}",
        "FRAUD__SERVER__MANAGEMENT": f"127.0.0.1:{management}",
        "FRAUD__SERVER__DRAIN_DELAY": "10s",
        "FRAUD__STORE__SNAPSHOT_PATH": str(tmp_path / "store.snapshot"),
    }
    with running("dev", "fraud-api", tmp_path, changes) as (process, container):
        log = tmp_path / "log"
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            until(lambda kind=kind: probe(container, kind, ports) == 200, f"{kind}: {log.read_text()}")
        # Otherwise any path would do.
        assert ask(management, "/health/alive")[0] == 404
        assert "http_requests_total" in ask(management, "/metrics")[2]
        assert json.loads(ask(http, "/health")[2])["environment"] == "development"
        payment = {**PAYMENT, "tx_datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        assert ask(http, "/predict", payment)[0] == 200

        process.send_signal(signal.SIGTERM)
        until(lambda: probe(container, "readinessProbe", ports) == 503, "not ready once it drains")
        # Still serving, and sending its callers elsewhere; and alive, or it would be killed while it drains.
        status, headers, _ = ask(http, "/predict", {**payment, "transaction_id": 2})
        assert (status, headers.get("Connection", "").lower()) == (200, "close")
        assert probe(container, "livenessProbe", ports) == 200
        assert process.wait(PATIENCE) == 0, log.read_text()
        assert (tmp_path / "store.snapshot").exists()


def test_a_rollout_loses_no_request(tmp_path):
    """One replica is replaced under load, with open connections, as a rollout does it: forgotten by the balancer, preStop,
    SIGTERM, drained. The times are the manifests' own."""
    spec = next(w for w in workloads(build(DEPLOY / "prod")) if w.kind == "Deployment" and w.name == "fraud-api").containers[0]
    wait = spec["lifecycle"]["preStop"]["sleep"]["seconds"]
    ports = free_ports(4)
    folders = [tmp_path / "old", tmp_path / "new"]

    def replica(index):
        folders[index].mkdir()
        changes = {
            "FRAUD__SERVER__BIND": f"127.0.0.1:{ports[2 * index]}",
            "FRAUD__SERVER__MANAGEMENT": f"127.0.0.1:{ports[2 * index + 1]}",
            "FRAUD__STORE__SNAPSHOT_PATH": str(folders[index] / "store.snapshot"),
        }
        return running("dev", "fraud-api", folders[index], changes)

    with replica(0) as (old, _), replica(1) as (_, _):
        for port in (ports[0], ports[2]):
            until(lambda port=port: ask(port, "/health/ready")[0] == 200, "both ready")
        service = Balancer([ports[0], ports[2]])
        report = tmp_path / "load.json"
        # Twice as long as the end takes, so that it is under load throughout.
        arguments = ["--rate=100", "--duration=30s", "--connections=16", "--timeout=30s", f"--json={report}"]
        command = [BINARIES / "fraud-loadgen", "run", f"--target=http://127.0.0.1:{service.port}", *arguments]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            until(lambda: service.taken >= 4, "load is under way")
            service.endpoints.remove(ports[0])
            time.sleep(wait)
            old.send_signal(signal.SIGTERM)
            assert old.wait(PATIENCE) == 0
            text, _ = load.communicate(timeout=120)
        finally:
            load.kill()
            service.close()
        answered = json.loads(report.read_text())
        assert "failed 0, timed out 0, broken 0" in text, text
        assert answered, text


def test_the_stream_is_alive_but_not_ready_without_a_broker(tmp_path):
    (port, nobody) = free_ports(2)
    changes = {
        "FRAUD__SERVER__BIND": f"127.0.0.1:{port}",
        "FRAUD__KAFKA__BROKERS": f"127.0.0.1:{nobody}",
        "FRAUD__STATE__FOLDER": str(tmp_path),
    }
    with running("dev", "fraud-stream", tmp_path, changes) as (process, container):
        ports = {"metrics": port}
        for kind in ("startupProbe", "livenessProbe"):
            until(lambda kind=kind: probe(container, kind, ports) == 200, f"{kind}: {(tmp_path / 'log').read_text()}")
        assert probe(container, "readinessProbe", ports) == 503
        assert "fraud_decisions_total" in ask(port, "/metrics")[2]
        process.send_signal(signal.SIGTERM)
        # 75: it gave up waiting for the broker, as its help says.
        assert process.wait(PATIENCE) in (0, 75), (tmp_path / "log").read_text()
