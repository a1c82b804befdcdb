"""Exports small models of every ordinary kind, with what ONNX Runtime answers for them.

    pip install onnx onnxruntime scikit-learn skl2onnx lightgbm xgboost onnxmltools catboost
    python export.py            # rewrites *.onnx, inputs.npy and index.json beside this file
    python export.py NAME ...   # only these, at the end of index.json where they are new

The models are trained on made-up rows: they are no good at finding fraud, but their files have the
exporters' shapes. `tests/models.rs` loads each, compares, and writes the table in `docs/models.md`.
"""

import json
import pathlib
import sys
import traceback
import warnings

import export_by_hand
import export_columns
import lightgbm
import numpy as np
import onnx
import onnxruntime
import sklearn
import skl2onnx
import xgboost
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
FEATURES = 15
ROWS = 48
random = np.random.default_rng(20180401)


def rows(count):
    x = np.empty((count, FEATURES))
    x[:, 0] = np.round(random.gamma(2.0, 30.0, count), 2)
    x[:, 1] = random.random(count) < 2 / 7
    x[:, 2] = random.random(count) < 0.2
    for start in (3, 9):
        for step, days in enumerate((1, 7, 30)):
            x[:, start + 2 * step] = random.poisson(2 * days, count) + 1
            second = random.gamma(4.0, 15.0, count) if start == 3 else random.beta(0.3, 20.0, count)
            x[:, start + 2 * step + 1] = second
    return x.astype(np.float32)


def labels(x):
    z = (x[:, 0] - 90) / 40 + 8 * x[:, 12] + 4 * x[:, 14] + random.normal(0, 0.7, len(x))
    return (z > 0.6).astype(np.int64)


TRAIN = rows(3000)
TARGET = labels(TRAIN)
INPUTS = np.concatenate([rows(ROWS - 8), TRAIN[:8]])
WORDS = np.where(TARGET == 1, "fraud", "genuine")
ENTRIES = []
ONLY = set(sys.argv[1:])


def options_of(kind):
    return {"probability": {}, "score": {"kind": "score"}, "logits": {"logits": True}}[kind]


def feed(session, inputs, groups=None):
    wanted = session.get_inputs()
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    if len(wanted) == 1:
        return {wanted[0].name: inputs.astype(types[wanted[0].type])}
    if groups:
        parts = np.split(inputs, np.cumsum(groups)[:-1], axis=1)
        return {one.name: part.astype(types[one.type]) for one, part in zip(wanted, parts)}
    return {one.name: inputs[:, [i]].astype(types[one.type]) for i, one in enumerate(wanted)}


def answers(path, inputs, output, column, groups=None):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    fixed = session.get_inputs()[0].shape[0]
    chunks = [inputs] if not isinstance(fixed, int) else [inputs[i : i + fixed] for i in range(0, len(inputs), fixed)]
    parts = []
    for chunk in chunks:
        value = session.run([output], feed(session, chunk, groups))[0]
        if isinstance(value, list):
            value = np.array([entry[column] for entry in value])
        elif value.ndim == 2 and value.shape[1] > 1:
            value = value[:, int(column) if not isinstance(column, str) else 1]
        parts.append(np.asarray(value).reshape(-1))
    return np.concatenate(parts).astype(np.float64)


def keep(model, name, exporter, family, **about):
    """Writes one model and its expected answers. `about`: options, kind, output, column, label, inputs."""
    path = HERE / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    kind = about.get("kind", "probability")
    inputs = about.get("inputs", INPUTS)
    outputs = [o.name for o in model.graph.output]
    output = about.get("output") or next((o for o in outputs if "prob" in o), outputs[-1])
    try:
        expected = answers(path, inputs, output, about.get("column", 1), about.get("groups"))
    except Exception:
        path.unlink()
        raise
    if kind == "logits":
        expected = 1 / (1 + np.exp(-expected))
    entry = {
        "name": name, "exporter": exporter, "family": family, "options": about.get("options", ""),
        "opset": ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import),
        "kind": kind, "expected": [float(np.float32(v)) for v in expected],
    }
    for key in ("output", "label", "features"):
        if key in about:
            entry[key] = about[key]
    if about.get("nan"):
        entry["inputs"] = "missing"
    if about.get("loose"):
        entry["loose"] = True
    operators = sorted({node.op_type for node in model.graph.node})
    known_missing = {"Scan", "Loop"}.intersection(operators)
    if known_missing:
        entry["unsupported"] = sorted(known_missing)[0]
    ENTRIES.append(entry)


