"""What both DAGs share: a step of `fraud_retraining` as an operator, and the alert when one fails.

Steps run in the training's own Python, in a process group of their own, so that a time-out ends everything they began.
What they do stands in `deploy/training/fraud_retraining`; nothing of it stands here. The environment of Airflow's workers
names the places:

FRAUD_PYTHON             Python with `deploy/mlflow/requirements.txt`
FRAUD_WORK               folder for the runs' files
FRAUD_BIN                folder with fraud-stream and fraud-loadgen (else PATH)
MLFLOW_TRACKING_URI      the MLflow server
FRAUD_SIGNING_KEY_FILE   private key that signs models (optional)
FRAUD_ALERTMANAGER_URL   Alertmanager, told of failures (optional)

Runs that nobody gives parameters to, by schedule or by drift, take FRAUD_SOURCE (transactions) and FRAUD_LABELS (labels that
stand apart, optional).
"""

import json
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

# Beside the DAGs in the same checkout: a run's steps are of the same commit as its DAG.
TRAINING = Path(__file__).resolve().parents[2] / "training"
sys.path.insert(0, str(TRAINING))

from fraud_retraining import alerts  # noqa: E402  (found by the line above)
from fraud_retraining.parameters import (  # noqa: E402
    DrillParameters,
    Environment,
    GateParameters,
    Parameters,
)

# The DAGs take parameters from here: in whatever order imports are sorted, the path above is set before.
__all__ = ["DEFAULTS", "DrillParameters", "GateParameters", "Parameters", "Step", "alert", "parameters", "schedule"]

log = logging.getLogger(__name__)

# As `fraud_retraining.cli` has it: trying again will give the same.
DATA_ERROR = 65


class Step(BashOperator):
    """One command of `python -m fraud_retraining`. Wrong data fails at once; what may pass is tried again."""

    def __init__(self, *, task_id: str, **settings):
        command = 'exec "$FRAUD_PYTHON" -m fraud_retraining "$FRAUD_STEP" --run-id "$FRAUD_RUN" --parameters "$FRAUD_PARAMETERS"'
        super().__init__(task_id=task_id, bash_command=command, append_env=True, do_xcom_push=False, **settings)

    def execute(self, context):
        """Runs it; its own message becomes the error."""
        run = context["dag_run"]
        # Values travel in the environment: no shell ever reads them.
        self.env = {
            "FRAUD_STEP": self.task_id,
            "FRAUD_RUN": run.run_id,
            "FRAUD_PARAMETERS": json.dumps(parameters(context)),
            "FRAUD_PYTHON": os.environ.get("FRAUD_PYTHON", sys.executable),
            "FRAUD_MADE_BY": f"Airflow, {run.dag_id}, {run.run_id}",
            "PYTHONPATH": str(TRAINING),
            "OMP_WAIT_POLICY": "passive",
        }
        try:
            return super().execute(context)
        except AirflowException as error:
            failure = self._failure(run.run_id)
            if failure is None:
                raise
            kind = AirflowException if failure["retry"] else AirflowFailException
            raise kind(failure["message"]) from error

    def _failure(self, run_id: str) -> dict | None:
        try:
            failure = json.loads((Environment.read().folder(run_id) / "failure.json").read_text())
        except (OSError, ValueError):
            return None
        return failure if failure.get("step") == self.task_id else None


def parameters(context) -> dict:
    """The run's parameters; without `until` it is the day of the run."""
    values = dict(context["params"])
    if "until" in values:
        values["until"] = values["until"] or context["dag_run"].run_after.date().isoformat()
    return values


def alert(context) -> None:
    """Tells Alertmanager that a task failed for good, or that a run did: one may end without a task that says so."""
    url = os.environ.get("FRAUD_ALERTMANAGER_URL")
    if not url:
        return
    dag, reason = context["dag"].dag_id, context.get("exception")
    labels = {"alertname": "FraudPipelineFailed", "severity": "warning", "service": "airflow", "dag": dag}
    failed = "the run"
    # Airflow gives a reason to a DAG's callback only; the task it may name there is any that was not finished.
    if context.get("reason"):
        reason = context["reason"]
    else:
        failed = labels["task"] = context["task_instance"].task_id
    text = {
        "summary": f"{dag}: {failed} failed",
        "description": str(reason or "no reason given")[:1000],
        "run": context["run_id"],
    }
    try:
        alerts.post(url, labels, text)
    except OSError as error:
        log.error("Alertmanager at %s was not told: %s", url, error)


# Data that is wrong fails at once (see Step); this is for servers that are away and machines that are full.
DEFAULTS = {
    "retries": int(os.environ.get("FRAUD_RETRIES", "3")),
    "retry_delay": timedelta(seconds=float(os.environ.get("FRAUD_RETRY_SECONDS", "60"))),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=15),
    "on_failure_callback": alert,
}


def schedule(name: str, default: str | None) -> str | None:
    """A DAG's schedule from the environment (cron); empty: only when asked for."""
    return os.environ.get(name, default or "") or None
