"""Shapes of an ONNX model's inputs, read from the file, the batch being 1.

Field numbers of onnx.proto as in `onnx_graph`; ValueInfoProto.type 2, TypeProto.tensor_type 1,
its shape 2, TensorShapeProto.dim 1, Dimension.dim_value 1.
"""

from __future__ import annotations

from pathlib import Path

from policy_runner.backends.onnx_file.graph import _text, fields

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def input_shapes(path: Path) -> Shapes:
    """(name, elements per axis) of what the model is fed; a first axis that is open is 1.

    Any other open axis is 0 here: a backend refuses it.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    stored: set[str] = set()
    for number, graph in fields(memoryview(path.read_bytes())):
        if number != 7 or not isinstance(graph, memoryview):
            continue
        for inner, part in fields(graph):
            if inner == 5 and isinstance(part, memoryview):
                stored.add(_text(part, 8))
            elif inner == 11 and isinstance(part, memoryview):
                shapes[_text(part, 1)] = _shape(part)
    return tuple((name, shape) for name, shape in shapes.items() if name not in stored)


def _shape(value_info: memoryview) -> tuple[int, ...]:
    found: list[int] = []
    for dims in _all(_all(_all([value_info], 2), 1), 2):
        for dim in _all([dims], 1):
            sizes = [size for n, size in fields(dim) if n == 1 and isinstance(size, int)]
            found.append(sizes[0] if sizes else 0)
    if found and not found[0]:
        found[0] = 1
    return tuple(found)


def _all(messages: list[memoryview], wanted: int) -> list[memoryview]:
    return [
        value
        for message in messages
        for number, value in fields(message)
        if number == wanted and isinstance(value, memoryview)
    ]
