"""From labels to a better model in production: `deploy/airflow/README.md`."""

import os
from dataclasses import asdict
from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from fraud_steps import DEFAULTS, GateParameters, Parameters, Step, schedule

DEFAULT = Parameters(source=os.environ.get("FRAUD_SOURCE", "archive"), until=None)

with DAG(
    dag_id="fraud_retraining",
    description="Trains a candidate, judges it against the champion, promotes it where it is better",
    doc_md=__doc__,
    schedule=schedule("FRAUD_RETRAINING_SCHEDULE", "0 3 * * 1"),
    start_date=datetime(2024, 1, 1),
    catchup=False,
    # Two runs at once would judge against the same champion, and the second promotion would be refused.
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
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
        "gate": Param(asdict(GateParameters()), type="object", description="what a candidate has to show"),
    },
) as dag:
    hours = {
        "extract": 1, "champion": 0.25, "features": 3, "train": 6, "evaluate": 3,
        "log": 0.5, "gate": 0.5, "register": 0.25, "promote": 0.25,
    }  # fmt: skip
    step = {name: Step(task_id=name, execution_timeout=timedelta(hours=limit)) for name, limit in hours.items()}
    step["extract"] >> step["features"] >> step["train"] >> step["evaluate"]
    # Fetched before the work begins: a champion that cannot be loaded is heard of at once.
    step["champion"] >> step["features"]
    # `promote` is shown as skipped where the gate said no.
    step["evaluate"] >> step["log"] >> step["gate"] >> step["register"] >> step["promote"]
