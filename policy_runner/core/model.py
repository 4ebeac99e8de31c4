"""What a model file says about itself, whatever library read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Buffer = npt.NDArray[np.generic]  # a tensor of a model


@dataclass(frozen=True)
class TensorFacts:
    """One input or output. `dtype` is numpy's name; an axis without a fixed size is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def size(self) -> int | None:
        """Elements for a batch of 1; None where an axis after the first is open."""
        fixed = [1 if k == 0 and d is None else d for k, d in enumerate(self.shape)]
        return None if None in fixed else math.prod(d for d in fixed if d is not None)

    def __str__(self) -> str:
        shape = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name} {self.dtype} [{shape}]"


@dataclass(frozen=True)
class ModelFacts:
    """Tensors in the file's order, the exporter's metadata, and files that belong to it.

    `arithmetic`: input -> operations with stored vectors that come first (a normalizer, mostly).
    `stateless`: recurrent operations whose state no input feeds, so that they forget every time.
    """

    path: Path
    sha256: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    data_files: tuple[Path, ...] = ()
    arithmetic: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stateless: tuple[str, ...] = ()

    def input(self, name: str) -> TensorFacts | None:
        """The input of that name."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def output(self, name: str) -> TensorFacts | None:
        """The first output of that name."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)


class Model(Protocol):
    """What a backend is to the core: named, preallocated tensors, and a run between them."""

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; write in place."""

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name; valid until the next run."""

    def run(self) -> None:
        """Compute the outputs from the inputs.

        A model may have `keep_states(states) -> (() -> None) | None` beside: then it carries the
        states (input, output, initial value) from output to input itself, and what is returned
        makes its next run begin with the initial values.
        """
