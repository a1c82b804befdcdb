"""A model that answers ordinary payments and fails on large ones, as bytes of an ONNX file.

p = sqrt(200 − amount) / 40: a probability up to an amount of 200, no number above. No golden row and no check at load can see it coming,
which is what an error at run time is. The few fields are written by hand: a whole library for one file would be more to install.
"""

import struct

_FLOAT = 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _block(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    return _block(1, b"".join(_block(1, name) for name in inputs) + _block(2, output) + _block(4, operator))


def _constant(name: str, shape: list[int], values: list[float]) -> bytes:
    dims = b"".join(_number(1, dim) for dim in shape)
    return _block(5, dims + _number(2, _FLOAT) + _block(8, name) + _block(9, struct.pack(f"<{len(values)}f", *values)))


def _value(field: int, name: str, columns: int) -> bytes:
    shape = _block(1, _block(2, "N")) + _block(1, _number(1, columns))
    kind = _block(1, _number(1, _FLOAT) + _block(2, shape))
    return _block(field, _block(1, name) + _block(2, kind))


def fails_above_200(features: int = 15) -> bytes:
    """The file's bytes, for the default features: the amount is the first."""
    pick = _constant("pick", [features, 1], [-1.0] + [0.0] * (features - 1))
    constants = pick + _constant("ceiling", [1], [200.0]) + _constant("scale", [1], [1 / 40])
    nodes = _node("MatMul", ["features", "pick"], "negative") + _node("Add", ["negative", "ceiling"], "left")
    nodes += _node("Sqrt", ["left"], "root") + _node("Mul", ["root", "scale"], "probability")
    graph = nodes + _block(2, "fails") + constants + _value(11, "features", features) + _value(12, "probability", 1)
    return _number(1, 8) + _block(7, graph) + _block(8, _block(1, "") + _number(2, 13))
