"""The parameters of a run, and where its files and programs are. The only place that reads the environment."""

import json
import os
import re
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path

from fraud_retraining.errors import ParameterError

TRAINING = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class GateParameters:
    """What a candidate has to show. Gains and losses are differences to the champion on the same rows.

    `min_*_gain`: the lower end of the gain's confidence interval has to reach it. `max_*_loss`: by how much the candidate
    may be worse. `min_roc_auc` holds for a first champion as well. `max_latency_us` and `max_latency_ratio`: time to
    assess one transaction in fraud-core, in microseconds and against the champion's. `store_history_days`: the services'
    `store.history`; they refuse a model that looks back further.
    """

    min_average_precision_gain: float = 0.002
    min_card_precision_gain: float = 0.0
    max_roc_auc_loss: float = 0.005
    max_scenario_recall_loss: float = 0.05
    min_scenario_frauds: int = 20
    max_calibration_error: float = 0.01
    min_roc_auc: float = 0.7
    max_latency_us: float = 1000.0
    max_latency_ratio: float = 4.0
    store_history_days: float = 37.0
    confidence: float = 0.95
    resamples: int = 1000

    def problems(self) -> list[str]:
        """What is wrong with the values."""
        found = []
        if not 0.5 < self.confidence < 1:
            found.append(f"gate.confidence is {self.confidence}; it lies between 0.5 and 1")
        if self.resamples < 100:
            found.append(f"gate.resamples is {self.resamples}; fewer than 100 make no interval")
        limits = ("max_roc_auc_loss", "max_scenario_recall_loss", "max_calibration_error", "max_latency_us")
        found += [
            f"gate.{name} is {getattr(self, name)}; it must not be negative"
            for name in (*limits, "store_history_days")
            if not getattr(self, name) >= 0
        ]
        return found


@dataclass(frozen=True)
class Parameters:
    """One run's.

    `source`: file, folder or pattern of transactions (Parquet, CSV, JSON lines; also `s3://`). `labels`: the same for
    labels that stand apart (`transaction_id, label, observed_at`). `until`: the day on which the run sees the world, not
    included. `window_days`: how many days of transactions are read; windows and training days have to fit in.
    `recipe`: a file of `deploy/training`, or a path. `alert_budget`: alerts a day that can be worked on. `keep_days`: files
    of runs that are older are removed.
    """

    source: str
    until: date
    labels: str | None = None
    window_days: int = 120
    recipe: str = "default.toml"
    alert_budget: int = 100
    model: str = "fraud"
    experiment: str = "fraud-retraining"
    keep_days: int = 30
    gate: GateParameters = field(default_factory=GateParameters)

    @property
    def recipe_path(self) -> Path:
        """The recipe's file: a bare name stands beside this package."""
        path = Path(self.recipe)
        return path if path.is_absolute() or path.parent.name else TRAINING / path


@dataclass(frozen=True)
class DrillParameters:
    """An attack drill's: addresses as `fraud-loadgen drill` takes them; `arguments` are handed on to it."""

    target: str = "http://fraud-api.fraud.svc:8000"
    prometheus: str = "http://prometheus-operated.monitoring.svc:9090"
    alertmanager: str | None = "http://alertmanager-operated.monitoring.svc:9093"
    replica: str | None = None
    arguments: list[str] = field(default_factory=list)
    experiment: str = "fraud-attack-drill"


def parse_drill(text: str) -> DrillParameters:
    """A drill's parameters from JSON; raises `ParameterError` with everything that is wrong."""
    problems: list[str] = []
    drill = _fill(DrillParameters, _object(text), ("", problems))
    if drill and not all(isinstance(argument, str) for argument in drill.arguments):
        problems.append("arguments: a list of texts is expected")
    if problems or not drill:
        raise ParameterError(problems)
    return drill


def _object(text: str) -> dict:
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ParameterError([f"not JSON: {error}"]) from error
    if not isinstance(table, dict):
        raise ParameterError(["a JSON object is expected"])
    return table


def parse(text: str) -> Parameters:
    """Parameters from JSON; raises `ParameterError` with everything that is wrong."""
    table = _object(text)
    problems: list[str] = []
    gate = _fill(GateParameters, table.pop("gate", None) or {}, ("gate.", problems))
    table["until"] = _day(table.get("until"), problems)
    run = _fill(Parameters, {**table, "gate": gate}, ("", problems))
    if gate:
        problems += gate.problems()
    if run:
        if run.window_days < 21:
            problems.append(f"window_days is {run.window_days}; training, label delay and test need at least 21")
        if run.alert_budget < 1:
            problems.append(f"alert_budget is {run.alert_budget}; it must be at least 1")
        if run.keep_days < 1:
            problems.append(f"keep_days is {run.keep_days}; it must be at least 1")
        if not run.source:
            problems.append("source is empty: name a file, folder or pattern of transactions")
    if problems or not run:
        raise ParameterError(problems)
    return run


def _day(text, problems: list[str]) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        problems.append(f"until is {text!r}; write a day like 2026-01-31")
        return None


def _fill(kind, table: dict, place):
    prefix, problems = place
    known = {item.name: item for item in fields(kind)}
    for name in table.keys() - known.keys():
        problems.append(f"{prefix}{name} is unknown; known are {', '.join(known)}")
    values = {}
    for name, value in table.items():
        default = known[name].default if name in known else None
        if isinstance(default, bool) or not isinstance(default, (int, float)):
            values[name] = value
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            problems.append(f"{prefix}{name} is {value!r}; a number is expected")
        else:
            values[name] = value
    try:
        return kind(**{name: value for name, value in values.items() if name in known})
    except TypeError as error:
        problems.append(str(error).partition("() ")[2] or str(error))
        return None


@dataclass(frozen=True)
class Environment:
    """What the machine gives: `FRAUD_WORK` (folder of runs), `FRAUD_BIN` (folder of the platform's programs; else those
    of PATH), `MLFLOW_TRACKING_URI`, `FRAUD_SIGNING_KEY_FILE` (optional), `FRAUD_MADE_BY` (who started the run)."""

    work: Path
    programs: Path | None
    tracking_uri: str | None
    signing_key: Path | None
    made_by: str

    @staticmethod
    def read(values=os.environ) -> "Environment":
        """From the process's environment, or a mapping."""

        def path(name: str) -> Path | None:
            return Path(values[name]) if values.get(name) else None

        return Environment(
            work=path("FRAUD_WORK") or Path("out/retraining"),
            programs=path("FRAUD_BIN"),
            tracking_uri=values.get("MLFLOW_TRACKING_URI") or None,
            signing_key=path("FRAUD_SIGNING_KEY_FILE"),
            made_by=values.get("FRAUD_MADE_BY") or "python -m fraud_retraining",
        )

    def folder(self, run_id: str) -> Path:
        """A run's folder: its id, with everything replaced that is no good file name."""
        return self.work / re.sub(r"[^A-Za-z0-9._-]+", "_", run_id)
