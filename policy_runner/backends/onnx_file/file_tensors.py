"""Reads the inputs and outputs of an ONNX file without a library: names, types and shapes.

Field numbers are from onnx.proto: GraphProto.initializer 5, input 11, output 12, sparse_initializer
15; ValueInfoProto.name 1, type 2; TypeProto.tensor_type 1; Tensor.elem_type 1, shape 2; Dimension
dim_value 1, dim_param 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from policy_runner.backends.host_arrays import allocate
from policy_runner.backends.onnx_file.graph import fields, text_field
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import Buffer

# TensorProto.DataType -> ONNX Runtime's name, which `allocate` knows or refuses.
_TYPES = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "double", 12: "uint32", 13: "uint64",
}  # fmt: skip


@dataclass(frozen=True)
class FileTensor:
    """One tensor as the file states it; an axis is a number, the name of an open size, or None."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


def file_arrays(path: Path) -> tuple[dict[str, Buffer], dict[str, Buffer]]:
    """Return zeroed arrays for the inputs and the outputs of an ONNX file, batch 1.

    Raises:
        Refusal: the file has no graph, or a tensor has an open size or a type without an array.
    """
    inputs, outputs = file_tensors(path)
    # The batch may be open in any axis of an output, under the name that the inputs give it.
    batch = {one.shape[0] for one in inputs if one.shape and isinstance(one.shape[0], str)}
    outputs = [
        replace(one, shape=tuple(1 if size in batch else size for size in one.shape))
        for one in outputs
    ]
    problems: list[Problem] = []
    arrays = allocate(path, "input", inputs, problems), allocate(path, "output", outputs, problems)
    if problems:
        remedy = "export it with fixed sizes, or state `tensors` in place of `file`"
        raise Refusal([replace(one, remedy=remedy) for one in problems])
    return arrays


def file_tensors(path: Path) -> tuple[list[FileTensor], list[FileTensor]]:
    """Return the inputs and the outputs of an ONNX file, in its order.

    Raises:
        Refusal: the file has no graph.
    """
    inputs: list[FileTensor] = []
    outputs: list[FileTensor] = []
    stored: set[str] = set()
    try:
        for graph in _parts(memoryview(path.read_bytes()), 7):
            for number, part in fields(graph):
                if not isinstance(part, memoryview):
                    continue
                if number == 5:
                    stored.add(text_field(part, 8))
                elif number == 15:
                    stored.update(text_field(values, 8) for values in _parts(part, 1))
                elif number in (11, 12):
                    (inputs if number == 11 else outputs).append(_tensor(part))
    except (ValueError, IndexError, OSError) as error:
        remedy = "copy it again, or export it again"
        raise refuse(str(path), "", "an ONNX model", f"a damaged file ({error})", remedy) from error
    if not outputs:
        raise refuse(str(path), "", "an ONNX model", "a file without a graph", "export it again")
    return [one for one in inputs if one.name not in stored], outputs


def _tensor(value_info: memoryview) -> FileTensor:
    kind, shape = "", []
    for tensor in (one for given in _parts(value_info, 2) for one in _parts(given, 1)):
        for number, value in fields(tensor):
            if number == 1 and isinstance(value, int):
                kind = _TYPES.get(value, f"type {value}")
            elif number == 2 and isinstance(value, memoryview):
                shape = [_axis(dimension) for dimension in _parts(value, 1)]
    return FileTensor(text_field(value_info, 1), f"tensor({kind})", tuple(shape))


def _axis(dimension: memoryview) -> int | str | None:
    for number, value in fields(dimension):
        if number == 1 and isinstance(value, int) and value > 0:
            return value
        if number == 2 and isinstance(value, memoryview):
            return bytes(value).decode()
    return None


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, value in fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value
