"""Attacks the service on purpose and sees whether the administrator is called: `deploy/airflow/README.md`."""

from dataclasses import asdict
from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from fraud_steps import DEFAULTS, DrillParameters, Step, alert, schedule

DEFAULT = asdict(DrillParameters())

with DAG(
    dag_id="fraud_attack_drill",
    description="The load generator's drill; its report stays in MLflow",
    doc_md=__doc__,
    # On demand, unless somebody wants it regularly.
    schedule=schedule("FRAUD_ATTACK_DRILL_SCHEDULE", None),
    start_date=datetime(2024, 1, 1),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=alert,
    default_args={**DEFAULTS, "retries": 0},
    tags=["fraud"],
    params={
        "target": Param(DEFAULT["target"], type="string", description="the service, http:// or kafka://"),
        "replica": Param(DEFAULT["replica"], type=["string", "null"], description="one replica, to be measured"),
        "prometheus": Param(DEFAULT["prometheus"], type="string"),
        "alertmanager": Param(DEFAULT["alertmanager"], type=["string", "null"]),
        "arguments": Param(
            DEFAULT["arguments"], type="array", items={"type": "string"}, description="more of the drill's options"
        ),
        "experiment": Param(DEFAULT["experiment"], type="string", description="MLflow's experiment"),
    },
) as dag:
    # Never tried again by itself: it is an attack.
    Step(task_id="drill", execution_timeout=timedelta(hours=2))
