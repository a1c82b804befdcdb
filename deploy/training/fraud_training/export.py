"""The trained, calibrated model → one ONNX file, checked against what was trained."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from fraud_training import graph, metadata
from fraud_training.additive import Additive
from fraud_training.errors import ExportError

TOLERANCE = 1e-5
BATCH = 65_536


@dataclass(frozen=True)
class Check:
    """How the file compares with the model in Python: rows compared, greatest difference of the probability."""

    rows: int
    greatest_difference: float


def to_onnx(model: Additive, width: int, entries: dict[str, object], golden_inputs: np.ndarray) -> bytes:
    """The file's bytes. `entries`: metadata but for `format` and `golden`, which is made here."""
    proto = graph.build(model, width)
    probabilities = run(proto.SerializeToString(deterministic=True), golden_inputs)
    golden = metadata.golden(golden_inputs, probabilities)
    metadata.write(proto, {"format": metadata.FORMAT, "output": graph.OUTPUT, "golden": golden, **entries})
    return proto.SerializeToString(deterministic=True)


def carrier(features: list) -> bytes:
    """A file that asks for these features and answers 0.5 to everything: given to replay as the model, it makes replay
    compute the features that a model yet to be trained will need."""
    proto = graph.build(Additive(weights=np.zeros(len(features)), link="logistic"), len(features))
    metadata.write(proto, {"format": metadata.FORMAT, "name": "features-only", "version": "0", "features": features})
    return proto.SerializeToString(deterministic=True)


def run(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """Probabilities of fraud by ONNX Runtime, float32, for float32 rows."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches = [
        session.run([graph.OUTPUT], {graph.INPUT: inputs[start : start + BATCH]})[0][:, 1]
        for start in range(0, len(inputs), BATCH)
    ]
    return np.concatenate(batches)


def check(content: bytes, inputs: np.ndarray, expected: np.ndarray) -> Check:
    """Compares the file with the trained model's own probabilities; raises `ExportError` beyond 1e-5."""
    onnx.checker.check_model(onnx.load_from_string(content))
    difference = np.abs(run(content, inputs).astype(np.float64) - expected)
    result = Check(len(inputs), float(difference.max()))
    if not result.greatest_difference <= TOLERANCE:
        row = int(np.argmax(difference))
        raise ExportError(
            f"the ONNX file differs from the trained model by {result.greatest_difference:.3g} on row {row} of "
            f"{result.rows} ({TOLERANCE:.0e} is allowed); nothing was written"
        )
    return result


def save(content: bytes, path: Path) -> None:
    """Writes the file in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)
