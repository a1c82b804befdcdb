"""Alerts provoked in the real services, one namespace per calamity, through a real Prometheus and Alertmanager to a webhook.

Rules, routes and inhibitions are the shipped ones; only minutes have become seconds, and the webhooks' addresses ours. What is
not provoked here stands in `ELSEWHERE`, with where it is.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from . import files, services
from .onnx_file import fails_above_200
from .services import MODEL, Scene
from .webhook import Told, Webhook

#: Alerts that are not provoked here, and who sees them firing.
ELSEWHERE = {
    "AdminNotification_MaxScaleHighCPU": "scripts/drill.sh, with six limited replicas under attack",
    # The counters behind these are seen moving in the tests of fraud-core and fraud-api.
    "FraudModelRolledBack": "promtool only",
    "FraudModelRegistryAway": "promtool only",
    "FraudShadowDropping": "promtool only",
}
CHAOS = {"FRAUD__CHAOS__ENABLED": "true"}
NO_MODEL_POLICY = '[[rules]]\nname = "no model: review"\ndecision = "review"\nwithout_model = true\nwhen = { amount = { above = 0 } }\n'


def shortened(text: str) -> str:
    """A rule file with seconds for minutes: windows of 20 s (60 s from ten minutes on), 5 s of patience."""
    text = re.sub(r"for: \d+m", "for: 5s", text)
    return re.sub(r"\[(\d+)m\]", lambda match: "[60s]" if int(match.group(1)) >= 10 else "[20s]", text)


def _routes(text: str, webhook: str) -> str:
    """The shipped configuration with our addresses, one path per receiver, and without the long pauses."""
    config = yaml.safe_load(text)
    for receiver in config["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook.update(url=f"http://{webhook}/{receiver['name']}", send_resolved=True)
    for route in [config["route"], *config["route"]["routes"]]:
        route.update(group_wait="1s", group_interval="2s")
    return yaml.safe_dump(config)


class Calamities:
    """Starts one trouble after another; each says which alerts must come of it."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self.jobs: list[dict] = []
        #: (alert, namespace) → still to be seen.
        self.expected: set[tuple[str, str]] = set()
        #: What goes on until the end, called every second or so.
        self.again: list[Callable[[], None]] = []
        self.addresses: dict[str, str] = {}

    def api(self, namespace: str, settings: dict[str, str], *alerts: str) -> str:
        """One fraud-api in a namespace of its own."""
        address = self.scene.api(f"api-{namespace}", settings)
        self.jobs.append(services.scraped("fraud-api", namespace, [address]))
        self.expected |= {(alert, namespace) for alert in alerts}
        self.addresses[namespace] = address
        return address

    def load(self, namespace: str, rate: int, *options: str) -> None:
        """A load of some minutes on one of them."""
        traffic = ("--rate", str(rate), "--duration", "8m", "--connections", "16", *options)
        self.scene.load(f"load-{namespace}", f"http://{self.addresses[namespace]}", *traffic)

    def requests(self) -> None:
        """Troubles of the API."""
        folder = self.scene.folder
        model = folder / "fails.onnx"
        model.write_bytes(fails_above_200())
        self.api("errors", {"FRAUD__MODEL__PATH": str(model)}, "FraudModelErrors", "FraudApiErrorRate")
        self.load("errors", 5, "--scenario", "amount-x5=0.9")
        (folder / "policy.toml").write_text(NO_MODEL_POLICY)
        rules = {"FRAUD__MODEL__PATH": str(folder / "none.onnx"), "FRAUD__MODEL__OPTIONAL": "true"}
        self.api("rules", {**rules, "FRAUD__POLICY__PATH": str(folder / "policy.toml")}, "FraudFallbackRules")
        self.load("rules", 5)
        self.api("full", {"FRAUD__STORE__MAX_BYTES": str(1 << 20)}, "FraudStoreFailing")
        self.load("full", 20, "--customers", "100000")
        self.api("slow", {**CHAOS, "FRAUD__CHAOS__SLOW_ASSESSMENT": "2500ms"}, "FraudApiLatencyHigh")
        self.load("slow", 1)
        self.api("shed", {**CHAOS, "FRAUD__CHAOS__SLOW_ASSESSMENT": "30ms"}, "FraudApiShedding")
        self.load("shed", 40)
        self.api("quiet", {}, "FraudNoPredictions")

    def models(self) -> None:
        """Troubles of the model and of the store's snapshot."""
        folder = self.scene.folder
        drift = {"FRAUD__DRIFT__SAMPLE_EVERY": "1", "FRAUD__DRIFT__MIN_SAMPLES": "50"}
        self.api("drift", drift, "FraudFeatureDrift", "FraudScoreDrift", "FraudShareHigh")
        self.load("drift", 10, "--scenario", "amount-x5=0.9")
        model = folder / "refused.onnx"
        shutil.copy(MODEL, model)
        self.api("refused", {"FRAUD__MODEL__PATH": str(model), "FRAUD__MODEL__WATCH": "1s"}, "FraudModelReloadRefused")
        # Told apart by their contents: a file that has not changed is not looked at.
        self.again.append(lambda: model.write_bytes(b"no model, " + str(time.time()).encode()))
        snapshots = folder / "snapshots"
        snapshots.mkdir()
        saved = {"FRAUD__STORE__SNAPSHOT_PATH": str(snapshots / "store"), "FRAUD__STORE__SNAPSHOT_EVERY": "2s"}
        self.api("snapshot", saved, "FraudSnapshotFailing")
        self.load("snapshot", 2)
        self.again.append(lambda: shutil.rmtree(snapshots, ignore_errors=True))

    def targets(self) -> None:
        """An instance that ends, and one that is no longer discovered."""
        self.api("down", {}, "FraudTargetDown")
        address = self.scene.api("api-missing", {})
        listed = self.scene.folder / "missing.json"
        listed.write_text(f'[{{"targets": ["{address}"], "labels": {{"job": "fraud-api", "namespace": "missing", "pod": "x"}}}}]')
        self.jobs.append({"job_name": "missing", "file_sd_configs": [{"files": [str(listed)], "refresh_interval": "1s"}]})
        self.expected.add(("FraudTargetMissing", "missing"))
        self.vanish = lambda: (self.scene.end("api-down"), listed.write_text("[]"))

    def consumer(self, namespace: str, broker: str, settings: dict[str, str], *alerts: str) -> None:
        """One fraud-stream in a namespace and under names of its own."""
        names = {f"FRAUD__KAFKA__{key}": namespace for key in ("GROUP", "TRANSACTIONAL_ID")}
        names["FRAUD__KAFKA__JOURNAL_TOPIC"] = f"{namespace}-journal"
        address = self.scene.stream(f"stream-{namespace}", broker, {**names, **settings})
        self.jobs.append(services.scraped("fraud-stream", namespace, [address]))
        self.expected |= {(alert, namespace) for alert in alerts}

    def stream(self) -> None:
        """Troubles of the stream: who it asks is slow, or gone; who writes sends rubbish; a topic is not there."""
        broker = self.scene.broker()
        for name, settings in (("asked", {}), ("slowly", {**CHAOS, "FRAUD__CHAOS__SLOW_ASSESSMENT": "100ms"})):
            self.addresses[name] = self.scene.api(f"api-{name}", settings)
        remote = {"FRAUD__SCORER__KIND": "http", "FRAUD__SCORER__REQUEST_RECORDS": "1", "FRAUD__KAFKA__BATCH_RECORDS": "50"}
        gone = {**remote, "FRAUD__SCORER__URL": f"http://{self.addresses['asked']}", "FRAUD__SCORER__TIMEOUT": "2s"}
        self.consumer("stalled", broker, gone, "FraudProcessingStalled")
        slowly = {**remote, "FRAUD__SCORER__URL": f"http://{self.addresses['slowly']}", "FRAUD__SCORER__CONCURRENCY": "1"}
        # One at a time, ten a second: it reads on, and falls behind.
        self.consumer("behind", broker, slowly, "FraudConsumerLag", "FraudKafkaQueueLong")
        self.consumer("letters", broker, {}, "FraudDeadLetters")
        self.consumer("notopic", broker, {"FRAUD__KAFKA__INPUT_TOPIC": "nobody-made-this"}, "FraudStreamReconnecting")
        traffic = ("--rate", "40", "--duration", "8m", "--malformed", "0.3", "--predictions-topic", "none")
        self.scene.load("load-kafka", f"kafka://{broker}", *traffic)
        self.stall = lambda: self.scene.end("api-asked")

    def cluster(self) -> None:
        """A small cluster under more load than it takes, with too little memory, whose replicas are shot."""
        options = ["--namespace", "cluster", "--min", "1", "--max", "2", "--millicores", "100", "--memory", str(1 << 20)]
        found = self.scene.cluster("cluster", options, {})
        self.jobs += services.discovered(found["metrics"])
        alerts = ("FraudMemoryHigh", "FraudMaxScale", "FraudScalingEvent", "FraudCrashLooping")
        self.expected |= {(alert, "cluster") for alert in alerts}
        self.addresses["cluster"] = found["service"]
        # Not before somebody sees it scale.
        self.crowd = lambda: self.load("cluster", 600, "--requests-per-connection", "50")

        def shoot() -> None:
            replicas = json.loads(services.get(f"http://{found['metrics']}/targets") or "[]")
            if len(replicas) == 2:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(replicas[0]["labels"]["process"]), signal.SIGKILL)

        self.again.append(shoot)


