"""Models that no exporter installed here writes: networks as torch.onnx writes them, and single operators.

Called by `export.py`. Every graph goes through ONNX Runtime for its expected answers, as the others do.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F = 15
random = np.random.default_rng(7)
ML = "ai.onnx.ml"


def model(nodes, constants, outputs, opset=17, ml=3, rows="batch_size", inputs=None):
    """outputs: name → (element type, shape); inputs: name → (element type, shape)."""
    inputs = inputs or {"input": (TensorProto.FLOAT, [rows, F])}
    graph = helper.make_graph(
        nodes, "main_graph",
        [helper.make_tensor_value_info(name, *about) for name, about in inputs.items()],
        [helper.make_tensor_value_info(name, *about) for name, about in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(ML, ml)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8 if ml < 5 else 10, producer_name="pytorch")
    onnx.checker.check_model(made)
    return made


def node(kind, inputs, outputs, **attributes):
    domain = ML if kind in {
        "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "Scaler", "Imputer", "LabelEncoder", "Binarizer",
        "FeatureVectorizer", "ArrayFeatureExtractor", "Normalizer", "LinearClassifier", "LinearRegressor", "OneHotEncoder",
        "ZipMap",
    } else ""
    return helper.make_node(kind, inputs.split(), outputs.split(), name=f"/{kind}_{outputs.split()[0]}", domain=domain, **attributes)


def weights(rows, columns, scale=0.3):
    return (random.normal(size=(rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)


STANDARD = {"mean": np.linspace(0, 60, F).astype(np.float32), "scale": np.linspace(0.02, 0.2, F).astype(np.float32)}
SCALING = [node("Sub", "input mean", "centred"), node("Mul", "centred scale", "x")]
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def networks():
    base = {**STANDARD, "w1": weights(8, F, 3), "b1": weights(1, 8)[0], "w2": weights(1, 8, 3), "b2": weights(1, 1)[0]}
    gemm = lambda x, w, b, y: node("Gemm", f"{x} {w} {b}", y, alpha=1.0, beta=1.0, transB=1)
    end = [node("Sigmoid", "z", "prob")]
    one = {"prob": (FLOAT, ["batch_size", 1])}
    hidden = lambda *inner: SCALING + [gemm("x", "w1", "b1", "h")] + list(inner) + [gemm("a", "w2", "b2", "z")]

    for name, inner, constants in [
        ("relu", [node("Relu", "h", "a")], {}),
        ("leaky", [node("LeakyRelu", "h", "a", alpha=0.1)], {}),
        ("elu", [node("Elu", "h", "a")], {}),
        ("selu", [node("Selu", "h", "a")], {}),
        ("softplus", [node("Softplus", "h", "a")], {}),
        ("tanh", [node("Tanh", "h", "a")], {}),
        ("silu", [node("Sigmoid", "h", "s"), node("Mul", "h s", "a")], {}),
        ("hardswish", [node("HardSwish", "h", "a")], {}),
        ("prelu", [node("PRelu", "h slope", "a")], {"slope": np.full(8, 0.2, np.float32)}),
        ("gelu", [node("Div", "h root", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"), node("Mul", "h f", "g"),
                  node("Mul", "g half", "a")],
         {"root": np.float32(2 ** 0.5), "one": np.float32(1), "half": np.float32(0.5)}),
        ("batchnorm", [node("BatchNormalization", "h gamma beta mu var", "n", epsilon=1e-5), node("Relu", "n", "a")],
         {"gamma": np.full(8, 1.1, np.float32), "beta": np.full(8, 0.1, np.float32), "mu": weights(1, 8)[0],
          "var": np.full(8, 0.7, np.float32)}),
        ("layernorm", [node("LayerNormalization", "h gamma beta", "n", axis=-1), node("Relu", "n", "a")],
         {"gamma": np.full(8, 1.1, np.float32), "beta": np.full(8, 0.1, np.float32)}),
        ("dropout", [node("Dropout", "h", "d"), node("Relu", "d", "a")], {}),
        ("clip", [node("Clip", "h low high", "a")], {"low": np.float32(0), "high": np.float32(6)}),
        ("residual", [node("Relu", "h", "r"), node("Add", "r h", "a")], {}),
    ]:
        yield f"torch_{name}", "network of torch.onnx", name, model(hidden(*inner) + end, {**base, **constants}, one), {}

    relu = hidden(node("Relu", "h", "a"))
    wide = {**base, "w2": weights(2, 8, 3), "b2": weights(1, 2)[0]}
    two = {"prob": (FLOAT, ["batch_size", 2])}
    yield "torch_softmax", "network of torch.onnx", "two columns, Softmax", model(
        relu + [node("Softmax", "z", "prob", axis=1)], wide, two), {}
    yield "torch_softmax_last", "network of torch.onnx", "two columns, Softmax of axis -1", model(
        relu + [node("Softmax", "z", "prob", axis=-1)], wide, two), {}
    yield "torch_logsoftmax", "network of torch.onnx", "LogSoftmax and Exp", model(
        relu + [node("LogSoftmax", "z", "l", axis=1), node("Exp", "l", "prob")], wide, two), {}
    yield "torch_squeeze", "network of torch.onnx", "one number per row, of rank 1", model(
        relu + [node("Sigmoid", "z", "p"), node("Squeeze", "p axes", "prob")], {**base, "axes": np.array([1])},
        {"prob": (FLOAT, ["batch_size"])}), {}
    yield "torch_squeeze11", "network of torch.onnx", "opset 11, Squeeze with an attribute", model(
        relu + [node("Sigmoid", "z", "p"), node("Squeeze", "p", "prob", axes=[1])], base,
        {"prob": (FLOAT, ["batch_size"])}, opset=11), {}
    yield "torch_view", "network of torch.onnx", "view(-1)", model(
        relu + [node("Sigmoid", "z", "p"), node("Reshape", "p shape", "prob")], {**base, "shape": np.array([-1])},
        {"prob": (FLOAT, ["batch_size"])}), {}
    yield "torch_flatten", "network of torch.onnx", "Flatten", model(
        relu + [node("Sigmoid", "z", "p"), node("Flatten", "p", "prob", axis=1)], base, one), {}
    yield "torch_logits", "network of torch.onnx", "logits", model(relu, base, {"z": (FLOAT, ["batch_size", 1])}), {"kind": "logits"}
    yield "torch_batch1", "network of torch.onnx", "batch fixed at 1, reshaped by constants", model(
        SCALING + [node("Reshape", "x shape", "y"), gemm("y", "w1", "b1", "h"), node("Relu", "h", "a"), gemm("a", "w2", "b2", "z")] + end,
        {**base, "shape": np.array([1, F])}, {"prob": (FLOAT, [1, 1])}, rows=1), {}
    yield "torch_dynamic_reshape", "network of torch.onnx", "Shape, Gather, Concat, Reshape", model(
        SCALING + [node("Shape", "x", "s"), node("Gather", "s zero", "n", axis=0), node("Unsqueeze", "n axes", "m"),
                   node("Concat", "m rest", "t", axis=0), node("Reshape", "x t", "y"), gemm("y", "w1", "b1", "h"),
                   node("Relu", "h", "a"), gemm("a", "w2", "b2", "z")] + end,
        {**base, "zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}, one), {}
    yield "torch_double", "network of torch.onnx", "float64 throughout", model(
        [node("MatMul", "input w", "h"), node("Add", "h b", "z"), node("Sigmoid", "z", "prob")],
        {"w": weights(F, 1, 0.02).astype(np.float64), "b": np.array([-0.3])}, {"prob": (TensorProto.DOUBLE, ["n", 1])},
        inputs={"input": (TensorProto.DOUBLE, ["n", F])}), {}
    yield "torch_matmul", "network of torch.onnx", "MatMul and Add", model(
        SCALING + [node("MatMul", "x wt", "m"), node("Add", "m b1", "h"), node("Relu", "h", "a"), gemm("a", "w2", "b2", "z")] + end,
        {**base, "wt": np.ascontiguousarray(base["w1"].T)}, one), {}
    yield "torch_embedding", "network of torch.onnx", "a column as an index (Gather)", model(
        [node("Gather", "input column", "c", axis=1), node("Cast", "c", "i", to=INT), node("Clip", "i low high", "j"),
         node("Gather", "table j", "e", axis=0), node("Concat", "input e", "all", axis=1), gemm("all", "w1", "b1", "h"),
         node("Relu", "h", "a"), gemm("a", "w2", "b2", "z")] + end,
        {**base, "column": np.array(1), "low": np.array(0), "high": np.array(1), "table": weights(2, 3),
         "w1": weights(8, F + 3, 0.05)}, one), {}
    error = [node("Sub", "out x", "d"), node("Pow", "d two", "q"), node("ReduceMean", "q", "score", axes=[1], keepdims=0)]
    yield "autoencoder", "autoencoder", "reconstruction error", model(
        SCALING + [gemm("x", "w1", "b1", "h"), node("Relu", "h", "a"), gemm("a", "w3", "b3", "out")] + error,
        {**base, "w3": weights(F, 8, 2), "b3": weights(1, F)[0], "two": np.float32(2)}, {"score": (FLOAT, ["batch_size"])}), {"kind": "score"}
    yield "autoencoder18", "autoencoder", "opset 18, axes as an input", model(
        SCALING + [gemm("x", "w1", "b1", "h"), node("Relu", "h", "a"), gemm("a", "w3", "b3", "out"), node("Sub", "out x", "d"),
                   node("Mul", "d d", "q"), node("ReduceMean", "q axes", "score", keepdims=1)],
        {**base, "w3": weights(F, 8, 2), "b3": weights(1, F)[0], "axes": np.array([1])}, {"score": (FLOAT, ["batch_size", 1])},
        opset=18), {"kind": "score"}
    half = {k: v.astype(np.float16) for k, v in base.items()}
    yield "torch_half", "network of torch.onnx", "float16 weights between casts", model(
        SCALING + [node("Cast", "x", "xh", to=TensorProto.FLOAT16), gemm("xh", "h1", "hb1", "h"), node("Relu", "h", "a"),
                   gemm("a", "h2", "hb2", "zh"), node("Cast", "zh", "z", to=FLOAT)] + end,
        {**STANDARD, "h1": half["w1"], "hb1": half["b1"], "h2": half["w2"], "hb2": half["b2"]}, one), {"loose": True}


def tree_lists(prefix, modes=("BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"), trees=2):
    lists = dict(nodes_treeids=[], nodes_nodeids=[], nodes_featureids=[], nodes_modes=[], nodes_truenodeids=[], nodes_falsenodeids=[])
    weights_of = {f"{prefix}_treeids": [], f"{prefix}_nodeids": [], f"{prefix}_ids": []}
    values, leaf_values = [], []
    for tree in range(trees):
        lists["nodes_treeids"] += [tree] * 5
        lists["nodes_nodeids"] += [0, 1, 2, 3, 4]
        lists["nodes_featureids"] += [tree * 4, tree * 2 + 3, 0, 0, 0]
        lists["nodes_modes"] += modes
        lists["nodes_truenodeids"] += [1, 3, 0, 0, 0]
        lists["nodes_falsenodeids"] += [2, 4, 0, 0, 0]
        values += [60.0 - 3 * tree, 3.0, 0.0, 0.0, 0.0]
        for leaf, value in zip((2, 3, 4), (0.11, 0.23, 0.05)):
            weights_of[f"{prefix}_treeids"].append(tree)
            weights_of[f"{prefix}_nodeids"].append(leaf)
            weights_of[f"{prefix}_ids"].append(0)
            leaf_values.append(value * (tree + 1))
    return lists, weights_of, values, leaf_values


def trees():
    lists, weighs, values, leaves = tree_lists("target")
    regressor = lambda **more: [node("TreeEnsembleRegressor", "input", "score", n_targets=1, nodes_values=values,
                                     target_weights=leaves, **lists, **weighs, **more)]
    out = {"score": (FLOAT, ["n", 1])}
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        yield f"op_regressor_{aggregate.lower()}", "TreeEnsembleRegressor", aggregate, model(
            regressor(aggregate_function=aggregate, base_values=[0.07]), {}, out), {"kind": "score"}
    for post in ("LOGISTIC", "PROBIT"):
        yield f"op_regressor_{post.lower()}", "TreeEnsembleRegressor", post, model(
            regressor(post_transform=post), {}, out), {"kind": "score"}
    yield "op_regressor_nan", "TreeEnsembleRegressor", "NaN inputs, missing value tracks", model(
        regressor(nodes_missing_value_tracks_true=[1, 0, 0, 0, 0] * 2), {}, out), {"kind": "score", "nan": True}
    for mode in ("BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"):
        other, weighs2, values2, leaves2 = tree_lists("target", (mode, mode, "LEAF", "LEAF", "LEAF"))
        yield f"op_regressor_{mode.lower()}", "TreeEnsembleRegressor", mode, model(
            [node("TreeEnsembleRegressor", "input", "score", n_targets=1, nodes_values=values2, target_weights=leaves2,
                  **other, **weighs2)], {}, out), {"kind": "score"}

    lists, weighs, values, leaves = tree_lists("class")
    outs = {"label": (INT, ["n"]), "probabilities": (FLOAT, ["n", 2])}
    classifier = lambda **more: [node("TreeEnsembleClassifier", "input", "label probabilities", classlabels_int64s=[0, 1],
                                      **lists, **{**weighs, **{k: v for k, v in more.items() if k.startswith("class_")}},
                                      **{k: v for k, v in more.items() if not k.startswith("class_")})]
    for post in ("NONE", "LOGISTIC", "SOFTMAX"):
        yield f"op_classifier_{post.lower()}", "TreeEnsembleClassifier", post, model(
            classifier(nodes_values=values, class_weights=leaves, post_transform=post), {}, outs), {"kind": "score"}
    per_class = [i % 2 for i in range(6)]
    for post in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        yield f"op_classifier_two_{post.lower()}", "TreeEnsembleClassifier", f"{post}, both classes", model(
            classifier(nodes_values=values, class_weights=leaves, class_ids=per_class, post_transform=post,
                       base_values=[0.1, 0.2]), {}, outs), {"kind": "score"}
    doubles = dict(
        nodes_values_as_tensor=numpy_helper.from_array(np.array(values), "v"),
        class_weights_as_tensor=numpy_helper.from_array(np.array(leaves), "w"),
        base_values_as_tensor=numpy_helper.from_array(np.array([-0.4]), "b"),
    )
    yield "op_classifier_doubles", "TreeEnsembleClassifier", "*_as_tensor, float64", model(
        [node("Cast", "input", "wide", to=TensorProto.DOUBLE)] + [node(
            "TreeEnsembleClassifier", "wide", "label probabilities", classlabels_int64s=[0, 1], post_transform="LOGISTIC",
            **lists, **{k: v for k, v in weighs.items()}, **doubles)], {}, outs), {}

    tensor = lambda value, name="t": numpy_helper.from_array(value, name)
    def five(kind, modes, members=None, **more):
        about = dict(
            nodes_splits=tensor(np.array([60.0, 3.0, 2.0], kind)), nodes_featureids=[0, 3, 3], nodes_modes=tensor(np.array(modes, np.uint8)),
            nodes_truenodeids=[1, 0, 2], nodes_trueleafs=[0, 1, 1], nodes_falsenodeids=[2, 1, 3], nodes_falseleafs=[0, 1, 1],
            leaf_weights=tensor(np.array([0.1, 0.35, 0.6, 0.85], kind)), leaf_targetids=[0, 0, 0, 0], tree_roots=[0], n_targets=1)
        if members is not None:
            about["membership_values"] = tensor(np.array(members, kind))
        return [node("TreeEnsemble", "input", "score", **{**about, **more})]
    yield "op_ensemble", "TreeEnsemble (ai.onnx.ml 5)", "", model(five(np.float32, [0, 1, 3]), {}, out, opset=21, ml=5), {"kind": "score"}
    yield "op_ensemble_logistic", "TreeEnsemble (ai.onnx.ml 5)", "LOGISTIC, average", model(
        five(np.float32, [0, 1, 3], post_transform=2, aggregate_function=0), {}, out, opset=21, ml=5), {"kind": "score"}
    yield "op_ensemble_member", "TreeEnsemble (ai.onnx.ml 5)", "set membership", model(
        five(np.float32, [0, 6, 6], [1.0, 3.0, np.nan, 2.0, 4.0, 7.0]), {}, out, opset=21, ml=5), {"kind": "score"}
    # Nodes 3 and 4 as converters write a tree of one leaf; node 5 belongs to no tree and
    # leads nowhere.
    stumps = dict(
        nodes_splits=tensor(np.array([60.0, 3.0, 2.0, 0.0, 0.0, np.nan], np.float32)), nodes_featureids=[0, 3, 3, 0, 0, 0],
        nodes_modes=tensor(np.array([0, 1, 3, 0, 0, 0], np.uint8)),
        nodes_truenodeids=[1, 0, 2, 1, 4, 99], nodes_trueleafs=[0, 1, 1, 1, 1, 1],
        nodes_falsenodeids=[2, 1, 3, 1, 4, 0], nodes_falseleafs=[0, 1, 1, 1, 1, 1],
        leaf_weights=tensor(np.array([0.1, 0.35, 0.6, 0.85, -0.2], np.float32)), leaf_targetids=[0] * 5, tree_roots=[3, 0, 4])
    yield "op_ensemble_stumps", "TreeEnsemble (ai.onnx.ml 5)", "trees of one leaf", model(
        five(np.float32, [], **stumps), {}, out, opset=21, ml=5), {"kind": "score"}
    yield "op_ensemble_double", "TreeEnsemble (ai.onnx.ml 5)", "float64", model(
        five(np.float64, [0, 1, 3]), {}, {"score": (TensorProto.DOUBLE, ["n", 1])}, opset=21, ml=5,
        inputs={"input": (TensorProto.DOUBLE, ["n", F])}), {"kind": "score"}


def preprocessing():
    end = [node("LinearClassifier", "x", "label probabilities", classlabels_ints=[0, 1], post_transform="LOGISTIC",
                coefficients=(np.linspace(-0.02, 0.02, F)).tolist(), intercepts=[-0.3])]
    outs = {"label": (INT, ["n"]), "probabilities": (FLOAT, ["n", 2])}
    yield "op_binarizer", "Binarizer + LinearClassifier", "", model([node("Binarizer", "input", "x", threshold=3.0)] + end, {}, outs), {}
    yield "op_imputer", "Imputer + LinearClassifier", "NaN inputs", model(
        [node("Imputer", "input", "x", replaced_value_float=float("nan"), imputed_value_floats=np.linspace(0, 9, F).tolist())] + end,
        {}, outs), {"nan": True}
    yield "op_imputer_value", "Imputer + LinearClassifier", "one value for all, replaces 0", model(
        [node("Imputer", "input", "x", replaced_value_float=0.0, imputed_value_floats=[7.0])] + end, {}, outs), {}
    split = [node("Split", "input", "a b c", axis=1)]
    yield "op_vectorizer", "FeatureVectorizer + LinearClassifier", "", model(
        split + [node("FeatureVectorizer", "c a b", "x", inputdimensions=[5, 5, 5])] + end, {}, outs), {}
    yield "op_extractor", "ArrayFeatureExtractor + LinearClassifier", "", model(
        [node("ArrayFeatureExtractor", "input order", "x")] + end, {"order": np.arange(F)[::-1].copy()}, outs), {}
    one = [node("ArrayFeatureExtractor", "input column", "v"), node("Cast", "v", "i", to=INT)]
    rest = [node("Concat", "e e e e e e e e e e e e e e e", "x", axis=1)]
    yield "op_encoder_int_float", "LabelEncoder + LinearClassifier", "int64 to float", model(
        one + [node("LabelEncoder", "i", "e", keys_int64s=[0, 1, 2, 3], values_floats=[0.5, -1.5, 3.0, 8.0], default_float=2.5)] + rest + end,
        {"column": np.array([3])}, outs), {}
    yield "op_encoder_float", "LabelEncoder + LinearClassifier", "float to float", model(
        [node("ArrayFeatureExtractor", "input column", "v"),
         node("LabelEncoder", "v", "e", keys_floats=[1.0, 2.0, 3.0], values_floats=[4.0, 1.0, -9.0], default_float=0.25)] + rest + end,
        {"column": np.array([3])}, outs), {}
    yield "op_encoder_words", "LabelEncoder + LinearClassifier", "int64 to string to float", model(
        one + [node("LabelEncoder", "i", "s", keys_int64s=[1, 2, 3], values_strings=["a", "b", "c"], default_string="z"),
               node("LabelEncoder", "s", "e", keys_strings=["a", "b"], values_floats=[2.0, 5.0], default_float=-3.0)] + rest + end,
        {"column": np.array([3])}, outs), {}
    yield "op_encoder_tensor", "LabelEncoder + LinearClassifier", "ai.onnx.ml 4, keys and values as tensors", model(
        one + [node("LabelEncoder", "i", "e", keys_tensor=numpy_helper.from_array(np.array([1, 2]), "k"),
                    values_tensor=numpy_helper.from_array(np.array([6.0, 2.0], np.float32), "v"),
                    default_tensor=numpy_helper.from_array(np.array([1.5], np.float32), "d"))] + rest + end,
        {"column": np.array([3])}, outs, opset=20, ml=4), {}
    for post in ("NONE", "LOGISTIC", "SOFTMAX", "PROBIT"):
        both = [node("LinearClassifier", "input", "label probabilities", classlabels_ints=[0, 1], post_transform=post,
                     coefficients=np.concatenate([np.linspace(0.01, 0.0002, F), np.linspace(0.0003, 0.001, F)]).tolist(),
                     intercepts=[0.01, 0.02])]
        yield f"op_linear_{post.lower()}", "LinearClassifier", post, model(both, {}, outs), {"kind": "score"}
    yield "op_linear_single", "LinearClassifier", "one score for two classes", model(
        [node("LinearClassifier", "input", "label probabilities", classlabels_strings=["no", "yes"], post_transform="LOGISTIC",
              coefficients=np.linspace(0.002, -0.002, F).tolist(), intercepts=[0.1])],
        {}, {"label": (TensorProto.STRING, ["n"]), "probabilities": (FLOAT, ["n", 2])}), {}
    yield "op_linear_three", "LinearClassifier", "three classes", model(
        [node("LinearClassifier", "input", "label probabilities", classlabels_ints=[0, 1, 2], post_transform="SOFTMAX",
              coefficients=weights(3, F, 0.05).reshape(-1).tolist(), intercepts=[0.1, 0.0, -0.1])],
        {}, {"label": (INT, ["n"]), "probabilities": (FLOAT, ["n", 3])}), {}
    integers = {"input": (INT, ["n", F])}
    yield "op_int_input", "LinearClassifier", "int64 input", model(
        [node("Cast", "input", "x", to=FLOAT)] + end, {}, outs, inputs=integers), {}
    groups = {"amount": (FLOAT, ["n", 1]), "flags": (INT, ["n", 2]), "rest": (FLOAT, ["n", F - 3])}
    yield "op_groups", "LinearClassifier", "inputs of several columns each", model(
        [node("Cast", "flags", "f", to=FLOAT), node("Concat", "amount f rest", "x", axis=1)] + end, {}, outs, inputs=groups), {"groups": [1, 2, F - 3]}


def models(keep, attempt, inputs, missing):
    for source in (networks(), trees(), preprocessing()):
        for name, family, options, made, about in source:
            about = dict(about)
            if about.get("nan"):
                about["inputs"] = missing
            exporter = "by hand" if name.startswith("op_") else "by hand, as torch.onnx"
            attempt(name, lambda: keep(made, name, exporter, family, options=options, **about))
