"""What the platform needs to know beyond the graph: `fraud-core/models/FORMAT.md`, from the writing side."""

import hashlib
import json
import re
from dataclasses import asdict

import numpy as np
import onnx

from fraud_training.data import Dataset
from fraud_training.thresholds import Thresholds

FORMAT = "1"
FEATURE_BINS = 10
SCORE_BINS = 20
GOLDEN_ROWS = 64
# Names of windows and spans of time, as fraud-core reads them (features/catalogue.rs, duration.rs).
WINDOW = re.compile(r"(?:CUSTOMER|TERMINAL)_ID_.+_(\d+)(DAY|HOUR|MINUTE)_WINDOW")
SECONDS = {"DAY": 86_400, "HOUR": 3_600, "MINUTE": 60, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
TERMINAL_DELAY = 7 * SECONDS["DAY"]


def write(proto: onnx.ModelProto, values: dict[str, object]) -> None:
    """Adds `fraud.*` entries in order of key; what is not text is written as compact JSON."""
    for key in sorted(values):
        value = values[key]
        entry = proto.metadata_props.add()
        entry.key = f"fraud.{key}"
        if isinstance(value, str):
            entry.value = value
        else:
            entry.value = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read(proto: onnx.ModelProto) -> dict[str, object]:
    """The entries again, JSON parsed."""
    table = {}
    for entry in proto.metadata_props:
        key = entry.key.removeprefix("fraud.")
        table[key] = json.loads(entry.value) if entry.value[:1] in "[{" else entry.value
    return table


def looks_back(feature: str | dict) -> int:
    """How many seconds back an entry of `fraud.features` looks, window and delay together; services hold it against
    `store.history`."""
    if isinstance(feature, str):
        named = WINDOW.fullmatch(feature)
        delay = TERMINAL_DELAY if feature.startswith("TERMINAL_ID_") else 0
        return int(named[1]) * SECONDS[named[2]] + delay if named else 0
    spans = [feature[name] for name in ("window", "delay") if name in feature]
    return sum(int(span.strip()[:-1]) * SECONDS[span.strip()[-1]] for span in spans)


def data_hash(data: Dataset, rows: np.ndarray) -> str:
    """SHA-256 over ids, features (float64, little-endian) and labels of the rows, in order of time, then id.

    Independent of the file format and of the order of rows in the file.
    """
    digest = hashlib.sha256()
    digest.update("\n".join(data.names).encode())
    digest.update(b"\0")
    digest.update("\n".join(data.ids[rows]).encode())
    digest.update(b"\0")
    digest.update(np.ascontiguousarray(data.features[rows], dtype="<f8").tobytes())
    digest.update(data.fraud[rows].astype("u1").tobytes())
    return digest.hexdigest()


def training(data: Dataset, rows: np.ndarray, further: dict[str, object]) -> dict[str, object]:
    """`fraud.training`."""
    days = data.day[rows]
    return {
        "from": data.date_of(days.min()).isoformat(),
        "to": data.date_of(days.max()).isoformat(),
        "data_sha256": data_hash(data, rows),
        "rows": int(rows.sum()),
        "frauds": int(data.fraud[rows].sum()),
        **further,
    }


def thresholds(at: Thresholds) -> dict[str, float]:
    """`fraud.thresholds`."""
    return asdict(at)


def baseline(data: Dataset, rows: np.ndarray, scores: np.ndarray) -> dict[str, object]:
    """`fraud.baseline`: the training rows' features, and `scores` of rows that the model was not fitted to.

    Scores of training rows lie further apart than any that will be seen in service, and would show as drift.
    """
    inputs = data.inputs(rows)
    features = {name: _histogram(inputs[:, k], FEATURE_BINS) for k, name in enumerate(data.names)}
    return {"features": features, "score": _histogram(scores.astype(np.float32), SCORE_BINS)}


def _histogram(values: np.ndarray, bins: int) -> dict[str, object]:
    """Bins of about equal weight; a value that fills several of them has a bin of its own."""
    quantiles = np.quantile(values, np.arange(1, bins) / bins, method="lower").astype(np.float64)
    edges = np.unique(quantiles)
    # An edge at the smallest value would leave an empty first bin, which no drift measure can divide by.
    edges = edges[edges > values.min()]
    if len(edges) == 0 and values.max() > values.min():
        # One value fills almost everything: what is above it is the other bin.
        edges = np.array([float(values[values > values.min()].min())])
    index = np.searchsorted(edges, values.astype(np.float64), side="right")
    counts = np.bincount(index, minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "median": float(np.median(values))}


def golden_rows(scores: np.ndarray, rows: int = GOLDEN_ROWS) -> np.ndarray:
    """Indices of rows whose scores lie evenly over the whole range, the lowest and the highest among them."""
    order = np.argsort(scores, kind="stable")
    # Half by rank, half by score: by rank alone nearly all would be the same small probability.
    by_rank = order[np.linspace(0, len(order) - 1, rows // 2).astype(int)]
    targets = np.linspace(scores.min(), scores.max(), rows - len(by_rank))
    places = np.searchsorted(scores[order], targets).clip(0, len(order) - 1)
    return np.unique(np.concatenate([by_rank, order[places]]))


def golden(inputs: np.ndarray, probabilities: np.ndarray) -> dict[str, object]:
    """`fraud.golden`."""
    return {
        "inputs": [[_short(value) for value in row] for row in inputs],
        "probabilities": [_short(value) for value in probabilities],
    }


def _short(value: np.float32) -> float:
    """The shortest decimal that is the same float32."""
    return float(str(np.float32(value)))
