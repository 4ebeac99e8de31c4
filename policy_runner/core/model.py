"""What a model file says about itself, whatever library read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Buffer = npt.NDArray[np.generic]  # a tensor of a model
# A recurrent state: the model's input and output, and the value of the input at a reset.
StateTensors = tuple[Buffer, Buffer, Buffer]


def cast_range(dtype: npt.DTypeLike) -> tuple[float, float]:
    """The least and the largest number that this type of numpy holds; 0 and 1 of a boolean."""
    known = np.dtype(dtype)
    if known.kind == "f":
        limits = np.finfo(known)
        return float(limits.min), float(limits.max)
    if known.kind in "iu":
        whole = np.iinfo(known)
        high = float(whole.max)  # of 64 bits this is one too many
        return float(whole.min), high if high <= whole.max else float(np.nextafter(high, 0.0))
    return 0.0, 1.0


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


class ModelAbilities:
    """What some models can do in addition to a run. The defaults are those of a model that cannot.

    Every implementation of `Model` inherits this class.
    """

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """Carry recurrent states from output to input itself, after every run from now on.

        Args:
            states: all recurrent states of the policy; their arrays are this model's own.

        Returns:
            A function that makes the next run begin with the initial values. None: this model
            cannot, and its caller copies the states.
        """
        return None

    def take_log(self) -> Sequence[str]:
        """What the backend's library said since the last call; not for the control thread."""
        return ()


class Model(Protocol):
    """A backend as the core sees it: named, preallocated tensors, and a run between them."""

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; write in place."""

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name; valid until the next run."""

    def run(self) -> None:
        """Compute the outputs from the inputs."""

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """See `ModelAbilities.keep_states`."""

    def take_log(self) -> Sequence[str]:
        """See `ModelAbilities.take_log`."""