def wanted_receivers() -> dict[str, str]:
    """Alert → receiver, of those that the configuration without retraining has."""
    lines = (files.HOME / "tests/routes.txt").read_text().splitlines()
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return {alert: receivers.split(",")[-1] for alert, receivers in pairs}


def _all_there(found: Calamities) -> list[str]:
    names = {rule.name for rule in files.rules() if rule.is_alert}
    seen = {alert for alert, _ in found.expected} | set(ELSEWHERE)
    return [f"{name}: nobody provokes it; do so in alerts.py, or say in ELSEWHERE where it is" for name in sorted(names - seen)]


def run() -> list[str]:
    """Everything; what is wrong, in words."""
    webhook = Webhook()
    with Scene("alerts") as scene:
        rules = scene.folder / "rules"
        rules.mkdir()
        for path in files.rule_files():
            (rules / path.name).write_text(shortened(path.read_text()))
        found = Calamities(scene)
        for begin in (found.stream, found.requests, found.models, found.targets, found.cluster):
            begin()
        alertmanager = _alertmanager(scene, webhook.address)
        scene.prometheus(rules, found.jobs, alertmanager)
        problems = _all_there(found)
        time.sleep(15)
        found.crowd()
        found.vanish()
        found.stall()
        receivers = wanted_receivers()
        began = time.monotonic()
        seen: set[Told] = set()
        while found.expected and time.monotonic() - began < services.PATIENCE + 120:
            time.sleep(1)
            for trouble in found.again:
                trouble()
            seen = _tell(webhook, seen, began)
            for one in seen:
                if one.status == "firing" and one.receiver == receivers.get(one.alert):
                    found.expected.discard((one.alert, one.namespace))
        problems += [f"{alert} in {namespace}: the webhook of {receivers[alert]} was never told" for alert, namespace in sorted(found.expected)]
        if not problems:
            problems += _ends(scene, webhook)
    webhook.close()
    return problems


