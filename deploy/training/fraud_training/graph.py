"""Writes an [`Additive`][fraud_training.additive.Additive] as an ONNX graph of one operator.

Input `features` (float, N × F); outputs `label` (int64, N) and `probabilities` (float, N × 2), as the ordinary
exporters call them. A sum of trees becomes one TreeEnsembleClassifier, a linear one a LinearClassifier.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from fraud_training.additive import Additive, Tree

INPUT = "features"
OUTPUT = "probabilities"
# The oldest versions that have what is used: any reader knows them.
OPSETS = (("", 15), ("ai.onnx.ml", 1))
IR_VERSION = 8


def build(model: Additive, width: int) -> onnx.ModelProto:
    """The graph; the same model gives the same bytes."""
    node = _linear(model) if model.weights is not None else _trees(model)
    graph = helper.make_graph(
        [node],
        "fraud",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 2]),
        ],
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS],
        ir_version=IR_VERSION,
        producer_name="fraud-training",
    )
    onnx.checker.check_model(proto)
    return proto


def _node(operator: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(operator, [INPUT], ["label", OUTPUT], name="model", domain="ai.onnx.ml", **attributes)


def _linear(model: Additive) -> onnx.NodeProto:
    if model.trees or model.link != "logistic":
        raise ValueError("a linear model is exported with its logistic link and without trees")
    weights = model.weights.tolist()
    return _node(
        "LinearClassifier",
        classlabels_ints=[0, 1],
        coefficients=[-weight for weight in weights] + weights,
        intercepts=[-model.intercept, model.intercept],
        post_transform="LOGISTIC",
    )


def _trees(model: Additive) -> onnx.NodeProto:
    trees = _with_intercept(model)
    nodes = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    leaves = {name: [] for name in ("treeids", "nodeids", "weights")}
    for number, tree in enumerate(trees):
        leaf = tree.feature < 0
        nodes["treeids"] += [number] * len(leaf)
        nodes["nodeids"] += range(len(leaf))
        nodes["featureids"] += np.where(leaf, 0, tree.feature).tolist()
        nodes["modes"] += np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
        nodes["values"] += np.where(leaf, np.float32(0), tree.threshold).tolist()
        nodes["truenodeids"] += tree.left.tolist()
        nodes["falsenodeids"] += tree.right.tolist()
        leaves["treeids"] += [number] * int(leaf.sum())
        leaves["nodeids"] += np.flatnonzero(leaf).tolist()
        leaves["weights"] += tree.value[leaf].tolist()
    return _node(
        "TreeEnsembleClassifier",
        classlabels_int64s=[0, 1],
        # One weight per leaf, for class 1 of two, as exporters of binary models write it.
        class_ids=[0] * len(leaves["weights"]),
        post_transform="LOGISTIC" if model.link == "logistic" else "NONE",
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"class_{name}": values for name, values in leaves.items()},
    )


def _with_intercept(model: Additive) -> tuple[Tree, ...]:
    """The intercept spread over the trees' leaves: readers disagree on what `base_values` of a binary model mean."""
    share = model.intercept / len(model.trees)
    return tuple(
        Tree(t.feature, t.threshold, t.left, t.right, np.where(t.feature < 0, t.value + share, 0.0))
        for t in model.trees
    )
