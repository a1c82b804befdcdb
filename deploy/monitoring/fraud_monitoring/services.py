"""Real servers for the checks: fraud-api behind a stand-in for a cluster, fraud-stream, Kafka, Prometheus, Alertmanager.

All of them listen on free loopback ports and end with the scene. Their output is in the scene's folder.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import yaml

from . import files

ROOT = files.HOME.parent.parent
PROGRAMS = ROOT / "target/debug"
MODEL = ROOT / "fraud-core/models/default.onnx"
TOPICS = ("transactions-input", "fraud-predictions", "fraud-labels", "transactions-dead-letter")
#: How long anything is waited for before the check gives up, in seconds. Only a machine that stands still needs as much.
PATIENCE = 240


class NotReady(Exception):
    """Something did not come in time; says what, and where its output is."""


def wait_for(what: str, there: Callable[[], object], patience: float = PATIENCE) -> object:
    """Asks again and again until the answer is true, and gives it."""
    began = time.monotonic()
    while True:
        answer = there()
        if answer:
            return answer
        if time.monotonic() - began > patience:
            raise NotReady(f"{what}: not within {patience} s")
        time.sleep(0.3)


def get(url: str) -> str | None:
    """The body of an answer with status 200; nothing when there is none."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.URLError):
        return None


def post(url: str, body: str, kind: str = "application/json") -> int:
    """The status of an answer; 0 when there is none."""
    request = urllib.request.Request(url, body.encode(), {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, urllib.error.URLError):
        return 0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Scene:
    """Servers that belong together, and what they share: a folder, and that they end together."""

    def __init__(self, name: str):
        self.folder = ROOT / "out/monitoring" / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.running: dict[str, subprocess.Popen] = {}
        self.kafka_home: Path | None = None

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_) -> None:
        for process in self.running.values():
            self.ask_to_end(process)
        for process in self.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        if self.kafka_home:
            self.kafka("remove")

    def start(self, name: str, command: list[str], env: dict[str, str] | None = None, **how) -> subprocess.Popen:
        """Starts a server; its output goes to `name`.log."""
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **(env or {})}, stdout=how.pop("stdout", log), stderr=log, cwd=self.folder, **how
            )
        self.running[name] = process
        return process

    @staticmethod
    def ask_to_end(process: subprocess.Popen) -> None:
        """By the end of its input where it reads one: the stand-in for a cluster then ends its replicas first."""
        if process.stdin:
            process.stdin.close()
        else:
            process.terminate()

    def end(self, name: str) -> None:
        """Ends one server by itself."""
        process = self.running.pop(name)
        self.ask_to_end(process)
        process.wait(30)

    def alive(self, name: str) -> bool:
        """Whether a server still runs; raises NotReady when it ended, for nothing is to be waited for then."""
        if self.running[name].poll() is not None:
            raise NotReady(f"{name} ended with {self.running[name].returncode}; see {self.folder}/{name}.log")
        return True

    def wait_until_ready(self, name: str, url: str) -> None:
        """Waits until an address answers 200."""
        wait_for(f"{name} at {url} (see {self.folder}/{name}.log)", lambda: self.alive(name) and get(url) is not None)

    def kafka(self, *arguments: str) -> str:
        """Calls scripts/kafka.sh for this scene's broker."""
        home = self.kafka_home or self.folder / "kafka"
        command = [str(ROOT / "scripts/kafka.sh"), arguments[0], str(home), *arguments[1:]]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "KAFKA_HEAP": "256m"})
        return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""

    def broker(self) -> str:
        """Starts Kafka with the topics; its address."""
        self.kafka_home = self.folder / "kafka"
        address = self.kafka("start")
        for topic in TOPICS:
            self.kafka("topic", "--create", "--topic", topic, "--partitions", "2")
        return address

    def cluster(self, name: str, options: list[str], settings: dict[str, str]) -> dict:
        """Starts the stand-in for a cluster; its addresses: `service`, `metrics`."""
        command = [str(PROGRAMS / "examples/stand_in_cluster"), "--program", str(PROGRAMS / "fraud-api")]
        command += ["--folder", str(self.folder / name), *options]
        command += [f"--env={key}={value}" for key, value in settings.items()]
        # It lasts as long as its standard input.
        process = self.start(name, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        if not line:
            raise NotReady(f"{name}: no replica came up; see {self.folder}/{name}.log and {self.folder}/{name}/")
        return json.loads(line)

    def api(self, name: str, settings: dict[str, str]) -> str:
        """Starts one fraud-api by itself; its address, once it is ready."""
        address = f"127.0.0.1:{free_port()}"
        plain = {"FRAUD__SERVER__BIND": address, "FRAUD__SERVER__MANAGEMENT": "none", "FRAUD__SERVER__WORKERS": "1"}
        self.start(name, [str(PROGRAMS / "fraud-api")], {**plain, **settings})
        self.wait_until_ready(name, f"http://{address}/health/ready")
        return address

    def stream(self, name: str, broker: str, settings: dict[str, str]) -> str:
        """Starts fraud-stream on a broker; the address of its metrics, once they can be read."""
        address = f"127.0.0.1:{free_port()}"
        plain = {"FRAUD__KAFKA__BROKERS": broker, "FRAUD__SERVER__BIND": address}
        self.start(name, [str(PROGRAMS / "fraud-stream"), "run"], {**plain, **settings})
        self.wait_until_ready(name, f"http://{address}/metrics")
        return address

    def load(self, name: str, target: str, *options: str) -> subprocess.Popen:
        """Starts a load that ends by itself. Whether the generator keeps its schedule is of no interest here."""
        command = [str(PROGRAMS / "fraud-loadgen"), "run", "--target", target, *options]
        if "--customers" not in options:
            command += ["--customers", "500"]
        return self.start(name, command)

    def prometheus(self, rules: Path, jobs: list[dict], alertmanager: str | None = None) -> "Prometheus":
        """Starts a Prometheus that looks every second, with the rule files of a folder."""
        address = f"127.0.0.1:{free_port()}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{rules}/*.rules.yaml"],
            "scrape_configs": jobs,
        }
        if alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        options = [f"--web.listen-address={address}", "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"]
        self.start("prometheus", ["prometheus", *options, "--enable-feature=promql-at-modifier"])
        self.wait_until_ready("prometheus", f"http://{address}/-/ready")
        return Prometheus(address)


