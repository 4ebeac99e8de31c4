"""A model of one addition, to see whether a provider really computes: y = x + x, float32 [1, 4].

Written byte by byte (onnx.proto's field numbers), since a robot needs no library to export.
"""

from __future__ import annotations

from pathlib import Path

_FLOAT = 1  # TensorProto.DataType


def write_probe(path: Path) -> Path:
    """Write the model; returns its path."""
    node = _bytes(1, b"x") + _bytes(1, b"x") + _bytes(2, b"y") + _bytes(4, b"Add")
    graph = (
        _bytes(1, node)
        + _bytes(2, b"probe")
        + _bytes(11, _tensor(b"x"))
        + _bytes(12, _tensor(b"y"))
    )
    opset = _bytes(1, b"") + _number(2, 13)
    path.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, opset))
    return path


def _tensor(name: bytes) -> bytes:
    dims = b"".join(_bytes(1, _number(1, size)) for size in (1, 4))
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, dims)))


def _bytes(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | 2, len(content))) + content  # all shorter than 128 bytes


def _number(field: int, value: int) -> bytes:
    return bytes((field << 3, value))
