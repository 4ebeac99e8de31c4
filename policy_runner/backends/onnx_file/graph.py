"""Reads an ONNX file's graph without a library: its nodes and their inputs.

ONNX files are protobuf messages: fields of (number, wire type), each a varint, 8 bytes, 4 bytes
or a length with bytes. The few field numbers used here are from onnx.proto (ModelProto.graph 7;
GraphProto.node 1, initializer 5, input 11, output 12; NodeProto.input 1, output 2, name 3,
op_type 4, attribute 5; AttributeProto.name 1, i 3, t 5, g 6, floats 7, graphs 11;
TensorProto.dims 1, data_type 2, int32_data 5, name 8, raw_data 9; ModelProto.producer_name 2,
opset_import 8). So the robot does not need the package `onnx`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

RECURRENT = ("LSTM", "GRU", "RNN")
_INITIAL_STATE = (5, 6)  # inputs initial_h and initial_c of the recurrent operators
MOST_AXES = 64
# Operations that keep the numbers and their order.
SHAPES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")
_COMPUTED = ("Add", "Sub", "Mul", "Div", "Sqrt", "Reciprocal", "Pow", "Max", "Min", "Clip", "Neg")
_ARITHMETIC = ("Sub", "Add", "Div", "Mul", "Clip", "BatchNormalization")


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[str, int] = field(default_factory=dict, hash=False)  # integer attributes


@dataclass
class Graph:
    """A model's nodes in the file's order (with those of inner graphs), stored tensors, inputs."""

    nodes: list[Node] = field(default_factory=list)
    stored: dict[str, int] = field(default_factory=dict)  # name -> number of elements
    inputs: list[str] = field(default_factory=list)  # inputs of the model, no stored tensors
    outputs: list[str] = field(default_factory=list)
    true: set[str] = field(default_factory=set)  # stored tensors that are one boolean, true
    producer: str = ""  # name of the exporter
    opset: int = 0  # version of the standard operators; 0 if the file does not say it


def read_graph(path: Path) -> Graph:
    """Read the graph of an ONNX file; it is empty if the file cannot be parsed."""
    graph = Graph()
    try:
        for number, value in fields(memoryview(path.read_bytes())):
            if not isinstance(value, memoryview):
                continue
            if number == 7:
                _read_graph(value, graph, outer=True)
            elif number == 2:
                graph.producer = bytes(value).decode()
            elif number == 8 and text_field(value, 1) in ("", "ai.onnx"):
                versions = [v for n, v in fields(value) if n == 2 and isinstance(v, int)]
                graph.opset = versions[-1] if versions else 0
    except (ValueError, IndexError, RecursionError, struct.error):
        return Graph()
    graph.inputs = [name for name in graph.inputs if name not in graph.stored]
    return graph


def stateless_recurrence(graph: Graph) -> list[str]:
    """Find recurrent nodes whose state does not depend on any input, as `operator 'name'`.

    Such a node resets its state in every run. That is right for a sequence inside one inference,
    and wrong for a policy that was exported without its state.
    """
    made_by = {output: node for node in graph.nodes for output in node.outputs if output}
    fed = set(graph.inputs)

    def reached(name: str) -> bool:
        seen, waiting = {""}, [name]
        while waiting:
            name = waiting.pop()
            if name in fed:
                return True
            node = made_by.get(name)
            # The shape of an input does not carry the input's numbers.
            if node is None or name in seen or node.operator in ("Shape", "Size"):
                continue
            seen.add(name)
            waiting += node.inputs
        return False

    found = []
    for node in graph.nodes:
        if node.operator in RECURRENT:
            states = [node.inputs[k] for k in _INITIAL_STATE if k < len(node.inputs)]
            if not any(reached(name) for name in states if name):
                found.append(f"{node.operator} '{node.name or ', '.join(node.outputs[:1])}'")
    return found


def stored_sizes(graph: Graph) -> dict[str, int]:
    """Return the elements of every tensor that no input changes, by name.

    An exporter may compute a stored vector in the graph, such as sqrt(var + eps).
    """
    sizes = dict(graph.stored)
    for node in graph.nodes:
        given = [sizes.get(name, 0) for name in node.inputs if name]
        if given and all(given) and node.operator in (*_COMPUTED, *SHAPES):
            sizes.update(dict.fromkeys(node.outputs, max(given)))
    return sizes


def first_arithmetic(graph: Graph) -> dict[str, list[str]]:
    """Find each input's first operations with stored numbers; they are usually a normalizer.

    {'obs': ['Sub', 'Div']}: the model first applies Sub and Div to obs, each with a stored vector.
    Operations that only change the shape may be before them. A single operation with one number is
    no normalizer; a shift and a factor of one number each are. Other inputs are left out.
    """
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    sizes = stored_sizes(graph)
    found = {}
    for given in graph.inputs:
        name, operators, vector = given, [], False
        seen: set[str] = set()
        while len(users.get(name, [])) == 1 and name not in seen:
            seen.add(name)
            node = users[name][0]
            if not node.outputs:
                break
            if node.operator not in SHAPES or node.inputs[0] != name:
                most = max([sizes.get(one, 0) for one in node.inputs if one != name], default=0)
                if node.operator not in _ARITHMETIC or not (most or node.operator == "Clip"):
                    break
                vector |= most > 1 and node.operator != "Clip"
                operators.append(node.operator)
            name = node.outputs[0]
        both = {"Sub", "Add"} & set(operators) and {"Div", "Mul"} & set(operators)
        if vector or both:
            found[given] = operators
    return found


def _read_graph(content: memoryview, graph: Graph, outer: bool) -> None:
    for number, value in fields(content):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            _read_node(value, graph)
        elif number == 5:
            dims = [v for n, v in fields(value) if n == 1 and isinstance(v, int)]
            packed = [v for n, v in fields(value) if n == 1 and isinstance(v, memoryview)]
            for run in packed:
                dims += list(packed_varints(run))
            graph.stored[text_field(value, 8)] = _size(dims)
            if _is_true(value):
                graph.true.add(text_field(value, 8))
        elif number == 11 and outer:
            graph.inputs.append(text_field(value, 1))
        elif number == 12 and outer:
            graph.outputs.append(text_field(value, 1))


def _is_true(tensor: memoryview) -> bool:
    found = dict(fields(tensor))
    raw = found.get(9, found.get(5))
    one = bytes(raw) if isinstance(raw, memoryview) else bytes([int(bool(raw))])
    return found.get(2) == 9 and len(one) == 1 and one != b"\0"  # data_type 9: BOOL


def _read_node(content: memoryview, graph: Graph) -> None:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    numbers: dict[str, int] = {}
    tensors: list[memoryview] = []
    for number, value in fields(content):
        if not isinstance(value, memoryview):
            continue
        if number in texts:
            texts[number].append(bytes(value).decode())
        elif number == 5:
            for inner, part in fields(value):
                if inner in (6, 11) and isinstance(part, memoryview):
                    _read_graph(part, graph, outer=False)
                elif inner == 5 and isinstance(part, memoryview):
                    tensors.append(part)
                elif inner == 3 and isinstance(part, int):
                    numbers[text_field(value, 1)] = part
    name, operator = "".join(texts[3]), "".join(texts[4])
    graph.nodes.append(Node(name, operator, tuple(texts[1]), tuple(texts[2]), numbers))
    if operator == "Constant" and texts[2] and tensors and _is_true(tensors[0]):
        graph.true.add(texts[2][0])
    if operator == "Constant" and texts[2]:
        graph.stored[texts[2][0]] = _constant_size(content)


def _constant_size(content: memoryview) -> int:
    for number, attribute in fields(content):
        if number == 5 and isinstance(attribute, memoryview):
            for inner, tensor in fields(attribute):
                if inner == 5 and isinstance(tensor, memoryview):  # AttributeProto.t
                    dims: list[int] = []
                    for n, v in fields(tensor):
                        if n == 1:
                            dims += [v] if isinstance(v, int) else list(packed_varints(v))
                    return _size(dims)
            floats = unpacked_floats(attribute, 7)  # AttributeProto.floats of value_floats
            if floats:
                return len(floats)
    return 1


def _size(dims: list[int]) -> int:
    return prod(dims) if len(dims) <= MOST_AXES else 0


def text_field(content: memoryview, wanted: int) -> str:
    """Return the text of a message's first field with number `wanted`; '' if there is none.

    Raises:
        ValueError, IndexError: invalid message.
    """
    for number, value in fields(content):
        if number == wanted and isinstance(value, memoryview):
            return bytes(value).decode()
    return ""


def fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (number, value) of a protobuf message's fields.

    Raises:
        ValueError, IndexError: invalid message.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(content, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(content, at)
            if at + length > len(content):
                raise ValueError("a field beyond the end")
            yield number, content[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire in (3, 4):  # a group (deprecated): its fields are read as fields of the message
            continue
        else:
            raise ValueError(f"wire type {wire}")


def unpacked_floats(content: memoryview, wanted: int) -> list[float]:
    """Return the 32-bit floats of a repeated field, in either encoding of protobuf.

    Raises:
        ValueError, IndexError, struct.error: invalid message.
    """
    found: list[float] = []
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, at = _varint(content, at)
        elif wire == 2:
            length, at = _varint(content, at)
            if number == wanted and length % 4 == 0:
                found += struct.unpack(f"<{length // 4}f", content[at : at + length])
            at += length
        elif wire == 5:
            if number == wanted:
                found += struct.unpack("<f", content[at : at + 4])
            at += 4
        else:
            at += 8 if wire == 1 else 0
    return found


def packed_varints(content: memoryview) -> Iterator[int]:
    """Yield the numbers of a packed repeated field.

    Raises:
        ValueError, IndexError: invalid field.
    """
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")


Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def input_shapes(path: Path) -> Shapes:
    """Return (name, elements per axis) of the model's inputs.

    An open first axis is 1. Any other open axis is 0 here: a backend refuses it.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    stored: set[str] = set()
    for number, graph in fields(memoryview(path.read_bytes())):
        if number != 7 or not isinstance(graph, memoryview):
            continue
        for inner, part in fields(graph):
            if inner == 5 and isinstance(part, memoryview):
                stored.add(text_field(part, 8))
            elif inner == 11 and isinstance(part, memoryview):
                shapes[text_field(part, 1)] = _shape(part)
    return tuple((name, shape) for name, shape in shapes.items() if name not in stored)


def unshaped_tensors(path: Path) -> list[str]:
    """Return the inputs and outputs of the model that state no shape; [] for a damaged file."""
    found: list[str] = []
    stored: set[str] = set()
    try:
        for graph in _all([memoryview(path.read_bytes())], 7):
            stored.update(text_field(one, 8) for one in _all([graph], 5))
            for number in (11, 12):
                for one in _all([graph], number):
                    tensors = _all(_all([one], 2), 1)  # ValueInfoProto.type, TypeProto.tensor_type
                    if tensors and not _all(tensors, 2):
                        found.append(text_field(one, 1))
    except (ValueError, IndexError):
        return []
    return [name for name in found if name not in stored]


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
