"""Airflow's, MLflow's and Alertmanager's APIs, as far as the loop's test asks them."""

import urllib.error
from dataclasses import dataclass

from servers import ask, until

DAG = "fraud_retraining"
# However slow the machine: a run that takes longer hangs.
RUN_SECONDS = 1500


@dataclass
class Airflow:
    """The API of one server, as admin."""

    url: str
    token: str = ""

    def _ask(self, path: str, body=None, method=None):
        for fresh in (False, True):
            if fresh or not self.token:
                self.token = ask(f"{self.url}/auth/token", {"username": "admin", "password": "admin"})["access_token"]
            try:
                return ask(f"{self.url}/api/v2{path}", body, {"Authorization": f"Bearer {self.token}"}, method)
            except urllib.error.HTTPError as error:
                if error.code != 401 or fresh:
                    raise RuntimeError(f"{path}: {error.code} {error.read().decode()[:500]}") from error
        raise AssertionError

    def has_dags(self) -> set[str]:
        """Ids of the DAGs that were found; raises where one could not be imported."""
        errors = self._ask("/importErrors")["import_errors"]
        if errors:
            raise RuntimeError(f"a DAG cannot be imported: {errors[0]['stack_trace'][-1500:]}")
        return {dag["dag_id"] for dag in self._ask("/dags")["dags"]}

    def unpause(self, dag: str = DAG) -> None:
        """Lets a DAG run."""
        self._ask(f"/dags/{dag}", {"is_paused": False}, "PATCH")

    def dag_bundle_version(self, dag: str = DAG) -> str:
        """The commit that the DAG was read from."""
        return self._ask(f"/dags/{dag}")["bundle_version"]

    def trigger(self, run_id: str, conf: dict, dag: str = DAG) -> None:
        """Asks for a run."""
        self._ask(f"/dags/{dag}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})

    def runs(self, dag: str = DAG) -> list[str]:
        """Ids of all runs."""
        return [run["dag_run_id"] for run in self._ask(f"/dags/{dag}/dagRuns?limit=100")["dag_runs"]]

    def finished(self, run_id: str, dag: str = DAG, seconds: float = RUN_SECONDS) -> tuple[str, dict[str, str], str]:
        """Waits for a run's end: its state, the state of each task, the commit that it ran."""

        def probe():
            run = self._ask(f"/dags/{dag}/dagRuns/{run_id}")
            return run if run["state"] in ("success", "failed") else None

        run = until(f"run {run_id}", seconds, probe, every=1)
        tasks = self._ask(f"/dags/{dag}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return run["state"], {task["task_id"]: task["state"] for task in tasks}, run["bundle_version"]

    def durations(self, run_id: str, dag: str = DAG) -> dict[str, float]:
        """How many seconds each task of a run took that ran, in the order in which they began."""
        tasks = self._ask(f"/dags/{dag}/dagRuns/{run_id}/taskInstances")["task_instances"]
        ran = sorted((task for task in tasks if task["start_date"]), key=lambda task: task["start_date"])
        return {task["task_id"]: task["duration"] or 0.0 for task in ran}


@dataclass
class Mlflow:
    """The registry over its REST API, as services see it."""

    url: str
    model: str = "fraud"

    def aliases(self) -> dict[str, str]:
        """Alias → version."""
        try:
            found = ask(f"{self.url}/api/2.0/mlflow/registered-models/get?name={self.model}")["registered_model"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise
        return {alias["alias"]: alias["version"] for alias in found.get("aliases", [])}

    def tags(self, version: str) -> dict[str, str]:
        """A version's tags."""
        found = ask(f"{self.url}/api/2.0/mlflow/model-versions/get?name={self.model}&version={version}")
        return {tag["key"]: tag["value"] for tag in found["model_version"].get("tags", [])}

    def set_alias(self, alias: str, version: str) -> None:
        """Moves an alias, past the gate."""
        body = {"name": self.model, "alias": alias, "version": version}
        ask(f"{self.url}/api/2.0/mlflow/registered-models/alias", body)

    def run_id(self, version: str) -> str:
        """The MLflow run that made a version."""
        found = ask(f"{self.url}/api/2.0/mlflow/model-versions/get?name={self.model}&version={version}")
        return found["model_version"]["run_id"]

    def artefacts(self, run_id: str) -> set[str]:
        """Names at the top of a run's artefacts."""
        found = ask(f"{self.url}/api/2.0/mlflow/artifacts/list?run_id={run_id}")
        return {file["path"] for file in found.get("files", [])}

    def artefact(self, run_id: str, path: str) -> str:
        """A text among a run's artefacts."""
        return ask(f"{self.url}/get-artifact?run_uuid={run_id}&path={path}")

    def metrics(self, run_id: str) -> dict[str, float]:
        """A run's metrics."""
        found = ask(f"{self.url}/api/2.0/mlflow/runs/get?run_id={run_id}")["run"]["data"]
        return {metric["key"]: metric["value"] for metric in found.get("metrics", [])}


def firing(alertmanager: str, name: str) -> list[dict]:
    """Alerts of that name that Alertmanager holds."""
    alerts = ask(f"{alertmanager}/api/v2/alerts")
    return [alert for alert in alerts if alert["labels"]["alertname"] == name]
