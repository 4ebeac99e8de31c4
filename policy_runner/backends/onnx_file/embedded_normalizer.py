"""Reads mean and standard deviation of the normalizer inside a model, if it begins with one.

A normalizer is Sub, Add, Div and Mul with stored float32 or float64 vectors, applied to an input
before any other operation, except operations that only change its shape. Field numbers of
onnx.proto as in `graph`; TensorProto: data_type 2, float_data 4, double_data 10, raw_data 9.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_runner.backends.onnx_file.graph import (
    SHAPES,
    Node,
    fields,
    read_graph,
    text_field,
    unpacked_floats,
)

Vector = npt.NDArray[np.float64]
_DTYPES = {1: "<f4", 11: "<f8"}  # TensorProto.DataType


def embedded_statistics(path: Path) -> dict[str, tuple[Vector, Vector]]:
    """Return {input: (mean, std)}, flat, float64; inputs without a normalizer are left out."""
    graph = read_graph(path)
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    try:
        stored = _vectors(path)
    except (ValueError, IndexError, UnicodeDecodeError, OSError, struct.error):
        return {}
    found = {}
    for given in graph.inputs:
        # The model computes scale * x + offset.
        name, scale, offset, known = given, np.ones(1), np.zeros(1), False
        seen: set[str] = set()  # a damaged graph may have a circle
        while len(users.get(name, [])) == 1 and name not in seen:
            seen.add(name)
            node = users[name][0]
            if node.operator in SHAPES and node.inputs[0] == name and node.outputs:
                if node.operator == "Cast" and known:
                    break  # a cast to integers would change the numbers
                name = node.outputs[0]
                continue
            others = [one for one in node.inputs if one != name]
            first = node.inputs[0] == name
            if len(others) != 1 or others[0] not in stored or not node.outputs:
                break
            vector = stored[others[0]]
            if node.operator == "Sub" and first:
                offset = offset - vector
            elif node.operator == "Add":
                offset = offset + vector
            elif node.operator == "Div" and first and np.all(vector):
                scale, offset = scale / vector, offset / vector
            elif node.operator == "Mul":
                scale, offset = scale * vector, offset * vector
            else:
                break
            known = True
            name = node.outputs[0]
        if known and np.all(scale) and np.all(np.isfinite(scale)):
            mean, std = np.broadcast_arrays(-offset / scale, 1.0 / np.abs(scale))
            found[given] = (mean.copy(), std.copy())
    return found


def _vectors(path: Path) -> dict[str, Vector]:
    """Tensors of the outer graph whose numbers are stored in the file, flat, by name."""
    found: dict[str, Vector] = {}
    for number, graph in fields(memoryview(path.read_bytes())):
        if number != 7 or not isinstance(graph, memoryview):
            continue
        for inner, part in fields(graph):
            if not isinstance(part, memoryview):
                continue
            if inner == 5:
                _keep(found, text_field(part, 8), part)
            elif inner == 1 and text_field(part, 4) == "Constant":
                for n, attribute in fields(part):
                    if n == 5 and isinstance(attribute, memoryview):
                        for a, tensor in fields(attribute):
                            if a == 5 and isinstance(tensor, memoryview):
                                _keep(found, text_field(part, 2), tensor)
                        floats = unpacked_floats(attribute, 7)  # AttributeProto.floats
                        if floats:
                            found[text_field(part, 2)] = np.array(floats)
    return found


def _keep(found: dict[str, Vector], name: str, tensor: memoryview) -> None:
    dtype, content = "", b""
    for number, value in fields(tensor):
        if number == 2 and isinstance(value, int):
            dtype = _DTYPES.get(value, "")
        elif number in (4, 9, 10) and isinstance(value, memoryview):
            content = bytes(value)
    if dtype and content and len(content) % np.dtype(dtype).itemsize == 0:
        found[name] = np.frombuffer(content, dtype).astype(np.float64)
