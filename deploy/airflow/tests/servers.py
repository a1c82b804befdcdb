"""Real servers on free ports of this machine, in one folder, all ended with it."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

# A server that has not answered by then is broken, however slow the machine.
START_SECONDS = 240


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def ask(url: str, body=None, headers=None, method=None, timeout: float = 30):
    """JSON (or text) that a server answers. Raises `urllib.error.HTTPError`, `OSError`."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text = answer.read().decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def until(what: str, seconds: float, probe, every: float = 0.5):
    """Waits for a probe's first true answer and gives it; errors of servers count as false."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            answer = probe()
            if answer:
                return answer
        except (OSError, ValueError, KeyError) as error:
            last = error
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s (last: {last})")


class Servers:
    """What was started. `folder` holds data and logs."""

    def __init__(self, folder: Path, pythons: dict[str, Path]):
        self.folder, self.pythons = folder, pythons
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, command: list, environment: dict | None = None) -> subprocess.Popen:
        """Begins a process in a group of its own; its output goes to `NAME.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})}, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.running[name] = process
        return process

    def stop(self, name: str) -> None:
        """Ends a process and what it began."""
        process = self.running.pop(name)
        for kind, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
            try:
                process.wait(seconds)
                # The leader is gone; whoever of its group is left goes with the second signal.
                if kind == signal.SIGKILL:
                    return
            except subprocess.TimeoutExpired:
                continue

    def stop_all(self) -> None:
        """Ends everything, the latest first."""
        for name in reversed(list(self.running)):
            self.stop(name)

    def answers(self, name: str, url: str) -> None:
        """Waits until a server answers; raises with its last words where it ended instead."""

        def probe():
            if self.running[name].poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}")
            return ask(url, timeout=5) is not None

        until(f"{name} at {url}", START_SECONDS, probe)

    def mlflow(self) -> str:
        """MLflow with SQLite and files; gives its address."""
        port = free_port()
        data = self.folder / "mlflow"
        data.mkdir()
        command = [
            self.pythons["mlflow"], "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", 1,
            "--backend-store-uri", f"sqlite:///{data}/mlflow.db", "--artifacts-destination", data / "artifacts",
        ]  # fmt: skip
        # Started as a program: its own children must find it.
        path = f"{self.pythons['mlflow'].parent}:{os.environ['PATH']}"
        self.start(
            "mlflow",
            command,
            {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
        self.answers("mlflow", f"http://127.0.0.1:{port}/health")
        return f"http://127.0.0.1:{port}"

    def airflow(self, repository: Path, environment: dict) -> str:
        """Airflow's API server, scheduler and DAG processor, DAGs from the git repository; gives the address."""
        port = free_port()
        home = self.folder / "airflow"
        home.mkdir()
        (home / "passwords.json").write_text(json.dumps({"admin": "admin"}))
        bundle = {
            "name": "fraud",
            "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
            # 60 s in a cluster.
            "kwargs": {
                "repo_url": str(repository), "tracking_ref": "main", "subdir": "deploy/airflow/dags", "refresh_interval": 5,
            },
        }  # fmt: skip
        settings = {
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "2",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "API__HOST": "127.0.0.1",
            "API__PORT": port,
            "API__WORKERS": 1,
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": home / "bundles",
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": 2,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 10,
            "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 600,
        }
        values = {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
        values |= {"AIRFLOW_HOME": str(home), "PYTHONUNBUFFERED": "1", **environment}
        airflow = [self.pythons["airflow"], "-m", "airflow"]
        migrated = self.start("airflow-db", [*airflow, "db", "migrate"], values).wait(600)
        self.running.pop("airflow-db")
        if migrated:
            raise RuntimeError(f"airflow db migrate: {(self.folder / 'airflow-db.log').read_text()[-2000:]}")
        for name, command in (
            ("airflow-api", "api-server"),
            ("airflow-scheduler", "scheduler"),
            ("airflow-dags", "dag-processor"),
        ):
            self.start(name, [*airflow, command], values)
        self.answers("airflow-api", f"http://127.0.0.1:{port}/api/v2/version")
        return f"http://127.0.0.1:{port}"

    def alertmanager(self, hook: str) -> str:
        """Alertmanager, which sends drift to the hook; gives its address."""
        port = free_port()
        config = self.folder / "alertmanager.yaml"
        config.write_text(
            "route:\n  receiver: nobody\n  group_wait: 1s\n  routes:\n"
            "    - {receiver: retraining, matchers: ['alertname=\"FraudFeatureDrift\"'], group_wait: 1s}\n"
            f"receivers:\n  - name: nobody\n  - name: retraining\n    webhook_configs: [{{url: '{hook}'}}]\n"
        )
        # Debian has its own name for it.
        program = shutil.which("prometheus-alertmanager") or "alertmanager"
        command = [
            program, f"--config.file={config}", f"--storage.path={self.folder}/alertmanager",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        self.start("alertmanager", command)
        self.answers("alertmanager", f"http://127.0.0.1:{port}/-/ready")
        return f"http://127.0.0.1:{port}"
