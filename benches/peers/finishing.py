"""Asks ONNX Runtime what it makes of base values, class ids and post transforms, case by case.

Usage: finishing.py OUT.txt. Each ensemble has two stumps on one feature; each line of the answer is
    kind targets post base ids/weights … | outputs for x = -1 | for x = 0.5 | for x = 2
with `base` a comma-separated list or `-`, and one `id:weight[,id:weight]` per leaf. The fixture
fraud-core/src/model/trees/tests/finishing.txt is made by it.
"""

import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

POSTS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
ROWS = np.array([[-1.0], [0.5], [2.0]], dtype=np.float32)
# Stumps at 0 and 1: leaf weights in the order (tree 0 yes, tree 0 no, tree 1 yes, tree 1 no).
POSITIVE = [0.1, 0.35, 0.2, 0.55]
MIXED = [-0.4, 0.35, 0.2, -0.9]


def leaves(ids, weights):
    """One list of (id, weight) per leaf; `ids` gives each leaf's targets."""
    return [[(i, w / (1 + k)) for k, i in enumerate(of)] for of, w in zip(ids, weights)]


def model(kind, targets, post, base, leaf):
    prefix = "class" if kind == "C" else "target"
    flat = [(t, n, i, w) for (t, n), of in zip([(0, 1), (0, 2), (1, 1), (1, 2)], leaf) for i, w in of]
    attributes = {
        "nodes_treeids": [0, 0, 0, 1, 1, 1], "nodes_nodeids": [0, 1, 2] * 2, "nodes_featureids": [0] * 6,
        "nodes_values": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
        "nodes_truenodeids": [1, 0, 0] * 2, "nodes_falsenodeids": [2, 0, 0] * 2, "post_transform": post,
        f"{prefix}_treeids": [f[0] for f in flat], f"{prefix}_nodeids": [f[1] for f in flat],
        f"{prefix}_ids": [f[2] for f in flat], f"{prefix}_weights": [f[3] for f in flat],
    }
    if base:
        attributes["base_values"] = base
    if kind == "C":
        attributes["classlabels_int64s"] = list(range(targets))
        node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **attributes)
    else:
        attributes["n_targets"] = targets
        node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, targets])],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def cases():
    one = [[[0]] * 4]
    two = [[[0]] * 4, [[1]] * 4, [[0, 1]] * 4, [[0], [0, 1], [0], [0]], [[0], [0], [0], [1]]]
    three = [[[0], [1], [2], [0]], [[0, 1, 2]] * 4]
    for kind in "CR":
        for targets, patterns in ((1, one), (2, two), (3, three)):
            bases = {(), (0.25,), (0.25, -0.125)} | ({(0.25, -0.125, 0.5)} if targets == 3 else set())
            for ids in patterns:
                for weights in (POSITIVE, MIXED):
                    for post in POSTS:
                        for base in sorted(bases):
                            if targets == 1 and len(base) > 1:
                                continue  # ONNX Runtime writes past the end of its output
                            yield kind, targets, post, list(base), leaves(ids, weights)


def main(out):
    with open(out, "w") as file:
        for kind, targets, post, base, leaf in cases():
            try:
                session = onnxruntime.InferenceSession(
                    model(kind, targets, post, base, leaf).SerializeToString(), providers=["CPUExecutionProvider"]
                )
                # One row a call: in a batch some cases leave a place unwritten.
                rows = [session.run(["y"], {"x": ROWS[i : i + 1]})[0].ravel() for i in range(3)]
            except Exception as error:
                print("refused:", kind, targets, post, base, leaf, str(error)[:90], file=sys.stderr)
                continue
            leaf = " ".join(",".join(f"{i}:{w!r}" for i, w in of) for of in leaf)
            rows = " | ".join(" ".join(f"{v:.9g}" for v in row) for row in rows)
            print(kind, targets, post, ",".join(map(str, base)) or "-", leaf, "|", rows, file=file)


if __name__ == "__main__":
    main(sys.argv[1])