class Prometheus:
    """Questions to a Prometheus."""

    def __init__(self, address: str):
        self.address = address

    def ask(self, expr: str, seconds: int | None = None) -> list:
        """The series of an expression: now, or over the last so many seconds. Raises ValueError when it is none."""
        now = time.time()
        question = {"query": expr, "time": now}
        if seconds:
            question = {"query": expr, "start": now - seconds, "end": now, "step": 2}
        path = "query_range" if seconds else "query"
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(question)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None

    def alerts(self) -> list[dict]:
        """All alerts, pending and firing."""
        return json.loads(get(f"http://{self.address}/api/v1/alerts") or '{"data": {"alerts": []}}')["data"]["alerts"]


def discovered(metrics: str) -> list[dict]:
    """Scrape jobs of a stand-in: its replicas, found over HTTP, and what it says of itself.

    Labels are those that a ServiceMonitor gives, without `endpoint`, which would take the place of fraud-api's own label.
    """
    replicas = {
        "job_name": f"fraud-api-{metrics}",
        "http_sd_configs": [{"url": f"http://{metrics}/targets", "refresh_interval": "1s"}],
        # What the test knows its process by is nothing for a series.
        "relabel_configs": [{"action": "labeldrop", "regex": "process"}],
    }
    cluster = {"job_name": f"cluster-{metrics}", "honor_labels": True, "static_configs": [{"targets": [metrics]}]}
    return [replicas, cluster]


def scraped(job: str, namespace: str, addresses: list[str]) -> dict:
    """A scrape job of single processes."""
    labels = {"job": job, "namespace": namespace, "service": job, "container": job}
    configs = [{"targets": [address], "labels": {**labels, "pod": f"{job}-{number}"}} for number, address in enumerate(addresses)]
    return {"job_name": f"{job}-{namespace}", "static_configs": configs}
