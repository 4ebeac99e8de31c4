"""Counts a network's weights and their precision, read from the ONNX file.

Field numbers are from onnx.proto. TensorProto.data_type is field 2: FLOAT 1, FLOAT16 10,
DOUBLE 11, BFLOAT16 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from policy_runner.backends.onnx_file.graph import fields, packed_varints

_HALF, _FULL = (10, 16), (1, 11)


@dataclass(frozen=True)
class Weights:
    """Numbers of stored floating-point weights: biases, matrices, kernels; and of convolutions."""

    half: int  # elements in float16 or bfloat16
    full: int  # elements in float32 or float64
    convolutions: int  # nodes

    @property
    def count(self) -> int:
        """Number of all weights."""
        return self.half + self.full

    @property
    def precision(self) -> str:
        """`fp16` if most of the weights are half precision, else `fp32`."""
        return "fp16" if self.half > self.full else "fp32"


def read_weights(path: Path) -> Weights:
    """Count the weights of an ONNX file; zeros if the file cannot be parsed.

    The file has the sizes even if the data are in a separate file.
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
