"""Trains the models that evaluators are compared on; the same bytes of data from the same seed.

Usage: models.py OUT. Writes, per model, NAME.onnx and, where its library has one, its native file
(NAME.lgb.txt, NAME.xgb.json; NAME.lleaves.so where lleaves compiles it), and rows to score: inputs.npy, float32.
"""

import subprocess
import sys
from pathlib import Path

import lightgbm
import lleaves
import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = 15
ROWS = 60_000
OPSET = {"": 15, "ai.onnx.ml": 3}


def data(seed):
    """Payments in the shape of the default features: amount, calendar, counts and averages per window."""
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(3.3, 1.0, ROWS).round(2)
    columns = [amount, rng.random(ROWS) < 0.28, rng.random(ROWS) < 0.14]
    rate, mean = rng.gamma(2.0, 1.0, ROWS), rng.lognormal(3.3, 0.7, ROWS)
    for days in (1, 7, 30):
        count = 1 + rng.poisson(rate * days)
        columns += [count, (amount + (count - 1) * mean * rng.normal(1, 0.2, ROWS).clip(0.2)) / count]
    risky = rng.random(ROWS) < 0.02
    for days in (1, 7, 30):
        count = rng.poisson(1.2 * days, ROWS)
        columns += [count, rng.binomial(count, np.where(risky, 0.4, 0.004)) / count.clip(1)]
    x = np.column_stack(columns).astype(np.float32)
    assert x.shape[1] == FEATURES
    logit = -5.0 + 3.0 * (amount > 220) + 3.5 * risky + 0.9 * np.log(amount / mean) + 0.4 * np.log(rate)
    return x, (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(np.int64)


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    x, y = data(20180401)
    rows, _ = data(20180402)
    np.save(out / "inputs.npy", np.ascontiguousarray(rows[:4096]))

    for trees, leaves in ((100, 31), (500, 63)):
        model = lightgbm.LGBMClassifier(
            n_estimators=trees, num_leaves=leaves, learning_rate=0.05, min_child_samples=5,
            random_state=7, n_jobs=1, deterministic=True, force_row_wise=True, verbose=-1,
        ).fit(x, y)
        name = f"lgbm{trees}x{leaves}"
        model.booster_.save_model(out / f"{name}.lgb.txt")
        if trees == 100:  # LLVM needs more than ten minutes for the larger one
            compiled = lleaves.Model(model_file=str(out / f"{name}.lgb.txt"))
            (out / f"{name}.o").unlink(missing_ok=True)
            compiled.compile(cache=str(out / f"{name}.o"))
            subprocess.run(["cc", "-shared", "-o", out / f"{name}.lleaves.so", out / f"{name}.o", "-lm"], check=True)
        onnx = onnxmltools.convert_lightgbm(
            model, initial_types=[("input", FloatTensorType([None, FEATURES]))], target_opset=15, zipmap=False
        )
        (out / f"{name}.onnx").write_bytes(onnx.SerializeToString())

    model = xgboost.XGBClassifier(n_estimators=100, max_depth=6, random_state=7, n_jobs=1).fit(x, y)
    model.get_booster().save_model(out / "xgb100d6.xgb.json")
    onnx = onnxmltools.convert_xgboost(
        model, initial_types=[("input", FloatTensorType([None, FEATURES]))], target_opset=15
    )
    (out / "xgb100d6.onnx").write_bytes(onnx.SerializeToString())

    model = make_pipeline(StandardScaler(), MLPClassifier((64, 64), max_iter=15, early_stopping=True, random_state=7))
    onnx = to_onnx(model.fit(x, y), x[:1], options={"zipmap": False}, target_opset=OPSET)
    (out / "mlp64x64.onnx").write_bytes(onnx.SerializeToString())

    # As many rows as give a forest of about 85,000 nodes.
    size = 14_500
    model = RandomForestClassifier(n_estimators=100, random_state=7, n_jobs=1).fit(x[:size], y[:size])
    print("forest nodes:", sum(tree.tree_.node_count for tree in model.estimators_))
    onnx = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=OPSET)
    (out / "rf100.onnx").write_bytes(onnx.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
