"""Scores champion and candidate on the same rows, both by the engine that serves."""

import numpy as np
import onnx
import polars as pl

from fraud_retraining import programs
from fraud_retraining.errors import ModelRefused, ProgramError
from fraud_retraining.folder import Run
from fraud_training import export, metadata, recipe
from fraud_training.errors import UnmatchedRows

# As golden rows: how far the serving engine may be from the training's and from ONNX Runtime.
TOLERANCE = 1e-5


def evaluate(run: Run) -> dict:
    """Writes the test rows with the scores of both, and what else the gate asks for."""
    champion = run.read("champion.json")
    table = pl.read_parquet(run.need("test.parquet"))
    models = {"candidate": run.need("model.onnx")}
    if champion["version"] is not None:
        models["champion"] = run.need("champion.onnx")
    for role, path in models.items():
        table = table.join(_scores(run, role, path), on="transaction_id", how="left", maintain_order="left")
        missing = table[role].null_count()
        if missing:
            raise UnmatchedRows(
                f"replay with the {role} gave no score for {missing} of {table.height} test transactions"
            )
    table.write_parquet(run.path("scored.parquet"))
    timings = programs.latency(run.environment, run.need("transactions.parquet"), list(models.values()))
    return run.write(
        "evaluation.json",
        {
            "roles": list(models),
            "champion": champion,
            "engine": _engine(run, table),
            "history": _history(run),
            "latency_us": {role: timing["median_us"] for role, timing in zip(models, timings, strict=True)},
            "latency_p99_us": {role: timing["p99_us"] for role, timing in zip(models, timings, strict=True)},
        },
    )


def _scores(run: Run, role: str, path) -> pl.DataFrame:
    """A model's own features are computed for it: champion and candidate need not share a feature."""
    plan = recipe.read(run.parameters.recipe_path)
    files = (run.need("transactions.parquet"), run.path(f"{role}-assessments.parquet"))
    features = run.path("candidate-features.parquet") if role == "candidate" else None
    try:
        programs.replay(run.environment, path, files, plan.split.label_delay_days, features)
    except ProgramError as error:
        if error.retry:
            raise
        # Loading runs the golden rows: a file that fixes its own answers wrongly is stopped here.
        raise ModelRefused(f"the {role} cannot be used by the engine that serves: {error}") from error
    scores = pl.read_parquet(files[1], columns=["transaction_id", "fraud_probability"])
    files[1].unlink()
    return scores.select(
        pl.col("transaction_id").cast(pl.String), pl.col("fraud_probability").cast(pl.Float64).alias(role)
    )


def _engine(run: Run, table: pl.DataFrame) -> dict:
    """How far the serving engine is from the trained model and from ONNX Runtime, and whether the candidate's features
    are those it was trained on, bit for bit, in the test week."""
    served = _features(run.path("candidate-features.parquet"), table)
    names = [name for name in served.columns if name != "transaction_id"]
    trained = _features(run.need("features.parquet"), table).select(names).to_numpy()
    values = served.select(names).to_numpy()
    by_runtime = export.run(run.need("model.onnx").read_bytes(), values.astype(np.float32))
    scores = table["candidate"].to_numpy()
    run.path("candidate-features.parquet").unlink()
    return {
        "rows": table.height,
        "from_trained": float(np.abs(scores - table["trained"].to_numpy()).max()),
        "from_onnx_runtime": float(np.abs(scores - by_runtime).max()),
        "feature_values": values.size,
        "feature_values_differing": int((_bits(values) != _bits(trained)).sum()),
        "tolerance": TOLERANCE,
    }


def _history(run: Run) -> dict:
    """The candidate's feature that looks back furthest, and how far."""
    features = metadata.read(onnx.load(run.need("model.onnx")))["features"]
    seconds, name = max((metadata.looks_back(item), item if isinstance(item, str) else item["name"]) for item in features)
    return {"feature": name, "seconds": seconds}


def _features(path, table: pl.DataFrame) -> pl.DataFrame:
    """The features of the table's rows, in their order."""
    features = pl.read_parquet(path).with_columns(pl.col("transaction_id").cast(pl.String))
    return table.select("transaction_id").join(features, on="transaction_id", how="left", maintain_order="left")


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
