"""The DAG files can be imported with nothing but their own folder on the path, as Airflow does it. Airflow itself is not here: `make
mlops-test` runs them in a real one."""

import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).resolve().parents[2] / "airflow" / "dags"

STAND_IN = """
import runpy, sys, types

class Anything:
    def __init__(self, *_, **settings): vars(self).update(settings)
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
runpy.run_path(sys.argv[2])
"""


@pytest.mark.parametrize("dag", sorted(DAGS.glob("*_dag.py")), ids=lambda path: path.stem)
def test_a_dag_is_imported(dag, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STAND_IN, DAGS, dag], cwd=tmp_path, env={"PATH": "/usr/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