def attempt(name, make):
    if ONLY and name not in ONLY:
        return
    try:
        make()
    except Exception as error:  # An exporter that cannot is a row of the table, too.
        ENTRIES.append({"name": name, "refused": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:140]}"})
        print("no export:", name, traceback.format_exc().splitlines()[-1][:200], file=sys.stderr)


def with_nan(inputs):
    holes = inputs.copy()
    holes[random.random(holes.shape) < 0.1] = np.nan
    return holes


MISSING = with_nan(INPUTS)


def convert(model, options=None, target=None, types=None):
    initial = types or [("input", FloatTensorType([None, FEATURES]))]
    wanted = {id(model): options} if options is not None else None
    return skl2onnx.convert_sklearn(model, initial_types=initial, options=wanted, target_opset=target)


def sklearn_models():
    from sklearn import calibration, discriminant_analysis, ensemble, impute, linear_model, naive_bayes, neighbors
    from sklearn import neural_network, pipeline, preprocessing, svm, tree, decomposition, feature_selection, compose
    from sklearn import kernel_approximation

    label = f"skl2onnx {skl2onnx.__version__}"
    lr = lambda: linear_model.LogisticRegression(max_iter=500)
    pipe = pipeline.make_pipeline
    scaler = preprocessing.StandardScaler
    off = {"zipmap": False}

    classifiers = {
        "logistic_regression": lr(),
        "standard_lr": pipe(scaler(), lr()),
        "minmax_lr": pipe(preprocessing.MinMaxScaler(), lr()),
        "minmax_clip_lr": pipe(preprocessing.MinMaxScaler(clip=True), lr()),
        "maxabs_lr": pipe(preprocessing.MaxAbsScaler(), lr()),
        "robust_lr": pipe(preprocessing.RobustScaler(), lr()),
        "centred_lr": pipe(scaler(with_std=False), lr()),
        "l1_lr": pipe(preprocessing.Normalizer("l1"), lr()),
        "l2_lr": pipe(preprocessing.Normalizer("l2"), lr()),
        "max_lr": pipe(preprocessing.Normalizer("max"), lr()),
        "power_lr": pipe(preprocessing.PowerTransformer(), lr()),
        "quantile_lr": pipe(preprocessing.QuantileTransformer(n_quantiles=20), lr()),
        "bins_lr": pipe(preprocessing.KBinsDiscretizer(5, encode="ordinal"), lr()),
        "bins_onehot_lr": pipe(preprocessing.KBinsDiscretizer(5, encode="onehot-dense"), lr()),
        "polynomial_lr": pipe(scaler(), preprocessing.PolynomialFeatures(2, include_bias=False), lr()),
        "spline_lr": pipe(preprocessing.SplineTransformer(n_knots=4), lr()),
        "log_lr": pipe(preprocessing.FunctionTransformer(), lr()),
        "binarizer_lr": pipe(preprocessing.Binarizer(threshold=3.0), lr()),
        "pca_lr": pipe(scaler(), decomposition.PCA(5), lr()),
        "svd_lr": pipe(scaler(), decomposition.TruncatedSVD(5), lr()),
        "kbest_lr": pipe(feature_selection.SelectKBest(k=6), lr()),
        "variance_lr": pipe(feature_selection.VarianceThreshold(0.1), scaler(), lr()),
        "nystroem_lr": pipe(scaler(), kernel_approximation.Nystroem(n_components=10, random_state=1), lr()),
        "columns_lr": pipe(
            compose.ColumnTransformer([
                ("a", scaler(), [0, 4, 6, 8]), ("b", preprocessing.MinMaxScaler(), [3, 5, 7]), ("c", "passthrough", [1, 2]),
            ]), lr()),
        "columns_rest_lr": pipe(compose.ColumnTransformer([("a", scaler(), [0, 4])], remainder="passthrough"), lr()),
        "union_lr": pipe(pipeline.FeatureUnion([("a", scaler()), ("b", preprocessing.MinMaxScaler())]), lr()),
        "lr_cv": pipe(scaler(), linear_model.LogisticRegressionCV(Cs=2, cv=2, max_iter=300)),
        "sgd": pipe(scaler(), linear_model.SGDClassifier(loss="log_loss", random_state=1)),
        "sgd_huber": pipe(scaler(), linear_model.SGDClassifier(loss="modified_huber", random_state=1)),
        "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
        "qda": pipe(scaler(), discriminant_analysis.QuadraticDiscriminantAnalysis()),
        "gaussian_nb": naive_bayes.GaussianNB(),
        "bernoulli_nb": naive_bayes.BernoulliNB(binarize=3.0),
        "multinomial_nb": naive_bayes.MultinomialNB(),
        "complement_nb": naive_bayes.ComplementNB(),
        "decision_tree": tree.DecisionTreeClassifier(max_depth=4, random_state=1),
        "extra_tree": tree.ExtraTreeClassifier(max_depth=4, random_state=1),
        "random_forest": ensemble.RandomForestClassifier(5, max_depth=4, random_state=1),
        "extra_trees": ensemble.ExtraTreesClassifier(5, max_depth=4, random_state=1),
        "standard_forest": pipe(scaler(), ensemble.RandomForestClassifier(5, max_depth=4, random_state=1)),
        "gradient_boosting": ensemble.GradientBoostingClassifier(n_estimators=6, max_depth=3, random_state=1),
        "gradient_boosting_zero": ensemble.GradientBoostingClassifier(n_estimators=6, init="zero", random_state=1),
        "gradient_boosting_exponential": ensemble.GradientBoostingClassifier(
            n_estimators=6, loss="exponential", random_state=1),
        "hist_gradient_boosting": ensemble.HistGradientBoostingClassifier(max_iter=5, max_depth=3, random_state=1),
        "ada_boost": ensemble.AdaBoostClassifier(n_estimators=4, random_state=1),
        "bagging_trees": ensemble.BaggingClassifier(tree.DecisionTreeClassifier(max_depth=3), 3, random_state=1),
        "bagging_lr": ensemble.BaggingClassifier(pipe(scaler(), lr()), 3, random_state=1),
        "voting_soft": ensemble.VotingClassifier(
            [("a", lr()), ("b", tree.DecisionTreeClassifier(max_depth=3))], voting="soft", flatten_transform=False),
        "voting_weights": ensemble.VotingClassifier(
            [("a", lr()), ("b", ensemble.RandomForestClassifier(3, max_depth=3))], voting="soft", flatten_transform=False, weights=np.array([1, 3])),
        "stacking": ensemble.StackingClassifier(
            [("a", lr()), ("b", tree.DecisionTreeClassifier(max_depth=3))], cv=2),
        "calibrated_sigmoid": calibration.CalibratedClassifierCV(tree.DecisionTreeClassifier(max_depth=3), cv=2),
        "calibrated_isotonic": calibration.CalibratedClassifierCV(lr(), method="isotonic", cv=2),
        "calibrated_forest": calibration.CalibratedClassifierCV(
            ensemble.RandomForestClassifier(3, max_depth=3, random_state=1), cv=2),
        "calibrated_svc": calibration.CalibratedClassifierCV(pipe(scaler(), svm.LinearSVC()), cv=2),
        "mlp_relu": pipe(scaler(), neural_network.MLPClassifier((8, 4), max_iter=60, random_state=1)),
        "mlp_tanh": pipe(scaler(), neural_network.MLPClassifier((6,), activation="tanh", max_iter=60, random_state=1)),
        "mlp_logistic": pipe(
            scaler(), neural_network.MLPClassifier((6,), activation="logistic", max_iter=60, random_state=1)),
        "svc_probability": pipe(scaler(), svm.SVC(probability=True, kernel="rbf", random_state=1)),
        "svc_linear_probability": pipe(scaler(), svm.SVC(probability=True, kernel="linear", random_state=1)),
        "knn": pipe(scaler(), neighbors.KNeighborsClassifier(5)),
    }
    for name, model in classifiers.items():
        def make(name=name, model=model):
            x = TRAIN[:400] if name.startswith(("svc", "knn", "nystroem")) else TRAIN
            y = TARGET[: len(x)]
            model.fit(x, y)
            keep(convert(model, off), f"skl_{name}", label, type_name(model), options="zipmap=False")
        attempt(f"skl_{name}", make)

    for kind, model in {
        "lr": pipe(scaler(), lr()),
        "forest": ensemble.RandomForestClassifier(3, max_depth=3, random_state=1),
        "gb": ensemble.GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=1),
        "mlp": pipe(scaler(), neural_network.MLPClassifier((4,), max_iter=60, random_state=1)),
        "voting": ensemble.VotingClassifier([("a", lr()), ("b", tree.DecisionTreeClassifier(max_depth=2))], voting="soft", flatten_transform=False),
        "ada": ensemble.AdaBoostClassifier(n_estimators=3, random_state=1),
        "calibrated": calibration.CalibratedClassifierCV(tree.DecisionTreeClassifier(max_depth=2), cv=2),
        "nb": naive_bayes.GaussianNB(),
    }.items():
        family = type_name(model)
        fitted = model.fit(TRAIN, TARGET)
        cases = {
            "zipmap": (fitted, None, None, {}),
            "columns": (fitted, {"zipmap": "columns"}, None, {"output": "i1"}),
            "nocl": (fitted, {"zipmap": False, "nocl": True}, None, {}),
            "raw": (fitted, {"zipmap": False, "raw_scores": True}, None, {"kind": "logits"}),
            "double": (fitted, off, [("input", DoubleTensorType([None, FEATURES]))], {}),
            "batch1": (fitted, off, [("input", FloatTensorType([1, FEATURES]))], {}),
        }
        for case, (one, options, types, about) in cases.items():
            if case == "raw" and kind not in ("lr", "gb", "mlp"):
                continue
            written = {
                "zipmap": "defaults (ZipMap)", "columns": "zipmap='columns'", "nocl": "nocl=True",
                "raw": "raw_scores=True", "double": "float64 input", "batch1": "batch fixed at 1",
            }[case]
            def make(case=case, one=one, options=options, types=types, about=about, family=family, written=written):
                final = one
                keep(convert(final, options, types=types), f"skl_{kind}_{case}", label, family, options=written, **about)
            attempt(f"skl_{kind}_{case}", make)
        def words(model=model, family=family):
            import sklearn.base
            other = sklearn.base.clone(model).fit(TRAIN, WORDS)
            keep(convert(other, off), f"skl_{kind}_words", label, family, options="string labels, zipmap=False",
                 label="fraud", column=0)
            keep(convert(other), f"skl_{kind}_words_zipmap", label, family, options="string labels, ZipMap",
                 label="fraud", column="fraud")
        attempt(f"skl_{kind}_words", words)
        for opset in (9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21):
            if kind not in ("lr", "mlp", "forest", "voting") or (kind != "lr" and opset in (10, 12, 14, 17, 19, 20)):
                continue
            for ml in (1, 3):
                if ml == 3 and opset < 15:
                    continue
                def make(opset=opset, ml=ml):
                    keep(convert(fitted, off, {"": opset, "ai.onnx.ml": ml}), f"skl_{kind}_opset{opset}_{ml}", label,
                         family, options=f"target_opset={opset}, ai.onnx.ml {ml}")
                attempt(f"skl_{kind}_opset{opset}_{ml}", make)

    def separate():
        names = [f"f{i}" for i in range(FEATURES)]
        columns = compose.ColumnTransformer([("a", scaler(), [0, 3, 4, 5]), ("b", "passthrough", [1, 2, 6, 7])])
        import pandas
        model = pipe(columns, lr()).fit(TRAIN, TARGET)
        types = [(n, FloatTensorType([None, 1])) for n in names]
        frame = pandas.DataFrame(TRAIN, columns=names)
        model = pipe(compose.ColumnTransformer([("a", scaler(), names[:5]), ("b", "passthrough", names[5:])]), lr())
        model.fit(frame, TARGET)
        keep(convert(model, off, types=types), "skl_separate_inputs", label, "ColumnTransformer + LogisticRegression",
             options="one input per column")
    attempt("skl_separate_inputs", separate)

    def imputers():
        holes = with_nan(TRAIN)
        for name, one in {
            "mean": impute.SimpleImputer(), "median": impute.SimpleImputer(strategy="median"),
            "constant": impute.SimpleImputer(strategy="constant", fill_value=-1.0),
            "indicator": impute.SimpleImputer(add_indicator=True),
        }.items():
            def make(name=name, one=one):
                model = pipe(one, scaler(), lr()).fit(holes, TARGET)
                keep(convert(model, off), f"skl_imputer_{name}", label, type_name(model), options="NaN inputs",
                     inputs=MISSING, nan=True)
            attempt(f"skl_imputer_{name}", make)
        def forest():
            model = ensemble.RandomForestClassifier(4, max_depth=4, random_state=1).fit(holes, TARGET)
            keep(convert(model, off), "skl_forest_nan", label, type_name(model), options="NaN inputs", inputs=MISSING, nan=True)
        attempt("skl_forest_nan", forest)
    attempt("skl_imputers", imputers)

    for name, model in {
        "linear_regression": linear_model.LinearRegression(),
        "ridge": pipe(scaler(), linear_model.Ridge()),
        "forest_regressor": ensemble.RandomForestRegressor(4, max_depth=3, random_state=1),
        "tree_regressor": tree.DecisionTreeRegressor(max_depth=4),
        "gb_regressor": ensemble.GradientBoostingRegressor(n_estimators=4, random_state=1),
        "ada_regressor": ensemble.AdaBoostRegressor(n_estimators=3, random_state=1),
        "hist_regressor": ensemble.HistGradientBoostingRegressor(max_iter=4, max_depth=3),
        "poisson": pipe(scaler(), linear_model.PoissonRegressor()),
        "mlp_regressor": pipe(scaler(), neural_network.MLPRegressor(hidden_layer_sizes=(6,), max_iter=60, random_state=1)),
        "isolation_forest": ensemble.IsolationForest(n_estimators=8, max_samples=64, random_state=1),
        "standard_isolation_forest": pipe(scaler(), ensemble.IsolationForest(n_estimators=4, max_samples=32, random_state=1)),
        "isolation_forest_features": ensemble.IsolationForest(n_estimators=4, max_samples=32, max_features=0.6, random_state=1),
        "isolation_forest_contamination": ensemble.IsolationForest(n_estimators=4, max_samples=32, contamination=0.05, random_state=1),
        "one_class_svm": pipe(scaler(), svm.OneClassSVM(nu=0.1)),
        "lof": pipe(scaler(), neighbors.LocalOutlierFactor(novelty=True, n_neighbors=5)),
        "elliptic_envelope": None,
    }.items():
        if model is None:
            continue
        def make(name=name, model=model):
            x = TRAIN[:300] if name in ("one_class_svm", "lof") else TRAIN
            model.fit(x, TARGET[: len(x)])
            target = {"": 17, "ai.onnx.ml": 3} if "isolation" in name or name == "lof" else None
            keep(convert(model, target=target), f"skl_{name}", label, type_name(model), kind="score")
        attempt(f"skl_{name}", make)
    def isolation_double():
        model = ensemble.IsolationForest(n_estimators=4, max_samples=32, random_state=1).fit(TRAIN)
        keep(convert(model, {"score_samples": True}, target={"": 13, "ai.onnx.ml": 2}),
             "skl_isolation_forest_samples", label, "IsolationForest", kind="score", options="score_samples=True",
             output="scores")
    attempt("skl_isolation_forest_options", isolation_double)


