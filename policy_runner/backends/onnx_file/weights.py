"""How big a network is, and in which precision its file holds it: field numbers of onnx.proto.

TensorProto.data_type is field 2: FLOAT 1, FLOAT16 10, DOUBLE 11, BFLOAT16 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from policy_runner.backends.onnx_file.graph import fields, packed_varints

_HALF, _FULL = (10, 16), (1, 11)


@dataclass(frozen=True)
class Weights:
    """Stored numbers with a point, of more than one element: biases, matrices, kernels."""

    half: int  # elements in float16 or bfloat16
    full: int  # elements in float32 or float64
    convolutions: int  # nodes

    @property
    def count(self) -> int:
        """All of them."""
        return self.half + self.full

    @property
    def precision(self) -> str:
        """`fp16` where most of the weights are, else `fp32`."""
        return "fp16" if self.half > self.full else "fp32"


def read_weights(path: Path) -> Weights:
    """Count what the file stores (the sizes are there, too, when the data lie beside it).

    Zeros where the file cannot be followed.
    """
    half = full = convolutions = 0
    try:
        for number, graph in fields(memoryview(path.read_bytes())):
            if number != 7 or not isinstance(graph, memoryview):
                continue
            for inner, part in fields(graph):
                if inner == 5 and isinstance(part, memoryview):
                    kind, count = _tensor(part)
                    half += count if kind in _HALF else 0
                    full += count if kind in _FULL else 0
                elif inner == 1 and isinstance(part, memoryview):
                    operators = [bytes(v) for n, v in fields(part) if n == 4]
                    convolutions += any(one.startswith(b"Conv") for one in operators)
    except (ValueError, IndexError):
        return Weights(0, 0, 0)
    return Weights(half, full, convolutions)


def _tensor(content: memoryview) -> tuple[int, int]:
    kind, dims = 0, []
    for number, value in fields(content):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(packed_varints(value))
        elif number == 2 and isinstance(value, int):
            kind = value
    return kind, prod(dims) if dims else 0
