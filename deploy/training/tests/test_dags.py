"""The DAG files can be imported with nothing but their own folder on the path, as Airflow does it. Airflow itself is not here: `make
mlops-test` runs them in a real one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).resolve().parents[2] / "airflow" / "dags"

STAND_IN = """
import runpy, sys, types

class Anything:
    def __init__(self, *values, **settings): vars(self).update(settings, values=values)
    def __enter__(self): return self
    def __exit__(self, *_): return False
    def __rshift__(self, other): return other

class Module(types.ModuleType):
    __path__ = []
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return type(name, (Anything,), {})

for name in ("airflow", "airflow.sdk", "airflow.sdk.exceptions", "airflow.providers", "airflow.providers.standard",
             "airflow.providers.standard.operators", "airflow.providers.standard.operators.bash"):
    sys.modules[name] = Module(name)
sys.path.insert(0, sys.argv[1])
"""


def run(script, tmp_path, *arguments, **environment):
    """Runs a script after the stand-in; gives what it printed, as JSON."""
    command = [sys.executable, "-c", STAND_IN + script, DAGS, *arguments]
    environment = {"PATH": "/usr/bin", **environment}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")


@pytest.mark.parametrize("dag", sorted(DAGS.glob("*_dag.py")), ids=lambda path: path.stem)
def test_a_dag_is_imported(dag, tmp_path):
    run("runpy.run_path(sys.argv[2])", tmp_path, dag)


RETRAINING = """
import json
dag = runpy.run_path(sys.argv[2])
settings, steps = dag["dag"], dag["step"].values()
print(json.dumps({
    "limits": sum(step.execution_timeout.total_seconds() for step in steps),
    "timeout": settings.dagrun_timeout.total_seconds(),
    "retries": settings.default_args["retries"],
    "tells": [settings.on_failure_callback.__name__, settings.default_args["on_failure_callback"].__name__],
    "params": {name: param.values[0] for name, param in settings.params.items()},
}))
"""


def test_steps_that_time_out_are_told_of_before_the_run_ends(tmp_path):
    """A run that reaches its own limit skips what is left of it, and no task fails."""
    dag = run(RETRAINING, tmp_path, DAGS / "fraud_retraining_dag.py", FRAUD_RETRIES="2")
    assert dag["retries"] == 2 and dag["timeout"] > 3 * dag["limits"]
    assert dag["tells"] == ["alert", "alert"]


@pytest.mark.parametrize(
    ("given", "labels"), [({}, None), ({"FRAUD_LABELS": ""}, None), ({"FRAUD_LABELS": "s3://labels/"}, "s3://labels/")]
)
def test_runs_by_schedule_have_labels(tmp_path, given, labels):
    dag = run(RETRAINING, tmp_path, DAGS / "fraud_retraining_dag.py", FRAUD_SOURCE="s3://payments/", **given)
    assert (dag["params"]["source"], dag["params"]["labels"]) == ("s3://payments/", labels)


ALERTS = """
import json
import fraud_steps
told = []
fraud_steps.alerts.post = lambda url, labels, text: told.append([labels.get("task"), labels["dag"], text])
dag, task = Anything(dag_id="fraud_retraining"), Anything(task_id="train", dag_id="fraud_retraining", run_id="monday")
about = {"dag": dag, "run_id": "monday"}
fraud_steps.alert({**about, "task_instance": task, "exception": ValueError("too little")})
fraud_steps.alert({**about, "reason": "timed_out"})
fraud_steps.alert({**about, "task_instance": task, "reason": "timed_out"})
print(json.dumps(told))
"""


def test_a_run_that_ends_without_a_failed_task_is_told_of(tmp_path):
    task, bare, named = run(ALERTS, tmp_path, FRAUD_ALERTMANAGER_URL="http://127.0.0.1:9")
    words = {"summary": "fraud_retraining: train failed", "description": "too little", "run": "monday"}
    assert task == ["train", "fraud_retraining", words]
    words = {"summary": "fraud_retraining: the run failed", "description": "timed_out", "run": "monday"}
    assert bare == named == [None, "fraud_retraining", words]
