"""A run's steps on small files, as far as they need neither the platform's programs nor a registry."""

import base64
import json
import os
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import polars as pl
import pytest

from conftest import RECIPE
from fraud_retraining import alerts, evaluate, extract, train, trigger
from fraud_retraining.cli import main
from fraud_retraining.errors import ModelRefused, OutOfOrder, ProgramError, StepError
from fraud_retraining.folder import Run, remove_old
from fraud_retraining.gate import UNKNOWN
from fraud_retraining.parameters import Environment, Parameters
from fraud_retraining.registry import Registry
from fraud_training.errors import LabelLeakage


@pytest.fixture
def run(tmp_path, tables):
    """A run after its features were computed."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    parameters = Parameters(source="a", until=None, recipe=str(tmp_path / "recipe.toml"), alert_budget=30)
    run = Run("monday 03:00", parameters, Environment(tmp_path / "work", None, None, None, "a test"))
    transactions, features = tables
    transactions.with_columns(pl.lit(1).alias("tx_fraud_scenario")).write_parquet(run.path("transactions.parquet"))
    features.write_parquet(run.path("features.parquet"))
    run.write("extract.json", {"last_day": "2024-03-10"})
    return run


def test_training_writes_everything_once_and_again_the_same(run):
    first = train.fit(run)
    model = run.path("model.onnx").read_bytes()
    assert first["sha256"] == train.fit(run)["sha256"] and run.path("model.onnx").read_bytes() == model
    assert first["version"].startswith("2024-03-10.")
    rows = pl.read_parquet(run.path("test.parquet"))
    assert rows.height == first["rows"]["test"] and set(rows["scenario"]) == {1}
    assert json.loads(run.path("curves.json").read_text())["roc"][-1]["recall"] == 1.0
    assert {path.name for path in run.path("pictures").iterdir()} >= {"roc.png", "calibration.png"}


def test_the_command_says_what_may_pass(tmp_path, monkeypatch):
    """As polars has it where nobody listens: an `OSError`."""

    def away(name):
        raise ConnectionRefusedError(f"object-store error: {name}")

    monkeypatch.setenv("FRAUD_WORK", str(tmp_path))
    monkeypatch.setitem(extract.READERS, ".parquet", away)
    source = '{"source": "s3://archive/*.parquet", "until": "2024-01-31"}'
    assert main(["extract", "--run-id", "a", "--parameters", source]) == 75
    failure = json.loads((tmp_path / "a" / "failure.json").read_text())
    assert failure["retry"] and "s3://archive" in failure["message"]


def test_kinds_that_only_some_rows_have(run):
    payments = pl.read_parquet(run.path("transactions.parquet"))
    known = pl.when(pl.int_range(pl.len()) % 2 == 0).then("tx_fraud_scenario").alias("tx_fraud_scenario")
    payments.with_columns(known).write_parquet(run.path("transactions.parquet"))
    train.fit(run)
    assert set(pl.read_parquet(run.path("test.parquet"))["scenario"]) == {1, UNKNOWN}


@pytest.mark.parametrize(
    ("status", "kind"), [(64, ModelRefused), (65, ModelRefused), (74, ProgramError), (-9, ProgramError)]
)
def test_a_replay_that_was_killed_says_nothing_about_the_model(run, tmp_path, status, kind):
    """Out of memory, or a full disk: tried again. A model that cannot be loaded is refused."""
    program = tmp_path / "fraud-stream"
    program.write_text(f"#!/bin/sh\n{'kill -9 $$' if status < 0 else f'exit {status}'}\n")
    program.chmod(0o755)
    pl.DataFrame({"transaction_id": ["1"]}).write_parquet(run.path("test.parquet"))
    run.write_bytes("model.onnx", b"")
    run.write("champion.json", {"version": None, "sha256": None})
    again = Run(run.id, run.parameters, Environment(run.environment.work, tmp_path, None, None, "a test"))
    with pytest.raises(StepError) as caught:
        evaluate.evaluate(again)
    assert type(caught.value) is kind and caught.value.retry == (kind is ProgramError)


def test_another_budget_is_another_version(run):
    other = Run(
        run.id, Parameters(source="a", until=None, recipe=run.parameters.recipe, alert_budget=31), run.environment
    )
    assert train.planned(run).version != train.planned(other).version


def test_a_feature_that_is_the_label(run, tables):
    leak = tables[1].with_columns(tables[0]["tx_fraud"].cast(pl.Float64).alias("TX_AMOUNT"))
    leak.write_parquet(run.path("features.parquet"))
    with pytest.raises(LabelLeakage, match="TX_AMOUNT"):
        train.fit(run)


def test_a_step_before_its_time_says_which_one_is_lacking(run):
    run.path("features.parquet").unlink()
    with pytest.raises(OutOfOrder, match="'features'"):
        train.fit(run)


def test_the_command_leaves_a_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FRAUD_WORK", str(tmp_path))
    assert main(["extract", "--run-id", "a", "--parameters", '{"source": "nowhere", "until": "2024-01-31"}']) == 65
    failure = json.loads((tmp_path / "a" / "failure.json").read_text())
    assert failure["step"] == "extract" and "nowhere" in failure["message"] and not failure["retry"]
    assert "nowhere" in capsys.readouterr().err
    assert main(["extract", "--run-id", "a", "--parameters", "no JSON"]) == 65


def test_old_runs_make_room_and_nothing_else_does(run):
    work, now = run.environment.work, time.time()
    for name, mark, days in (
        (run.folder.name, "extract.json", 90),
        ("old", "extract.json", 31),
        ("failed", "failure.json", 31),
        ("young", "extract.json", 29),
        ("busy", "extract.json", 31),
        ("archive", "transactions.parquet", 90),
    ):
        folder = work / name
        (folder / "pictures").mkdir(parents=True)
        for path in (folder / "pictures", folder / mark, folder):
            path.touch()
            os.utime(path, (now - days * 86_400,) * 2)
    # A step that wrote to a file of its own a minute ago.
    (work / "busy" / "extract.json").touch()
    (work / "link").symlink_to(work / "young")
    (work / "file").write_text("none of a run's")
    assert remove_old(run) == ["failed", "old"]
    assert {path.name for path in work.iterdir()} == {run.folder.name, "young", "busy", "archive", "link", "file"}


def test_the_first_step_removes_old_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAUD_WORK", str(tmp_path))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "failure.json").touch()
    for path in (tmp_path / "old" / "failure.json", tmp_path / "old"):
        os.utime(path, (0, 0))
    main(["extract", "--run-id", "a", "--parameters", '{"source": "nowhere", "until": "2024-01-31", "keep_days": 400}'])
    assert not (tmp_path / "old").exists()


def test_a_program_that_is_not_there(run):
    lacking = Run(run.id, run.parameters, Environment(run.environment.work, run.environment.work, None, None, "a test"))
    with pytest.raises(StepError, match="set FRAUD_BIN"):
        train.features(lacking)


def test_no_registry_is_said_so():
    with pytest.raises(StepError, match="MLFLOW_TRACKING_URI"):
        Registry(None, "fraud")


@pytest.fixture
def server():
    """Records what is posted; answers from `answers` by path."""
    seen, answers = [], {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, body, self.headers.get("Authorization")))
            status, answer = answers.get(self.path, (200, {}))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen, answers
    server.shutdown()


def test_a_failure_becomes_an_alert(server):
    url, seen, _ = server
    alerts.post(url + "/", {"alertname": "FraudPipelineFailed"}, {"summary": "no"})
    path, [alert], _ = seen[0]
    assert path == "/api/v2/alerts" and alert["labels"]["alertname"] == "FraudPipelineFailed"
    assert alert["startsAt"] < alert["endsAt"]


DRIFT = {
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "FraudFeatureDrift"},
            "startsAt": "2026-01-31T12:00:00.5Z",
            "fingerprint": "ab12",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "FraudFeatureDrift"},
            "startsAt": "2026-01-30T12:00:00Z",
            "fingerprint": "cd34",
        },
        {
            "status": "firing",
            "labels": {"alertname": "TargetDown"},
            "startsAt": "2026-01-31T12:00:00Z",
            "fingerprint": "ef56",
        },
    ]
}


@pytest.fixture
def hook(server, tmp_path):
    """The webhook in front of a stand-in for Airflow's API (the real one is in `make mlops-test`)."""
    url, seen, answers = server
    answers["/auth/token"] = (201, {"access_token": "secret"})
    credentials = tmp_path / "airflow.json"
    credentials.write_text('{"username": "u", "password": "p"}')
    airflow = trigger.Airflow(url, credentials)
    listening = trigger.serve(trigger.Hook(airflow, ("FraudFeatureDrift",), {"window_days": 90}), ("127.0.0.1", 0))
    threading.Thread(target=listening.serve_forever, daemon=True).start()

    def send(message, path="/alerts"):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{listening.server_port}{path}", data=body)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    yield send, seen, answers
    listening.shutdown()
    listening.server_close()


