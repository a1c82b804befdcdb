"""From labels to a better model in production: `deploy/airflow/README.md`."""

import os
from dataclasses import asdict
from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from fraud_steps import DEFAULTS, GateParameters, Parameters, Step, alert, schedule

SOURCE, LABELS = os.environ.get("FRAUD_SOURCE", "archive"), os.environ.get("FRAUD_LABELS") or None
DEFAULT = Parameters(source=SOURCE, labels=LABELS, until=None)
HOURS = {
    "extract": 1, "champion": 0.25, "features": 3, "train": 6, "evaluate": 3,
    "log": 0.5, "gate": 0.5, "register": 0.25, "promote": 0.25,
}  # fmt: skip
# Each step has a limit of its own, and an alert when it is reached. The run's is longer than all of them with every try.
TRIES = DEFAULTS["retries"] + 1
LONGEST = TRIES * (timedelta(hours=sum(HOURS.values())) + len(HOURS) * DEFAULTS["max_retry_delay"])

with DAG(
    dag_id="fraud_retraining",
    description="Trains a candidate, judges it against the champion, promotes it where it is better",
    doc_md=__doc__,
    schedule=schedule("FRAUD_RETRAINING_SCHEDULE", "0 3 * * 1"),
    start_date=datetime(2024, 1, 1),
    catchup=False,
    # Two runs at once would judge against the same champion, and the second promotion would be refused.
    max_active_runs=1,
    dagrun_timeout=LONGEST,
    on_failure_callback=alert,
    default_args=DEFAULTS,
    tags=["fraud"],
    params={
        "source": Param(DEFAULT.source, type="string", description="transactions: file, folder, pattern or s3://…"),
        "labels": Param(DEFAULT.labels, type=["string", "null"], description="labels that stand apart from them"),
        "until": Param(
            None, type=["string", "null"], format="date", description="the day the run is made for; empty: today"
        ),
        "window_days": Param(DEFAULT.window_days, type="integer", minimum=21, description="days of transactions"),
        "recipe": Param(DEFAULT.recipe, type="string", description="a recipe of deploy/training, or a path"),
        "alert_budget": Param(DEFAULT.alert_budget, type="integer", minimum=1, description="alerts a day"),
        "model": Param(DEFAULT.model, type="string", description="the registered model"),
        "experiment": Param(DEFAULT.experiment, type="string", description="MLflow's experiment"),
        "keep_days": Param(
            DEFAULT.keep_days, type="integer", minimum=1, description="days after which the files of a run are removed"
        ),
        "gate": Param(asdict(GateParameters()), type="object", description="what a candidate has to show"),
    },
) as dag:
    step = {name: Step(task_id=name, execution_timeout=timedelta(hours=limit)) for name, limit in HOURS.items()}
    step["extract"] >> step["features"] >> step["train"] >> step["evaluate"]
    # Fetched before the work begins: a champion that cannot be loaded is heard of at once.
    step["champion"] >> step["features"]
    # `promote` is shown as skipped where the gate said no.
    step["evaluate"] >> step["log"] >> step["gate"] >> step["register"] >> step["promote"]
