"""Every rule and every panel on a real Prometheus that scrapes the real services under load.

An expression that nobody fills is found here and nowhere else: a metric by a name that the service does not use, a label value
that never occurs, two sides that never meet. Nothing is judged by time: what is empty is asked again until it is not, or until
patience ends.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from . import check, files, promql, services, tools
from .services import MODEL, Prometheus, Scene

#: Questions to the past reach so far back, in seconds: the whole of a run.
SPAN = 900
#: What may be empty, each with its reason.
MAY_BE_EMPTY: dict[str, str] = {}


@dataclass(frozen=True)
class Question:
    """An expression, where it stands, and whether it is asked of the past or of now."""

    where: str
    expr: str
    past: bool


def questions() -> list[Question]:
    """Every selector of every rule, every rule that records, every query of a panel and of a runbook."""
    found = []
    for rule in files.rules():
        where = f"rules/{rule.file}, {rule.name}"
        if not rule.is_alert:
            found.append(Question(where, rule.name, True))
        # An alert is empty while all is well; what it looks at must not be.
        for selector in promql.selectors(rule.expr):
            found.append(Question(where, promql.text_of(selector), True))
    for path in files.dashboards():
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                where = f"{path.name}, panel “{panel['title']}” ({panel['id']})"
                found.append(Question(where, promql.settled(target["expr"]), bool(target.get("range"))))
    found += [Question(where, promql.settled(expr), True) for where, expr in check.runbook_queries()]
    return found


def empty(prometheus: Prometheus, asked: list[Question]) -> tuple[list[Question], list[str]]:
    """Those of the questions that had no answer, and what is no expression."""
    unanswered, problems = [], []
    for question in asked:
        try:
            series = prometheus.ask(question.expr, SPAN if question.past else None)
        except ValueError as error:
            problems.append(f"{question.where}: {error}: {question.expr}")
            continue
        if not any(_is_number(sample) for one in series for sample in one.get("values", [one.get("value")])):
            unanswered.append(question)
    return unanswered, problems


def _is_number(sample: list) -> bool:
    """A panel shows nothing for NaN."""
    return sample[1] != "NaN"


POLICY = """
[[rules]]
name = "large-amount"
decision = "review"
when = { amount = { above = 900 } }
"""


def provoke(scene: Scene, service: str, api_metrics: str) -> None:
    """What ordinary load does not bring about: refusals, shedding, a file that is no model, a replica that ends."""
    address = f"http://{service}"
    for body in ("nonsense", "{}", '{"transaction_id": 1}'):
        services.post(f"{address}/predict", body)
    rows = [json.dumps({"transaction_id": f"late-{n}", "customer_id": n, "terminal_id": n, "tx_amount": 950, "tx_datetime": "2026-01-01 12:00:00"}) for n in range(60)]
    services.post(f"{address}/predict/batch", "\n".join(rows + rows[:5]), "application/x-ndjson")
    (scene.folder / "model.onnx").write_bytes(b"no model")
    crowd(address, api_metrics)
    replica = json.loads(services.get(f"http://{api_metrics}/targets"))[-1]
    subprocess.run(["kill", "-9", replica["labels"]["process"]], check=True)


def crowd(address: str, api_metrics: str) -> None:
    """Comes in greater and greater numbers until every replica has sent somebody away."""
    for rate in (400, 800, 1600, 3200, 6400):
        burst = ("--rate", str(rate), "--duration", "3s", "--connections", "200", "--timeout", "5s")
        subprocess.run([str(services.PROGRAMS / "fraud-loadgen"), "run", "--target", address, *burst], capture_output=True, check=False)
        replicas = [group["targets"][0] for group in json.loads(services.get(f"http://{api_metrics}/targets"))]
        if all('status_code="503"' in (services.get(f"http://{replica}/metrics") or "") for replica in replicas):
            return


def run() -> list[str]:
    """Starts everything, waits until every question is answered; what is wrong, in words."""
    with Scene("live") as scene:
        shutil.copy(MODEL, scene.folder / "model.onnx")
        # The same model once more as challenger: what it says is of no interest, that it is heard is. The served file itself would
        # not be taken for one, so it gets a doc_string (field 6 of ONNX' ModelProto).
        (scene.folder / "challenger.onnx").write_bytes(MODEL.read_bytes() + b"\x32\x0achallenger")
        (scene.folder / "policy.toml").write_text(POLICY)
        model = {
            "FRAUD__MODEL__PATH": str(scene.folder / "model.onnx"),
            "FRAUD__MODEL__WATCH": "1s",
            "FRAUD__POLICY__PATH": str(scene.folder / "policy.toml"),
            "FRAUD__MODEL__SHADOW__SOURCE": str(scene.folder / "challenger.onnx"),
        }
        settings = {
            **model,
            "FRAUD__DRIFT__SAMPLE_EVERY": "1",
            "FRAUD__DRIFT__MIN_SAMPLES": "20",
            # So little that a burst is shed even here.
            "FRAUD__ADMISSION__MAX_WAIT": "5ms",
        }
        broker = scene.broker()
        state = {"FRAUD__STATE__FOLDER": str(scene.folder / "state"), "FRAUD__STATE__SNAPSHOT_EVERY": "2s"}
        stream = scene.stream("fraud-stream", broker, {**model, **state})
        cluster = scene.cluster("fraud-api", [], settings)
        jobs = services.discovered(cluster["metrics"]) + [services.scraped("fraud-stream", "fraud", [stream])]
        prometheus = scene.prometheus(files.HOME / "rules", jobs)
        traffic = ("--duration", "40s", "--malformed", "0.05", "--label-delay", "4s", "--scenario", "amount-x5=0.2")
        scene.load("load-http", f"http://{cluster['service']}", "--rate", "40", "--connections", "8", *traffic)
        scene.load("load-batch", f"http://{cluster['service']}", "--rate", "20", "--batch", "5", "--connections", "2", *traffic)
        scene.load("load-kafka", f"kafka://{broker}", "--rate", "60", *traffic)
        time.sleep(10)
        provoke(scene, cluster["service"], cluster["metrics"])
        problems = [f"{name}: {line}" for name, address in _metric_pages(cluster, stream) for line in _lint(address)]
        problems += _control(prometheus)
        asked = questions()
        began = time.monotonic()
        while True:
            left, wrong = empty(prometheus, asked)
            asked = left
            open_ones = [question for question in left if question.expr not in MAY_BE_EMPTY]
            if not open_ones or wrong or time.monotonic() - began > services.PATIENCE:
                break
            time.sleep(2)
        return problems + wrong + [f"{question.where}: empty: {question.expr}" for question in open_ones]


def _control(prometheus: Prometheus) -> list[str]:
    """The questioner itself is asked: what nobody exports must be found empty, and what is no expression, wrong."""
    misspelt, broken = Question("control", 'fraud_decision_total{job="fraud-api"}', True), Question("control", "sum(up", False)
    left, wrong = empty(prometheus, [misspelt, broken])
    return [] if left == [misspelt] and len(wrong) == 1 else ["a misspelt metric and half an expression were not noticed"]


def _metric_pages(cluster: dict, stream: str) -> list[tuple[str, str]]:
    replica = json.loads(services.get(f"http://{cluster['metrics']}/targets"))[0]["targets"][0]
    return [("fraud-api", f"http://{replica}/metrics"), ("fraud-stream", f"http://{stream}/metrics")]


def _lint(url: str) -> list[str]:
    """What promtool finds wrong with a page of metrics."""
    page = services.get(url)
    if not page:
        return [f"{url} gives no metrics"]
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip().splitlines()
    return [f"promtool check metrics: {line}" for line in said] if done.returncode else []


def main() -> int:
    """The check as a command."""
    problems = run()
    for problem in problems:
        print(f"monitoring: {problem}", file=sys.stderr)
    if not problems:
        print(f"monitoring: {len(questions())} expressions of rules, panels and runbooks have answers")
    return 1 if problems else 0
