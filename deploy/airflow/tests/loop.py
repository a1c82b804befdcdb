"""The whole loop on real servers: Airflow, MLflow, Alertmanager, fraud-api under load. `scripts/mlops.sh` runs it.

With `--handbook` the same servers and the same DAG train on the handbook's data instead, and its figures are held against
the bars below.

A step's time is printed; none of them decides anything.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from clients import Airflow, Mlflow, firing
from servers import Servers, ask, free_port, until

ROOT = Path(__file__).resolve().parents[3]
START = date(2018, 4, 1)
# Simulated days; behaviour changes on DRIFT_DAY.
DAYS, DRIFT_DAY = 150, 76
# A run reads WINDOW days, which end DELAY days before its own day.
WINDOW, DELAY = 63, 7
GATE = {"max_latency_us": 1e6, "max_latency_ratio": 1e3, "resamples": 300, "max_calibration_error": 0.05}


class Loop:
    """One go: servers, files, and the timeline."""

    def __init__(self, folder: Path, options):
        self.folder, self.options = folder, options
        self.bin = options.bin.resolve()
        self.pythons = {"mlflow": options.mlflow_python, "airflow": options.airflow_python}
        self.servers = Servers(folder, self.pythons)
        self.archive, self.shuffled = folder / "archive.parquet", folder / "shuffled.parquet"
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """A line of the timeline."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def program(self, name: str, *arguments) -> str:
        """Runs one of the platform's programs; gives its output."""
        done = subprocess.run([self.bin / name, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name} {arguments[0]}: {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def simulate(self) -> None:
        """The archive, and the same with shuffled labels."""
        self.program(
            "fraud-loadgen", "simulate", "--seed", 7, "--days", DAYS, "--customers", 1500, "--terminals", 3000,
            "--drift-day", DRIFT_DAY, "--drift-amount-factor", 2, "--drift-fraud-factor", 2, "--output", self.archive,
        )  # fmt: skip
        self.say(
            f"simulated {DAYS} days; from day {DRIFT_DAY} on amounts are doubled and twice as many cards compromised"
        )
        last = START + timedelta(days=DRIFT_DAY - 7)
        script = (
            "import polars as pl, sys\n"
            "table = pl.read_parquet(sys.argv[1])\n"
            # Labels of the last week, by which it is judged, stay as they are.
            "early = table.filter(pl.col('tx_datetime').dt.replace_time_zone(None) < pl.lit(sys.argv[3]).str.to_datetime())\n"
            "late = table[early.height:]\n"
            "mixed = early.select(pl.col('tx_fraud', 'tx_fraud_scenario').shuffle(seed=1))\n"
            "pl.concat([early.with_columns(mixed), late]).write_parquet(sys.argv[2])\n"
        )
        subprocess.run(
            [self.pythons["mlflow"], "-c", script, self.archive, self.shuffled, f"{last.isoformat()} 00:00:00"],
            check=True,
        )

    def publish(self) -> None:
        """A git repository with the DAGs."""
        self.repository = self.folder / "repository"
        for name in ("airflow/dags", "training/fraud_training", "training/fraud_retraining"):
            source = ROOT / "deploy" / name
            shutil.copytree(source, self.repository / "deploy" / name, ignore=shutil.ignore_patterns("__pycache__"))
        for recipe in (ROOT / "deploy" / "training").glob("*.toml"):
            shutil.copy(recipe, self.repository / "deploy" / "training")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit("The DAGs")

    def all(self) -> None:
        """Everything in its order."""
        self.simulate()
        self.publish()
        self.start()
        self.first_champion()
        self.refused()
        self.bad_input()
        self.refreshed()
        self.served()
        report = self.load()
        self.promoted()
        self.swapped()
        self.rolled_back()
        self.counted(self.unload(report))

    def git(self, *arguments: str) -> str:
        """Git in the repository."""
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        command = ["git", "-C", self.repository, *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, message: str) -> str:
        """Everything as a commit; gives its id."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def parameters(self, day: int, source: Path) -> dict:
        """A run made for that simulated day."""
        until = START + timedelta(days=day)
        recipe = str(Path(__file__).with_name("recipe.toml"))
        values = {"source": str(source), "until": until.isoformat(), "window_days": WINDOW, "recipe": recipe}
        return {**values, "alert_budget": 40, "gate": GATE}

    def start(self) -> None:
        """MLflow, the webhook, Alertmanager, Airflow."""
        self.mlflow = Mlflow(self.servers.mlflow())
        self.say(f"MLflow answers at {self.mlflow.url}")
        self.private, self.public = self.folder / "fraud.key", self.folder / "fraud.pub"
        self.retraining("keys", "--private", self.private, "--public", self.public)
        hook = free_port()
        alertmanager = self.servers.alertmanager(f"http://127.0.0.1:{hook}/alerts")
        self.say(f"Alertmanager answers at {alertmanager}")
        self.alertmanager = alertmanager
        url = self.servers.airflow(
            self.repository,
            {
                "FRAUD_PYTHON": str(self.pythons["mlflow"]),
                "FRAUD_WORK": str(self.folder / "work"),
                "FRAUD_BIN": str(self.bin),
                "FRAUD_SIGNING_KEY_FILE": str(self.private),
                "FRAUD_ALERTMANAGER_URL": alertmanager,
                "FRAUD_RETRAINING_SCHEDULE": "",
                "FRAUD_RETRIES": "2",
                "FRAUD_RETRY_SECONDS": "2",
                "MLFLOW_TRACKING_URI": self.mlflow.url,
            },
        )
        self.airflow = Airflow(url)
        self.say(f"Airflow answers at {url}")
        self.listen(hook)
        wanted = {"fraud_retraining", "fraud_attack_drill"}
        until("both DAGs", 240, lambda: wanted <= self.airflow.has_dags())
        self.airflow.unpause()
        self.say("Airflow has read both DAGs from the git repository")

    def listen(self, hook: int) -> None:
        """What turns a drift alert into a run."""
        credentials = self.folder / "airflow.json"
        credentials.write_text(json.dumps({"username": "admin", "password": "admin"}))
        conf = json.dumps(self.parameters(DAYS - 2, self.archive))
        command = [
            self.pythons["mlflow"],
            "-m",
            "fraud_retraining",
            "trigger",
            "--airflow",
            self.airflow.url,
            "--credentials",
            credentials,
        ]
        command += ["--alert", "FraudFeatureDrift", "--listen", f"127.0.0.1:{hook}", "--conf", conf]
        self.servers.start("trigger", command, {"PYTHONPATH": str(ROOT / "deploy" / "training")})
        self.servers.answers("trigger", f"http://127.0.0.1:{hook}/healthz")

    def retraining(self, *arguments) -> str:
        """A command of fraud_retraining, outside of Airflow."""
        command = [self.pythons["mlflow"], "-m", "fraud_retraining", *map(str, arguments)]
        path = {"PYTHONPATH": str(ROOT / "deploy" / "training"), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=path).stdout

    def run(self, run_id: str, conf: dict) -> tuple[str, dict[str, str], str]:
        """A run of the DAG to its end."""
        self.airflow.trigger(run_id, conf)
        return self.airflow.finished(run_id)

    def explain(self, run_id: str, found) -> str:
        """What went wrong in a run, for an assertion."""
        failure = self.folder / "work" / run_id / "failure.json"
        return f"{run_id}: {found}; {failure.read_text() if failure.exists() else ''}; logs in {self.folder}"

    def first_champion(self) -> None:
        """Nothing is registered: the first candidate has only to be good for something."""
        state, tasks, self.commit_run = self.run("first", self.parameters(70, self.archive))
        assert state == "success" and tasks["promote"] == "success", self.explain("first", tasks)
        aliases = self.mlflow.aliases()
        assert aliases == {"candidate": "1", "champion": "1"}, aliases
        run_id = self.mlflow.run_id("1")
        wanted = {"card.md", "pictures", "curves.json", "verdict.html", "verdict.json", "training.json"}
        assert wanted <= self.mlflow.artefacts(run_id), self.mlflow.artefacts(run_id)
        tags = self.mlflow.tags("1")
        assert len(tags["fraud.sha256"]) == 64 and tags["fraud.signature"] and tags["fraud.file"] == "model.onnx", tags
        metrics = self.mlflow.metrics(run_id)
        self.say(
            f"version 1 is champion: ROC {metrics['roc_auc']:.3f}, average precision {metrics['average_precision']:.3f}"
        )

    def refused(self) -> None:
        """A candidate that was trained on shuffled labels."""
        state, tasks, _ = self.run("shuffled", self.parameters(DRIFT_DAY, self.shuffled))
        assert state == "success" and tasks["promote"] == "skipped", self.explain("shuffled", tasks)
        aliases = self.mlflow.aliases()
        assert aliases == {"candidate": "2", "champion": "1"}, aliases
        verdict = json.loads((self.folder / "work/shuffled/verdict.json").read_text())
        failed = [check["name"] for check in verdict["checks"] if not check["passed"]]
        assert "better on average precision" in failed, failed
        assert "Refused" in self.mlflow.artefact(self.mlflow.run_id("2"), "verdict.html")
        assert self.mlflow.tags("2")["fraud.verdict"] == "refuse"
        self.say(f"version 2, of shuffled labels, is refused: {', '.join(failed)}")

    def bad_input(self) -> None:
        """An empty window fails in `extract` at once, is told to Alertmanager, and moves nothing."""
        state, tasks, _ = self.run("empty", {**self.parameters(70, self.archive), "until": "2011-01-01"})
        assert state == "failed" and tasks["extract"] == "failed" and tasks["features"] == "upstream_failed", tasks
        alert = until("the alert", 60, self.failed_tasks)[0]
        assert alert["labels"]["task"] == "extract" and "no transactions from" in alert["annotations"]["description"], (
            alert
        )
        assert self.mlflow.aliases()["champion"] == "1"
        self.say(f"an empty window fails in extract; Alertmanager has: {alert['annotations']['description'][:90]} …")

    def failed_tasks(self) -> list[dict]:
        """The alerts of tasks; their run's own has no task."""
        return [alert for alert in firing(self.alertmanager, "FraudPipelineFailed") if "task" in alert["labels"]]

    def refreshed(self) -> None:
        """A commit reaches the next run."""
        dag = self.repository / "deploy/airflow/dags/fraud_retraining_dag.py"
        dag.write_text(dag.read_text().replace('tags=["fraud"]', 'tags=["fraud", "refreshed"]'))
        self.head = self.commit("A change")
        begin = time.monotonic()
        until("the commit in Airflow", 240, lambda: self.airflow.dag_bundle_version() == self.head)
        self.say(
            f"a commit was in Airflow {time.monotonic() - begin:.0f} s later (refresh every 5 s here, 60 s in a cluster)"
        )

    def served(self) -> None:
        """fraud-api follows the alias `champion`, under load from here to the end."""
        port, management = free_port(), free_port()
        settings = self.folder / "fraud-api.toml"
        settings.write_text(
            f"""
[server]
bind = "127.0.0.1:{port}"
management = "127.0.0.1:{management}"
[model]
source = "mlflow:models:/fraud@champion"
[model.mlflow]
tracking_uri = "{self.mlflow.url}"
poll = "1s"
public_key_file = "{self.public}"
[model.guards]
window = "5m"
min_count = 500
"""
        )
        self.servers.start("fraud-api", [self.bin / "fraud-api", "--config", settings])
        self.api, self.management = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{management}"
        self.servers.answers("fraud-api", f"{self.api}/health/ready")
        assert self.version() == "1", self.version()
        self.say(f"fraud-api answers at {self.api} with version 1, its signature checked")

    def version(self) -> str:
        """The model that answers a payment now."""
        payment = {
            "transaction_id": f"probe-{time.monotonic_ns()}",
            "customer_id": 1,
            "terminal_id": 2,
            "tx_amount": 10,
        }
        payment["tx_datetime"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        return str(ask(f"{self.api}/predict?record=false", payment)["model_version"])

    def load(self) -> Path:
        """Payments at a steady rate; gives the report's file, which is there when `unload` returns."""
        report = self.folder / f"load-{time.monotonic_ns()}.json"
        command = [self.bin / "fraud-loadgen", "run", "--target", self.api, "--rate", 100, "--duration", "30m"]
        # A debug build beside Airflow on two cores may be late; what counts here is that every answer comes.
        command += ["--timeout", "60s", "--schedule-tolerance", 60000, "--json", report, "--connections", 32]
        self.servers.start("load", command)
        return report

    def unload(self, report: Path) -> dict:
        """Ends the load; gives what became of the requests."""
        process = self.servers.running.pop("load")
        process.send_signal(signal.SIGINT)
        process.wait(120)
        return json.loads(report.read_text())

    def handbook(self, source: Path) -> None:
        """The handbook's data, with the recipe and the code of `make handbook`, through the same DAG."""
        values = {
            "source": str(source.absolute()),
            "until": "2018-10-08",
            "window_days": 183,
            "recipe": "handbook.toml",
        }
        values |= {"model": "fraud-handbook", "experiment": "handbook", "alert_budget": 100}
        # Its features look back 97 days: a service that takes the model needs as much.
        values |= {"gate": {"store_history_days": 97}}
        self.airflow.trigger("handbook", values)
        self.say(f"the DAG runs on {source.name}")
        state, tasks, _ = self.airflow.finished("handbook", seconds=HANDBOOK_SECONDS)
        assert state == "success", self.explain("handbook", tasks)
        for task, seconds in self.airflow.durations("handbook").items():
            self.say(f"{task}: {tasks[task]}, {seconds:.0f} s")
        work = self.folder / "work/handbook"
        training, verdict = (json.loads((work / name).read_text()) for name in ("training.json", "verdict.json"))
        self.say(f"chosen: {training['candidate']}; {training['rows']['test']:,} test rows, {training['frauds']['test']} frauds")
        for check in verdict["checks"]:
            self.say(f"gate, {'yes' if check['passed'] else 'NO'}: {check['name']}: {check['found']} ({check['asked']})")
        mlflow = Mlflow(self.mlflow.url, "fraud-handbook")
        metrics = mlflow.metrics(mlflow.run_id("1"))
        for name, bar in BARS.items():
            mean, deviation = metrics[f"{name}_seeds_mean"], metrics[f"{name}_seeds_deviation"]
            self.say(f"{name}: {mean:.4f} ± {deviation:.4f} over {len(training['seeds'])} seeds; to be reached: {bar}")
        assert all(metrics[f"{name}_seeds_mean"] >= bar for name, bar in BARS.items()), metrics
        assert tasks["promote"] == "success" and mlflow.aliases()["champion"] == "1", (tasks, verdict["reasons"])
        self.say("promoted")

    def counted(self, report: dict) -> None:
        """No request may have failed over all that happened."""
        ends = report["total"]["ends"]
        lost = {
            name: ends[name]
            for name in ("failed", "timed_out", "broken", "refused", "accepted_malformed")
            if ends[name]
        }
        assert ends["answered"] and not lost, ends
        self.say(
            f"load: {ends['answered']:,} requests answered, {ends['shed']} shed, none failed, over two swaps and a rollback"
        )

    def swapped(self) -> None:
        """The promoted model is taken up without a failed request."""
        begin = time.monotonic()
        until("version 3 in an answer", 120, lambda: self.version() == "3", every=0.1)
        self.say(f"fraud-api answers with version 3, {time.monotonic() - begin:.1f} s after the DAG's end")

    def rolled_back(self) -> None:
        """The refused model is forced in, past the gate: the service goes back by itself and marks it."""
        self.mlflow.set_alias("previous", "3")
        self.mlflow.set_alias("champion", "2")
        begin = time.monotonic()
        self.say("version 2 is forced in")
        until("version 2 in an answer", 120, lambda: self.version() == "2", every=0.05)
        self.say(f"fraud-api answers with version 2, {time.monotonic() - begin:.1f} s later")
        until("version 3 again", 300, lambda: self.version() == "3", every=0.1)
        self.say(f"fraud-api is back at version 3, {time.monotonic() - begin:.1f} s after it was forced")
        mark = until("the mark", 60, lambda: self.mlflow.tags("2").get("fraud.rolled_back"))
        self.say(f"MLflow has on version 2: fraud.rolled_back = {mark}")

    def promoted(self) -> None:
        """Drift is noticed: the alert goes through Alertmanager and the webhook, and begins a run that is promoted."""
        labels = {"alertname": "FraudFeatureDrift", "severity": "warning", "feature": "TX_AMOUNT"}
        ask(f"{self.alertmanager}/api/v2/alerts", [{"labels": labels}])
        self.say("the drift alert fires")
        run_id = until("the run", 120, lambda: [name for name in self.airflow.runs() if name.startswith("alert__")])[0]
        self.say(f"Airflow has begun {run_id}")
        state, tasks, version = self.airflow.finished(run_id)
        assert state == "success" and tasks["promote"] == "success", self.explain(run_id, tasks)
        assert version == self.head != self.commit_run
        aliases = self.mlflow.aliases()
        assert aliases == {"candidate": "3", "champion": "3", "previous": "1"}, aliases
        metrics = self.mlflow.metrics(self.mlflow.run_id("3"))
        self.say(f"version 3 is champion: gain in average precision {metrics['gain_average_precision']:+.3f}, "
                 f"card precision {metrics['gain_card_precision']:+.3f}, ROC {metrics['gain_roc_auc']:+.3f}")  # fmt: skip


# However slow the machine: training on the handbook's data that takes longer hangs.
HANDBOOK_SECONDS = 3 * 3600
# What training on the handbook's data and protocol has to reach.
BARS = {"roc_auc": 0.88, "average_precision": 0.68, "card_precision_at_100": 0.295}


def absolute(text: str) -> Path:
    """Not resolved: an environment's Python is a link, and must be called by its own name."""
    return Path(text).absolute()


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True, help="folder with the platform's programs")
    parser.add_argument("--mlflow-python", type=absolute, required=True)
    parser.add_argument("--airflow-python", type=absolute, required=True)
    parser.add_argument("--handbook", type=Path, help="the handbook's transactions: trained on instead")
    parser.add_argument("--keep", type=Path, help="folder for data and logs, kept (default: a temporary one)")
    options = parser.parse_args()
    if options.keep:
        shutil.rmtree(options.keep, ignore_errors=True)
        options.keep.mkdir(parents=True)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="fraud-loop-"))
    loop = Loop(folder.resolve(), options)
    try:
        if options.handbook:
            loop.publish()
            loop.start()
            loop.handbook(options.handbook)
        else:
            loop.all()
    except (AssertionError, RuntimeError, TimeoutError) as error:
        loop.say(f"FAILED: {error}")
        print(f"data and logs: {folder}", file=sys.stderr)
        return 1
    finally:
        loop.servers.stop_all()
    loop.say("done")
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