def type_name(model):
    if hasattr(model, "steps"):
        return " + ".join(type(step).__name__ for _, step in model.steps)
    return type(model).__name__


def boosters():
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats

    initial = [("input", Floats([None, FEATURES]))]
    label = f"onnxmltools {onnxmltools.__version__}"
    light = f"LightGBM {lightgbm.__version__}"
    small = dict(n_estimators=6, num_leaves=7, random_state=1, verbose=-1, n_jobs=1)
    for name, about in {
        "default": {}, "dart": {"boosting_type": "dart"}, "rf": {"boosting_type": "rf", "bagging_freq": 1, "subsample": 0.6},
        "unbalance": {"is_unbalance": True}, "xentropy": {"objective": "cross_entropy"},
    }.items():
        def make(name=name, about=about):
            model = lightgbm.LGBMClassifier(**small, **about).fit(TRAIN, TARGET)
            onnx_model = onnxmltools.convert_lightgbm(model, initial_types=initial, zipmap=False, target_opset=13)
            keep(onnx_model, f"lgbm_{name}", label, f"{light} classifier", options=str(about or "zipmap=False"))
        attempt(f"lgbm_{name}", make)
    def light_more():
        model = lightgbm.LGBMClassifier(**small).fit(TRAIN, TARGET)
        for case, about in {
            "zipmap": dict(target_opset=13), "opset9": dict(target_opset=9, zipmap=False),
            "opset15": dict(target_opset=15, zipmap=False),
            "split": dict(target_opset=13, zipmap=False, split=2), "nosplit": dict(target_opset=13, zipmap=False, without_onnx_ml=False),
        }.items():
            attempt(f"lgbm_{case}", lambda case=case, about=about: keep(
                onnxmltools.convert_lightgbm(model, initial_types=initial, **about), f"lgbm_{case}", label,
                f"{light} classifier", options=str(about)))
        attempt("lgbm_booster", lambda: keep(
            onnxmltools.convert_lightgbm(model.booster_, initial_types=initial, zipmap=False, target_opset=13),
            "lgbm_booster", label, f"{light} Booster"))
        words = lightgbm.LGBMClassifier(**small).fit(TRAIN, WORDS)
        attempt("lgbm_words", lambda: keep(
            onnxmltools.convert_lightgbm(words, initial_types=initial, zipmap=False, target_opset=13), "lgbm_words",
            label, f"{light} classifier", options="string labels", label="fraud", column=0))
        holes = with_nan(TRAIN)
        missing = lightgbm.LGBMClassifier(**small).fit(holes, TARGET)
        attempt("lgbm_nan", lambda: keep(
            onnxmltools.convert_lightgbm(missing, initial_types=initial, zipmap=False, target_opset=13), "lgbm_nan",
            label, f"{light} classifier", options="NaN inputs", inputs=MISSING, nan=True))
        categories = lightgbm.LGBMClassifier(**small, min_data_per_group=5, cat_smooth=1).fit(
            TRAIN, TARGET, categorical_feature=[3, 9])
        attempt("lgbm_categories", lambda: keep(
            onnxmltools.convert_lightgbm(categories, initial_types=initial, zipmap=False, target_opset=13),
            "lgbm_categories", label, f"{light} classifier", options="categorical features"))
        regressor = lightgbm.LGBMRegressor(**small).fit(TRAIN, TARGET)
        for case, about in {"regressor": {}, "regressor_split": {"split": 2}}.items():
            attempt(f"lgbm_{case}", lambda case=case, about=about: keep(
                onnxmltools.convert_lightgbm(regressor, initial_types=initial, target_opset=13, **about),
                f"lgbm_{case}", label, f"{light} regressor", kind="score", options=str(about or "")))
    attempt("lgbm_more", light_more)

    def through_sklearn():
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
        from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes as shapes
        from sklearn import calibration, pipeline, preprocessing
        offered = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
        skl2onnx.update_registered_converter(lightgbm.LGBMClassifier, "LgbmC", shapes, convert_lightgbm, options=offered)
        skl2onnx.update_registered_converter(xgboost.XGBClassifier, "XgbC", shapes, convert_xgboost, options=offered)
        target = {"": 15, "ai.onnx.ml": 3}
        for name, inner in {"lgbm": lightgbm.LGBMClassifier(**small), "xgb": xgboost.XGBClassifier(n_estimators=5, max_depth=3)}.items():
            def make(name=name, inner=inner):
                model = pipeline.make_pipeline(preprocessing.StandardScaler(), inner).fit(TRAIN, TARGET)
                keep(convert(model, {"zipmap": False}, target), f"{name}_pipeline", f"skl2onnx {skl2onnx.__version__} + onnxmltools",
                     type_name(model))
                keep(convert(model, None, target), f"{name}_pipeline_zipmap",
                     f"skl2onnx {skl2onnx.__version__} + onnxmltools", type_name(model), options="ZipMap")
            attempt(f"{name}_pipeline", make)
        def calibrated():
            model = calibration.CalibratedClassifierCV(lightgbm.LGBMClassifier(**small), cv=2, method="isotonic").fit(TRAIN, TARGET)
            keep(convert(model, {"zipmap": False}, target), "lgbm_calibrated",
                 f"skl2onnx {skl2onnx.__version__} + onnxmltools", "CalibratedClassifierCV(LightGBM, isotonic)")
        attempt("lgbm_calibrated", calibrated)
    attempt("boosters_in_pipelines", through_sklearn)

    extreme = f"XGBoost {xgboost.__version__}"
    small = dict(n_estimators=6, max_depth=3, random_state=1, n_jobs=1)
    for name, about in {
        "default": {}, "base": {"base_score": 0.3}, "hist": {"tree_method": "hist", "max_bin": 16},
        "raw": {"objective": "binary:logitraw"}, "hinge": {"objective": "binary:hinge"},
        "dart": {"booster": "dart"}, "leafwise": {"grow_policy": "lossguide", "max_leaves": 6, "max_depth": 0},
        "parallel": {"num_parallel_tree": 2},
    }.items():
        def make(name=name, about=about):
            model = xgboost.XGBClassifier(**{**small, **about}).fit(TRAIN, TARGET)
            keep(onnxmltools.convert_xgboost(model, initial_types=initial, target_opset=15), f"xgb_{name}", label,
                 f"{extreme} classifier", options=str(about or ""), kind="logits" if name == "raw" else "probability")
        attempt(f"xgb_{name}", make)
    def extreme_more():
        holes = with_nan(TRAIN)
        model = xgboost.XGBClassifier(**small).fit(holes, TARGET)
        keep(onnxmltools.convert_xgboost(model, initial_types=initial, target_opset=15), "xgb_nan", label,
             f"{extreme} classifier", options="NaN inputs", inputs=MISSING, nan=True)
    attempt("xgb_nan", extreme_more)
    def extreme_old():
        model = xgboost.XGBClassifier(**small).fit(TRAIN, TARGET)
        keep(onnxmltools.convert_xgboost(model, initial_types=initial, target_opset=9), "xgb_opset9", label,
             f"{extreme} classifier", options="target_opset=9")
        booster = model.get_booster()
        keep(onnxmltools.convert_xgboost(booster, initial_types=initial, target_opset=15), "xgb_booster", label, f"{extreme} Booster")
    attempt("xgb_booster", extreme_old)
    for name, about in {
        "regressor": {}, "regressor_logistic": {"objective": "reg:logistic"}, "forest": None, "forest_regressor": None,
    }.items():
        def make(name=name, about=about):
            made = {"forest": xgboost.XGBRFClassifier, "forest_regressor": xgboost.XGBRFRegressor}.get(name, xgboost.XGBRegressor)
            model = made(**small, **(about or {})).fit(TRAIN, TARGET)
            keep(onnxmltools.convert_xgboost(model, initial_types=initial, target_opset=15), f"xgb_{name}", label,
                 f"{extreme} {made.__name__}", kind="probability" if name == "forest" else "score", options=str(about or ""))
        attempt(f"xgb_{name}", make)

    def cat():
        import catboost
        label = f"CatBoost {catboost.__version__}"
        import tempfile
        def export(model, name, **about):
            with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
                model.save_model(file.name, format="onnx", export_parameters={"onnx_domain": "fraud", "onnx_model_version": 1})
                keep(onnx.load(file.name), name, label, type(model).__name__, **about)
        small = dict(iterations=6, depth=3, random_seed=1, verbose=False, allow_writing_files=False, thread_count=1)
        attempt("cat_classifier", lambda: export(catboost.CatBoostClassifier(**small).fit(TRAIN, TARGET), "cat_classifier"))
        attempt("cat_lossguide", lambda: export(catboost.CatBoostClassifier(**small, grow_policy="Lossguide").fit(TRAIN, TARGET),
                                                "cat_lossguide", options="grow_policy=Lossguide"))
        attempt("cat_words", lambda: export(catboost.CatBoostClassifier(**small).fit(TRAIN, WORDS), "cat_words",
                                            options="string labels", label="fraud", column="fraud"))
        attempt("cat_nan", lambda: export(catboost.CatBoostClassifier(**small).fit(with_nan(TRAIN), TARGET), "cat_nan",
                                          options="NaN inputs", inputs=MISSING, nan=True))
        attempt("cat_regressor", lambda: export(catboost.CatBoostRegressor(**small).fit(TRAIN, TARGET), "cat_regressor", kind="score"))
    attempt("catboost", cat)


if __name__ == "__main__":
    if ONLY:
        # Everything else stays as it is; the rows are the same, or its answers would not be.
        assert np.array_equal(INPUTS, np.load(HERE / "inputs.npy"))
    else:
        for old in HERE.glob("*.onnx"):
            old.unlink()
        np.save(HERE / "inputs.npy", INPUTS.astype(np.float32))
        np.save(HERE / "missing.npy", MISSING.astype(np.float32))
    sklearn_models()
    boosters()
    export_by_hand.models(keep, attempt, INPUTS, MISSING)
    export_columns.models(keep, attempt, convert, (TRAIN, TARGET))
    index = json.loads((HERE / "index.json").read_text()) if ONLY else []
    made = {entry["name"]: entry for entry in ENTRIES}
    index = [made.pop(entry["name"], entry) for entry in index] + list(made.values())
    (HERE / "index.json").write_text(json.dumps(index, indent=0) + "\n")
    print(len(ENTRIES), "entries,", sum("refused" in e for e in ENTRIES), "without an export")
