"""Small model files that lie or do harm; `tests/hostile_models.rs` wants each refused quickly. Needs `onnx`."""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
ML = "ai.onnx.ml"


def write(name, nodes, initializers=(), outputs=None, inputs=None, opset=17):
    graph = helper.make_graph(
        nodes, "g",
        inputs or [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 15])],
        outputs or [helper.make_tensor_value_info("prob", TensorProto.FLOAT, None)],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(ML, 3)], ir_version=8)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def claim(name, dims, kind=TensorProto.FLOAT, data=b"\0" * 8):
    tensor = TensorProto(name=name, data_type=kind, raw_data=data)
    tensor.dims.extend(dims)
    return tensor


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


mul = [helper.make_node("Mul", ["input", "w"], ["prob"])]
write("dims_overflow", mul, [claim("w", [2**33, 2**33, 2**33])])
write("dims_gigabytes", mul, [claim("w", [2**30, 4])])
write("dims_negative", mul, [claim("w", [-1, 4])])
write("dims_empty_data", mul, [claim("w", [1000, 1000, 200], data=b"")])
write("element_type", mul, [claim("w", [2], kind=99)])
write("element_text", mul, [TensorProto(name="w", data_type=8, dims=[1], string_data=[b"x"])])
external = TensorProto(name="w", data_type=1, dims=[15], data_location=TensorProto.EXTERNAL)
entry = external.external_data.add()
entry.key, entry.value = "location", "weights.bin"
write("external_data", mul, [external])
write("cycle", [helper.make_node("Add", ["input", "b"], ["a"]), helper.make_node("Add", ["a", "a"], ["b"]),
                helper.make_node("Identity", ["b"], ["prob"])])
write("dangling", [helper.make_node("Add", ["input", "nowhere"], ["prob"])])
write("no_output_made", [helper.make_node("Identity", ["input"], ["other"])])
write("twice", [helper.make_node("Identity", ["input"], ["prob"]), helper.make_node("Abs", ["input"], ["prob"])])
write("text_input", [helper.make_node("Identity", ["input"], ["prob"])],
      inputs=[helper.make_tensor_value_info("input", TensorProto.STRING, [None, 15])])
write("wide_input", [helper.make_node("Identity", ["input"], ["prob"])],
      inputs=[helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 2**62])])
write("constant_of_shape", [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["input", "c"], ["prob"])],
      [constant("s", [2**20, 2**20])])
write("expand_computed", [helper.make_node("Mul", ["s", "s"], ["t"]), helper.make_node("Expand", ["input", "t"], ["prob"])],
      [constant("s", [2**20, 2**12])])
write("outer_product", [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("ReduceSum", ["c"], ["d"], keepdims=0),
                        helper.make_node("Mul", ["input", "d"], ["prob"])],
      [constant("a", np.ones((10000, 1), np.float32)), constant("b", np.ones((1, 10000), np.float32))])
write("doubling", [helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=0) for i in range(40)]
      + [helper.make_node("ReduceSum", ["x40"], ["d"], keepdims=0), helper.make_node("Mul", ["input", "d"], ["prob"])],
      [constant("x0", np.ones(4, np.float32))])
write("doubling_rows", [helper.make_node("Identity", ["input"], ["x0"])]
      + [helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=1) for i in range(40)]
      + [helper.make_node("ReduceMax", ["x40"], ["prob"], axes=[1])])
write("range", [helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("ReduceMax", ["r"], ["m"], keepdims=0),
                helper.make_node("Cast", ["m"], ["f"], to=1), helper.make_node("Mul", ["input", "f"], ["prob"])],
      [constant("a", np.int64(0)), constant("b", np.int64(2**40)), constant("c", np.int64(1))])
write("tile", [helper.make_node("Tile", ["input", "r"], ["prob"])], [constant("r", [1, 2**40])])
write("pad", [helper.make_node("Pad", ["input", "p"], ["prob"])], [constant("p", [0, 0, 0, 2**40])])


def trees(name, **changes):
    about = dict(
        nodes_treeids=[0] * 3, nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[1.0, 0.0, 0.0], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], target_treeids=[0, 0],
        target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[0.1, 0.2], n_targets=1)
    about.update(changes)
    write(name, [helper.make_node("TreeEnsembleRegressor", ["input"], ["prob"], domain=ML, **about)])


trees("tree_cycle", nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 2, 0])
trees("tree_self", nodes_truenodeids=[0, 0, 0])
trees("tree_shared", nodes_truenodeids=[2, 0, 0])
trees("tree_no_child", nodes_truenodeids=[7, 0, 0])
trees("tree_negative", nodes_truenodeids=[-1, 0, 0])
trees("tree_feature", nodes_featureids=[2**31, 0, 0])
trees("tree_feature_beyond", nodes_featureids=[15, 0, 0])
trees("tree_mode", nodes_modes=["BRANCH_MAYBE", "LEAF", "LEAF"])
trees("tree_lengths", nodes_values=[1.0])
trees("tree_targets", n_targets=2**40)
trees("tree_targets_many", n_targets=2**31)
trees("tree_target", target_ids=[0, 5])
trees("tree_weight_nan", target_weights=[float("nan"), 0.1])
trees("tree_leaf", target_nodeids=[1, 9])
trees("tree_twice", nodes_nodeids=[0, 1, 1])
write("tree_empty", [helper.make_node("TreeEnsembleRegressor", ["input"], ["prob"], domain=ML, n_targets=1)])
trees("tree_missing_attributes", nodes_modes=None)
write("linear_width", [helper.make_node("LinearRegressor", ["input"], ["prob"], domain=ML, coefficients=[1.0] * 7, intercepts=[0.0])])
write("linear_targets", [helper.make_node("LinearRegressor", ["input"], ["prob"], domain=ML, coefficients=[1.0] * 15, targets=2**31)])
write("scaler_width", [helper.make_node("Scaler", ["input"], ["prob"], domain=ML, offset=[0.0] * 3, scale=[1.0] * 3)])
write("unknown_operator", [helper.make_node("Magic", ["input"], ["prob"], domain="com.example")])
write("mixes_rows", [helper.make_node("ReduceSum", ["input"], ["prob"], keepdims=1)])
nested = helper.make_graph([helper.make_node("Identity", ["input"], ["y"])], "leaf", [], [helper.make_tensor_value_info("y", 1, None)])
for depth in range(30):
    branches = {"then_branch": nested, "else_branch": nested} if depth < 4 else {"then_branch": nested}
    inner = helper.make_node("If", ["c"], ["y"], **branches)
    nested = helper.make_graph([inner], "g", [], [helper.make_tensor_value_info("y", 1, None)])
write("nested", [helper.make_node("If", ["c"], ["prob"], then_branch=nested)], [constant("c", np.array(True))])
