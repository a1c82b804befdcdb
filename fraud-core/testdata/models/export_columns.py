"""Support vector machines without probabilities, inputs of single columns, categories. Called by `export.py`."""

import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn import calibration, compose, linear_model, pipeline, preprocessing, svm

LABEL = f"skl2onnx {skl2onnx.__version__}"


def support_vectors(keep, attempt, convert, data):
    train, target = data
    scaler, rows = preprocessing.StandardScaler, 400
    three = target + (target * (train[:, 0] > 150))
    calibrated = lambda: calibration.CalibratedClassifierCV(svm.SVC(), ensemble=False, cv=3)
    for name, model, classes, about in [
        ("calibrated", calibrated(), target, {}),
        ("calibrated_isotonic", calibrated().set_params(method="isotonic"), target, {}),
        ("calibrated_three", calibrated(), three, {"options": "three classes"}),
        ("raw", svm.SVC(), target, {"kind": "score", "options": "raw scores"}),
    ]:
        def make(name=name, model=model, classes=classes, about=about):
            fitted = pipeline.make_pipeline(scaler(), model).fit(train[:rows], classes[:rows])
            family = "StandardScaler + " + ("SVC" if name == "raw" else f"CalibratedClassifierCV(SVC, {model.method})")
            keep(convert(fitted, {"zipmap": False}), f"skl_svc_{name}", LABEL, family, **{"options": "ensemble=False", **about})
        attempt(f"skl_svc_{name}", make)


def columns(keep, attempt, convert, data):
    train, target = data
    windows = [f"{key}_{{}}_{days}DAY_WINDOW" for key in ("CUSTOMER_ID", "TERMINAL_ID") for days in (1, 7, 30)]
    names = ["TX_AMOUNT", "TX_DURING_WEEKEND", "TX_DURING_NIGHT"]
    for at, window in enumerate(windows):
        names += [window.format("NB_TX"), window.format("AVG_AMOUNT" if at < 3 else "RISK")]
    pipe, scaler = pipeline.make_pipeline, preprocessing.StandardScaler
    types = [(name, FloatTensorType([None, 1])) for name in names]

    def dropped():
        parts = [("a", scaler(), [10, 0, 4]), ("b", "passthrough", [14, 12])]
        model = pipe(compose.ColumnTransformer(parts, remainder="drop"), linear_model.LogisticRegression(max_iter=500))
        model.fit(train, target)
        keep(convert(model, {"zipmap": False}, types=types), "skl_dropped_inputs", LABEL,
             "ColumnTransformer + LogisticRegression", options="one input per column, remainder='drop'")
    attempt("skl_dropped_inputs", dropped)

    def categories():
        # A count of 0 is none of the categories, and an error: no row of zeros can be tried.
        parts = [("a", preprocessing.OneHotEncoder(handle_unknown="error"), [3]), ("b", scaler(), [0, 12, 14])]
        model = pipe(compose.ColumnTransformer(parts), linear_model.LogisticRegression(max_iter=500)).fit(train, target)
        keep(convert(model, {"zipmap": False}), "skl_one_hot_strict", LABEL,
             "OneHotEncoder + StandardScaler + LogisticRegression", options="handle_unknown='error'")
    attempt("skl_one_hot_strict", categories)


def models(keep, attempt, convert, data):
    support_vectors(keep, attempt, convert, data)
    columns(keep, attempt, convert, data)