def test_drift_starts_one_run(hook):
    send, seen, answers = hook
    name = "alert__2026-01-31"
    assert send(DRIFT) == (200, {"runs": [name]})
    path, body, authorization = seen[-1]
    assert path == "/api/v2/dags/fraud_retraining/dagRuns" and authorization == "Bearer secret"
    note = "FraudFeatureDrift; alerts: 1"
    assert body == {"dag_run_id": name, "logical_date": None, "conf": {"window_days": 90}, "note": note}
    # Alertmanager repeats what is not over; Airflow has that run already.
    answers[path] = (409, {})
    assert send(DRIFT) == (200, {"runs": []})
    # Airflow is away: Alertmanager has to come again.
    answers[path] = (503, {})
    assert send(DRIFT)[0] == 502


def test_a_dozen_features_that_drift_start_one_run(hook):
    send, seen, _ = hook
    alerts = [{**DRIFT["alerts"][0], "fingerprint": f"f{number}", "startsAt": f"2026-01-{number}T00:30:00+01:00"}
              for number in range(18, 31)]  # fmt: skip
    assert send({"alerts": alerts}) == (200, {"runs": ["alert__2026-01-29"]})
    asked = [body for path, body, _ in seen if path.endswith("/dagRuns")]
    assert len(asked) == 1 and asked[0]["note"] == "FraudFeatureDrift; alerts: 13"
    # Nothing that is asked for: no run, and Airflow is left alone.
    seen.clear()
    assert send({"alerts": DRIFT["alerts"][1:]}) == (200, {"runs": []}) and not seen


def test_messages_that_are_none(hook):
    send, seen, _ = hook
    for message in (b"no JSON", b"[]", {"alerts": [{}]}):
        assert send(message)[0] == 400
    assert send(DRIFT, "/elsewhere")[0] == 404
    assert not seen


def test_keys_and_signatures(tmp_path):
    pytest.importorskip("cryptography", reason="in MLflow's environment: make mlops-test")
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from fraud_retraining import signing

    private, public = tmp_path / "fraud.key", tmp_path / "fraud.pub"
    assert main(["keys", "--private", str(private), "--public", str(public)]) == 0
    assert private.stat().st_mode & 0o777 == 0o600
    assert main(["keys", "--private", str(private), "--public", str(public)]) == 65
    signature = base64.b64decode(signing.sign(b"model", private))
    load_pem_public_key(public.read_bytes()).verify(signature, b"model")
    with pytest.raises(StepError, match="make one"):
        signing.sign(b"model", public)