def _tell(webhook: Webhook, seen: set[Told], began: float) -> set[Told]:
    now = webhook.told()
    for one in sorted(now - seen, key=lambda told: told.alert):
        print(f"{time.monotonic() - began:6.1f} s  {one.receiver:13} {one.status:8} {one.alert} ({one.namespace})", flush=True)
    return now


def _ends(scene: Scene, webhook: Webhook) -> list[str]:
    """Trouble that is over is told, too."""
    for name in ("load-shed", "load-slow"):
        scene.end(name)
    resolved = lambda alert, namespace: any((told.alert, told.namespace, told.status) == (alert, namespace, "resolved") for told in webhook.told())
    try:
        for alert, namespace in (("FraudApiShedding", "shed"), ("FraudApiLatencyHigh", "slow")):
            services.wait_for(f"{alert} in {namespace} resolved", lambda: resolved(alert, namespace))
    except services.NotReady as error:
        return [str(error)]
    return []


def _alertmanager(scene: Scene, webhook: str) -> str:
    address = f"127.0.0.1:{services.free_port()}"
    config: Path = scene.folder / "alertmanager.yml"
    config.write_text(_routes((files.HOME / "alertmanager.webhook.yaml").read_text(), webhook))
    program = shutil.which("prometheus-alertmanager") or "alertmanager"
    options = [f"--config.file={config}", f"--web.listen-address={address}", "--cluster.listen-address=", "--storage.path=alertmanager"]
    scene.start("alertmanager", [program, *options])
    scene.wait_until_ready("alertmanager", f"http://{address}/-/ready")
    return address


def main() -> int:
    """The check as a command."""
    problems = run()
    for problem in problems:
        print(f"monitoring: {problem}", file=sys.stderr)
    if not problems:
        print(f"monitoring: every alert was told to its receiver; elsewhere: {', '.join(ELSEWHERE)}")
    return 1 if problems else 0
