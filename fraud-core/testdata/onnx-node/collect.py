"""ONNX's own node tests of ai.onnx.ml, as its Python package ships them (onnx 1.17, Apache-2.0), in JSON.

    pip install onnx==1.17.0 && python collect.py
"""

import json
import pathlib

import onnx
from onnx import numpy_helper

HERE = pathlib.Path(__file__).parent
KINDS = {"float32": "f32", "float64": "f64", "int64": "i64", "int16": "i16", "object": "text"}


def tensor(path):
    read = onnx.TensorProto()
    read.ParseFromString(path.read_bytes())
    value = numpy_helper.to_array(read)
    flat = value.reshape(-1).tolist()
    texts = [v.decode() if isinstance(v, bytes) else v for v in flat]
    values = [None if v != v else v for v in texts]
    return {"kind": KINDS.get(str(value.dtype), "text"), "shape": list(value.shape), "values": values}


source = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
for folder in sorted(source.glob("test_ai_onnx_ml_*")):
    name = folder.name.removeprefix("test_ai_onnx_ml_")
    (HERE / f"{name}.onnx").write_bytes((folder / "model.onnx").read_bytes())
    data = folder / "test_data_set_0"
    about = {kind: [tensor(p) for p in sorted(data.glob(f"{kind}_*.pb"))] for kind in ("input", "output")}
    (HERE / f"{name}.json").write_text(json.dumps(about) + "\n")
