"""Features by replay, and a candidate by `fraud_training`: the code that `make handbook` runs."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import precision_recall_curve, roc_curve

from fraud_retraining import programs
from fraud_retraining.folder import Run
from fraud_retraining.gate import UNKNOWN
from fraud_training import card, data, export, figures, recipe, train
from fraud_training.evaluate import reliability

# Points of a curve that are kept: more cannot be seen.
POINTS = 400


def features(run: Run) -> dict:
    """Writes the features of every candidate of the recipe for all transactions."""
    plan = recipe.read(run.parameters.recipe_path)
    carrier, replayed = run.path("features-only.onnx"), run.path("replayed.parquet")
    export.save(export.carrier(plan.all_features()), carrier)
    files = (run.need("transactions.parquet"), replayed)
    draft = run.path(".features.parquet")
    summary = programs.replay(run.environment, carrier, files, plan.split.label_delay_days, draft)
    draft.replace(run.path("features.parquet"))
    replayed.unlink()
    return {"rows": summary["transactions"], "features": len(plan.all_features())}


def fit(run: Run) -> dict:
    """Trains, tests and exports the candidate; gives its figures."""
    plan = planned(run)
    rows = data.load(run.need("transactions.parquet"), run.need("features.parquet"))
    outcome = train.run(rows, plan, lambda line: print(line, flush=True))
    export.save(outcome.content, run.path("model.onnx"))
    pictures = figures.draw(outcome, run.path("pictures"))
    text = card.write(outcome, pictures, ("model.onnx", "pictures", run.environment.made_by))
    run.write_bytes("card.md", text.encode())
    _test_rows(run, outcome)
    run.write("curves.json", _curves(outcome))
    return run.write("training.json", _summary(outcome))


def planned(run: Run) -> recipe.Recipe:
    """The recipe with what the run's parameters set: the alert budget, and a version that names data and recipe."""
    path = run.parameters.recipe_path
    plan = recipe.read(path)
    found = run.read("extract.json")
    digest = hashlib.sha256(path.read_bytes() + _file_hash(run.need("transactions.parquet")))
    digest.update(str(run.parameters.alert_budget).encode())
    return replace(
        plan,
        version=f"{found['last_day']}.{digest.hexdigest()[:8]}",
        thresholds=replace(plan.thresholds, alerts_per_day=float(run.parameters.alert_budget)),
    )


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _test_rows(run: Run, outcome: train.Outcome) -> None:
    """The test week's rows, which champion and candidate are compared on."""
    rows = outcome.test.split.test_rows(outcome.data)
    table = pl.DataFrame(
        {
            "transaction_id": outcome.data.ids[rows],
            "day": outcome.data.day[rows],
            "customer": outcome.data.customer[rows],
            "amount": outcome.data.amount[rows],
            "fraud": outcome.data.fraud[rows],
            "trained": outcome.probability,
        }
    )
    payments = pl.read_parquet(run.need("transactions.parquet"))
    if "tx_fraud_scenario" in payments.columns:
        kind = pl.col("tx_fraud_scenario").fill_null(UNKNOWN).alias("scenario")
        kinds = payments.select(pl.col("transaction_id").cast(pl.String), kind)
        table = table.join(kinds, on="transaction_id", how="left", maintain_order="left")
    table.write_parquet(run.path("test.parquet"))


def _curves(outcome: train.Outcome) -> dict:
    fraud = outcome.data.fraud[outcome.test.split.test_rows(outcome.data)]
    false, true, _ = roc_curve(fraud, outcome.probability)
    precision, recall, _ = precision_recall_curve(fraud, outcome.probability)
    return {
        "roc": _points(("false_positive_rate", false), ("recall", true)),
        "precision_recall": _points(("recall", recall), ("precision", precision)),
        "calibration": [
            {"probability": mean, "fraud_share": share, "rows": rows}
            for mean, share, rows in reliability(fraud, outcome.probability)
        ],
    }


def _points(*columns) -> list[dict]:
    length = len(columns[0][1])
    places = np.unique(np.linspace(0, length - 1, min(length, POINTS)).astype(int))
    return [{name: round(float(values[place]), 6) for name, values in columns} for place in places]


def _summary(outcome: train.Outcome) -> dict:
    split = outcome.test.split
    chosen = outcome.chosen.candidate
    days = {
        name: outcome.data.date_of(getattr(split, name)) for name in ("train_from", "train_to", "test_from", "test_to")
    }
    return {
        "name": outcome.recipe.name,
        "version": outcome.recipe.version,
        "sha256": hashlib.sha256(outcome.content).hexdigest(),
        "candidate": chosen.name,
        "family": chosen.family,
        "parameters": chosen.parameters,
        "features": outcome.data.names,
        "seeds": outcome.recipe.seeds,
        "days": days,
        "data_sha256": outcome.entries["training"]["data_sha256"],
        "rows": {"train": outcome.entries["training"]["rows"], "test": outcome.test.rows},
        "frauds": {"train": outcome.entries["training"]["frauds"], "test": outcome.test.frauds},
        "trees": outcome.entries["training"]["trees"],
        "leaves": outcome.entries["training"]["leaves"],
        "thresholds": outcome.entries["thresholds"],
        "metrics": {
            **outcome.test.seeds[0].as_dict(),
            **outcome.test_figures,
            **{f"{name}_seeds_mean": value.mean for name, value in outcome.test.spread.items()},
            **{f"{name}_seeds_deviation": value.deviation for name, value in outcome.test.spread.items()},
            **{f"test_{name}": float(value) for name, value in outcome.decisions.items()},
        },
        "validation": {result.candidate.name: result.mean.as_dict() for result in outcome.validations},
        "export": {"rows": outcome.check.rows, "greatest_difference": outcome.check.greatest_difference},
    }
