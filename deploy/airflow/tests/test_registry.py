"""The registry against a real MLflow: what is written is found again, twice is once, and what is wrong is said."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import onnx
import pytest

from fraud_retraining import steps
from fraud_retraining.errors import ModelRefused, RegistryError
from fraud_retraining.folder import Run
from fraud_retraining.parameters import Environment, Parameters
from fraud_retraining.registry import Registry
from fraud_training import export, graph, metadata
from fraud_training.additive import Additive

FEATURES = ["TX_AMOUNT", "TX_DURING_NIGHT"]


def model(version: str) -> bytes:
    """A model file of two features."""
    proto = graph.build(Additive(weights=np.array([0.01, 0.5]), link="logistic"), 2)
    metadata.write(proto, {"format": metadata.FORMAT, "name": "fraud", "version": version, "features": FEATURES})
    return proto.SerializeToString(deterministic=True)


@pytest.fixture
def registry(mlflow_uri, request):
    """A registered model of the test's own."""
    return Registry(mlflow_uri, f"fraud-{request.node.name}")


def registered(registry, version: str) -> str:
    """Logs and registers a model; gives its number."""
    content = model(version)
    tags = {"fraud.sha256": hashlib.sha256(content).hexdigest(), "fraud.file": "model.onnx"}
    run_id = registry.run("tests", {"fraud.run": f"{registry.model}-{version}", "fraud.sha256": tags["fraud.sha256"]})
    return registry.register(run_id, registry.log_model(run_id, content, FEATURES), tags)


def test_what_is_registered_comes_back_to_the_byte(registry):
    assert registry.in_service() is None and registry.aliases() == {}
    number = registered(registry, "1")
    assert registry.aliases() == {"candidate": number}
    version = registry.version(number)
    content = registry.fetch(version)
    assert content == model("1")
    assert export.run(content, np.zeros((1, 2), dtype=np.float32)).shape == (1,)


def test_mlflow_serves_it_with_its_signature(registry, mlflow_uri):
    number = registered(registry, "1")
    import mlflow

    loaded = mlflow.pyfunc.load_model(f"models:/{registry.model}/{number}")
    answer = loaded.predict(np.array([[100.0, 1.0]], dtype=np.float32))
    expected = export.run(model("1"), np.array([[100.0, 1.0]], dtype=np.float32))
    assert np.allclose(np.asarray(list(answer.values())[-1])[:, 1], expected)
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 2)


def test_again_is_once(registry):
    first = registered(registry, "1")
    assert registered(registry, "1") == first
    assert registry.promote(first, None) == {"candidate": first, "champion": first}
    second = registered(registry, "2")
    wanted = {"candidate": second, "champion": second, "previous": first}
    assert registry.promote(second, first) == wanted
    # A task that is tried again after it was done: `previous` still is the one before.
    assert registry.promote(second, first) == wanted


def test_a_champion_that_changed_meanwhile(registry):
    numbers = [registered(registry, str(number)) for number in range(3)]
    registry.promote(numbers[0], None)
    registry.promote(numbers[1], numbers[0])
    with pytest.raises(RegistryError, match="run the retraining again"):
        registry.promote(numbers[2], numbers[0])
    assert registry.aliases()["champion"] == numbers[1]


def test_a_champion_that_services_rolled_back_is_not_in_service(registry):
    first, bad, third = (registered(registry, str(number)) for number in range(3))
    registry.promote(first, None)
    registry.promote(bad, first)
    registry.client.set_model_version_tag(registry.model, bad, "fraud.rolled_back", "score_shift, 2026-01-31T00:00:00Z")
    assert registry.in_service().number == first
    assert registry.promote(third, first) == {"candidate": third, "champion": third, "previous": first}


def test_no_version_that_may_serve_is_no_first_champion(registry, run):
    first, bad = registered(registry, "1"), registered(registry, "2")
    registry.promote(first, None)
    registry.promote(bad, first)
    for number in (first, bad):
        registry.client.set_model_version_tag(registry.model, number, "fraud.rolled_back", "errors, 2026-01-31T00:00:00Z")
    with pytest.raises(RegistryError, match=f"rolled back version {bad}.*version {first}.*move the alias") as caught:
        steps.champion(run)
    assert not caught.value.retry


@pytest.fixture
def run(registry, mlflow_uri, tmp_path):
    """A run against this registered model."""
    environment = Environment(tmp_path, None, mlflow_uri, None, "a test")
    return Run("r", Parameters(source="a", until=None, model=registry.model), environment)


def test_a_truncated_artefact(registry, run, tmp_path_factory):
    registry.promote(registered(registry, "1"), None)
    number = registry.aliases()["champion"]
    uri = registry.client.get_model_version_download_uri(registry.model, number)
    relative = uri.removeprefix("mlflow-artifacts:").lstrip("/")
    path = tmp_path_factory.getbasetemp() / "servers0" / "mlflow" / "artifacts" / relative / "model.onnx"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelRefused, match="truncated or replaced"):
        steps.champion(run)
    # Nothing moved: whoever serves it goes on.
    assert registry.aliases()["champion"] == number
    path.unlink()
    with pytest.raises(RegistryError, match=r"file model\.onnx of version"):
        steps.champion(run)


def test_a_champion_that_somebody_put_there_by_hand(registry, run):
    number = registered(registry, "1")
    registry.client.set_registered_model_alias(registry.model, "champion", number)
    registry.client.delete_model_version_tag(registry.model, number, "fraud.sha256")
    with pytest.raises(ModelRefused, match=r"no tag fraud\.sha256"):
        steps.champion(run)


def test_the_first_champion_has_nobody_before(run):
    assert steps.champion(run) == {"version": None, "sha256": None}


@pytest.fixture
def broken():
    """A server that answers every request as `answer` says: (seconds, status, body)."""
    answer = {"is": (0, 200, b"<html>")}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seconds, status, body = answer["is"]
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answer
    server.shutdown()


@pytest.mark.parametrize(
    "wrong",
    [
        (0, 200, b"<html>no API</html>"),
        (0, 200, json.dumps({"registered_model": None}).encode()),
        (0, 500, b"{}"),
        (2, 200, b"{}"),
    ],
    ids=["a page", "nonsense", "an error", "silence"],
)
def test_a_registry_that_answers_wrongly_or_not_in_time(broken, wrong, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri, answer = broken
    answer["is"] = wrong
    with pytest.raises(RegistryError, match=r"registry http://127\.0\.0\.1") as caught:
        Registry(uri, "fraud").in_service()
    # Servers recover: the task is tried again.
    assert caught.value.retry


def test_nobody_there(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError):
        Registry("http://127.0.0.1:9", "fraud").aliases()


def test_a_store_that_changes_what_it_is_given(registry, monkeypatch):
    content = model("1")
    run_id = registry.run("tests", {"fraud.run": "changed", "fraud.sha256": "x"})
    monkeypatch.setattr(registry, "_artifact", lambda uri: content[:-1])
    with pytest.raises(RegistryError, match="not to be trusted"):
        registry.log_model(run_id, content, FEATURES)


def test_the_model_is_valid_onnx():
    onnx.checker.check_model(onnx.load_from_string(model("1")))
