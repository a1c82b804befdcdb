"""The steps of a run, in order. Each may be repeated: it reads files, and writes the same ones again."""

import hashlib
from dataclasses import asdict

import polars as pl

from fraud_retraining import evaluate as evaluation
from fraud_retraining import extract as extraction
from fraud_retraining import gate, page, programs, signing, train
from fraud_retraining.errors import ProgramError
from fraud_retraining.folder import Run, remove_old
from fraud_retraining.registry import FILE, Registry

# The process's status of `promote` when the gate said no: Airflow shows the task as skipped.
REFUSED = 99


def _registry(run: Run) -> Registry:
    return Registry(run.environment.tracking_uri, run.parameters.model)


def extract(run: Run) -> dict:
    """Reads the window of transactions that the run learns from; old runs' files make room for it."""
    for name in remove_old(run):
        print(f"removed the files of {name}: older than {run.parameters.keep_days} days", flush=True)
    return extraction.extract(run)


def champion(run: Run) -> dict:
    """Fetches the model in service, and refuses one that is not what was registered."""
    registry = _registry(run)
    version = registry.in_service()
    if version is None:
        run.path("champion.onnx").unlink(missing_ok=True)
        return run.write("champion.json", {"version": None, "sha256": None})
    run.write_bytes("champion.onnx", registry.fetch(version))
    return run.write("champion.json", {"version": version.number, "sha256": version.sha256})


def log(run: Run) -> dict:
    """Everything that was found out, and the model, into an MLflow run."""
    registry = _registry(run)
    training, found, evaluated = run.read("training.json"), run.read("extract.json"), run.read("evaluation.json")
    parameters = run.parameters
    run_id = registry.run(parameters.experiment, {"fraud.run": run.id, "fraud.sha256": training["sha256"]})
    params = {
        **{name: value for name, value in asdict(parameters).items() if name != "gate"},
        **{f"gate.{name}": value for name, value in asdict(parameters.gate).items()},
        **{f"data.{name}": value for name, value in found.items() if name not in ("source", "rows", "frauds")},
        **{
            name: training[name]
            for name in ("version", "candidate", "family", "data_sha256", "seeds", "trees", "leaves")
        },
        **{f"day.{name}": value for name, value in training["days"].items()},
        **{f"model.{name}": value for name, value in training["parameters"].items()},
        "features": ",".join(training["features"]),
    }
    metrics = {
        **training["metrics"],
        **{f"threshold_{name}": value for name, value in training["thresholds"].items()},
        **{f"rows_{name}": value for name, value in training["rows"].items()},
        **{f"frauds_{name}": value for name, value in training["frauds"].items()},
        **{f"latency_us_{role}": value for role, value in evaluated["latency_us"].items()},
    }
    registry.log(run_id, params, metrics)
    for name in ("pictures", "card.md", "curves.json", "training.json", "extract.json", "evaluation.json"):
        registry.log_file(run_id, run.need(name))
    uri = registry.log_model(run_id, run.need("model.onnx").read_bytes(), training["features"])
    return run.write("run.json", {"run_id": run_id, "model_uri": uri, "sha256": training["sha256"]})


def judge(run: Run) -> dict:
    """The gate's verdict, as a page in MLflow."""
    registry, logged = _registry(run), run.read("run.json")
    evaluated = run.read("evaluation.json")
    table = pl.read_parquet(run.need("scored.parquet"))
    columns = [name for name in ("day", "customer", "fraud", "scenario") if name in table.columns]
    evidence = gate.Evidence(
        rows={name: table[name].to_numpy() for name in columns},
        scores={role: table[role].to_numpy() for role in evaluated["roles"]},
        engine=evaluated["engine"],
        latency_us=evaluated["latency_us"],
        history=evaluated["history"],
    )
    verdict = gate.judge(evidence, run.parameters.gate, run.parameters.alert_budget)
    run.write("verdict.json", verdict.as_dict())
    text = page.write(verdict, evidence, (run.read("training.json"), evaluated["champion"], run.parameters))
    run.write_bytes("verdict.html", text.encode())
    for name in ("verdict.html", "verdict.json"):
        registry.log_file(logged["run_id"], run.need(name))
    gains = {f"gain_{name}": value.value for name, value in verdict.figures.get("gain", {}).items()}
    registry.log(logged["run_id"], {}, {**gains, "promoted": float(verdict.promote)})
    answer = "promote" if verdict.promote else "refuse"
    registry.finish(logged["run_id"], {"fraud.verdict": answer, "mlflow.note.content": _note(verdict)})
    for reason in verdict.reasons:
        print(f"{answer}: {reason}", flush=True)
    return {"promote": verdict.promote, "reasons": verdict.reasons}


def _note(verdict: gate.Verdict) -> str:
    answer = "Promoted" if verdict.promote else "Refused"
    return f"**{answer}.** The whole verdict: `verdict.html` among the artefacts.\n\n" + "\n".join(
        f"- {reason}" for reason in verdict.reasons
    )


def register(run: Run) -> dict:
    """The candidate as a version of the registered model, signed where there is a key."""
    logged, verdict, training = run.read("run.json"), run.read("verdict.json"), run.read("training.json")
    content = run.need("model.onnx").read_bytes()
    tags = {
        "fraud.sha256": hashlib.sha256(content).hexdigest(),
        "fraud.file": FILE,
        "fraud.verdict": "promote" if verdict["promote"] else "refuse",
        "fraud.version": training["version"],
    }
    if run.environment.signing_key:
        tags["fraud.signature"] = signing.sign(content, run.environment.signing_key)
    number = _registry(run).register(logged["run_id"], logged["model_uri"], tags)
    return run.write("version.json", {"version": number, "sha256": tags["fraud.sha256"]})


def promote(run: Run) -> dict | None:
    """Moves the aliases where the gate said so; None where it did not."""
    if not run.read("verdict.json")["promote"]:
        return None
    aliases = _registry(run).promote(run.read("version.json")["version"], run.read("champion.json")["version"])
    return {"aliases": aliases}


def drill(run: Run) -> dict:
    """Attacks the service as the parameters say, and keeps the report; fails where the alarm did not get through."""
    parameters = run.parameters
    report, data = run.path("drill.html"), run.path("drill.json")
    arguments = ["drill", "--target", parameters.target, "--prometheus", parameters.prometheus]
    arguments += ["--html", report, "--json", data]
    for name in ("alertmanager", "replica"):
        if getattr(parameters, name):
            arguments += [f"--{name}", getattr(parameters, name)]
    try:
        programs.call(run.environment, "fraud-loadgen", [*arguments, *parameters.arguments])
        failure = None
    except ProgramError as error:
        failure = error
    if report.exists():
        registry = Registry(run.environment.tracking_uri, "")
        run_id = registry.run(parameters.experiment, {"fraud.run": run.id})
        for path in (report, data):
            registry.log_file(run_id, path)
        registry.finish(run_id, {"fraud.alarm": "missed" if failure else "arrived"})
    if failure:
        raise failure
    return {"report": str(report)}


STEPS = {
    "extract": extract,
    "champion": champion,
    "features": train.features,
    "train": train.fit,
    "evaluate": evaluation.evaluate,
    "log": log,
    "gate": judge,
    "register": register,
    "promote": promote,
}

DRILL = {"drill": drill}
