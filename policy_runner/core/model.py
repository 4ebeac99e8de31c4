"""Facts about a model file, and the interface of a loaded model, for every backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Buffer = npt.NDArray[np.generic]  # a tensor of a model
# A recurrent state: the model's input and output, and the value of the input at a reset.
StateTensors = tuple[Buffer, Buffer, Buffer]


def cast_range(dtype: npt.DTypeLike) -> tuple[float, float]:
    """The smallest and the largest number that this numpy type holds; 0 and 1 for a boolean."""
    known = np.dtype(dtype)
    if known.kind == "f":
        limits = np.finfo(known)
        return float(limits.min), float(limits.max)
    if known.kind in "iu":
        whole = np.iinfo(known)
        high = float(whole.max)  # for 64 bits the float is one larger than the integer
        return float(whole.min), high if high <= whole.max else float(np.nextafter(high, 0.0))
    return 0.0, 1.0


def batch_remedy(shape: Sequence[int], size: int) -> str:
    """What to do about a tensor that a fixed batch makes too large, or ''.

    Args:
        shape: of the tensor.
        size: number of elements that the spec gives it.
    """
    batch = shape[0] if len(shape) > 1 else 1
    if batch == 1 or size * batch != math.prod(shape):
        return ""
    return f"the model has a fixed batch of {batch}: export it with a batch of 1 or an open one"


class StatePath(NamedTuple):
    """The shortest way from an input of a graph to an output of the same shape."""

    weights: int  # nodes on it that have weights, or are no arithmetic by element
    nodes: int
    gated: bool  # it has no weights, and there is another way with weights
    through: tuple[str, ...] = ()  # the outputs of the graph that it passes before its end


@dataclass(frozen=True)
class TensorFacts:
    """One input or output of a model.

    `dtype` is numpy's name of the type. In `shape`, an axis without a fixed size is None.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def size(self) -> int | None:
        """Number of elements for a batch of 1; None if an axis after the first is not fixed."""
        fixed = [1 if k == 0 and d is None else d for k, d in enumerate(self.shape)]
        return None if None in fixed else math.prod(d for d in fixed if d is not None)

    def __str__(self) -> str:
        shape = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name} {self.dtype} [{shape}]"


@dataclass(frozen=True)
class ModelFacts:
    """The model's tensors in the file's order, the exporter's metadata, and its data files.

    `data_sha256`: {name relative to the model's folder: sha256} of the data files.
    `arithmetic`: per input, its first operations if they use stored vectors (mostly a normalizer).
    `stateless`: recurrent operations whose state no input feeds. They forget it at every run.
    `recurrent`: (input, output) of each state that the graph itself carries through LSTM, GRU, RNN.
    `paths`: (input, output) -> the shortest way between tensors of one shape, for states.
    `untouched`: inputs whose first weights come before any other arithmetic.
    `suspicious`: one sentence for each part of the graph that is often a fault of the exporter.
    """

    path: Path
    sha256: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    data_files: tuple[Path, ...] = ()
    arithmetic: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stateless: tuple[str, ...] = ()
    recurrent: tuple[tuple[str, str], ...] = ()
    paths: Mapping[tuple[str, str], StatePath] = field(default_factory=dict)
    untouched: tuple[str, ...] = ()
    suspicious: tuple[str, ...] = ()
    data_sha256: Mapping[str, str] = field(default_factory=dict)

    def input(self, name: str) -> TensorFacts | None:
        """The input with that name; None if there is none."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def output(self, name: str) -> TensorFacts | None:
        """The first output with that name; None if there is none."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)


class InferenceFailed(Exception):
    """Raised by `Model.run`: this inference has no result; the text says why, and what to do.

    A lane turns it into a result with a fault. The policy's state has not advanced, and the next
    inference is an ordinary one.
    """


class ModelAbilities:
    """Optional abilities of a model, with defaults for a model that lacks them.

    Every implementation of `Model` inherits this class.
    """

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """Carry recurrent states from output to input itself, after every run from now on.

        Args:
            states: all recurrent states of the policy. Their arrays belong to this model.

        Returns:
            A function that makes the next run begin with the initial values. None: this model
            cannot carry states, so the caller must copy them.
        """
        return None

    def take_log(self) -> Sequence[str]:
        """Log lines of the backend's library since the last call. Not for the control thread."""
        return ()

    def live_facts(self) -> Mapping[str, str]:
        """Facts that change while it runs, for diagnostics. Any thread may call it."""
        return {}


class SeveralModels(Protocol):
    """A `Model` whose tensors are those of several models, which its policy runs one by one."""

    @property
    def parts(self) -> Mapping[str, Model]:
        """The models by the names of `core.spec.parts.ModelFile`."""


class Model(Protocol):
    """A loaded model of any backend: named, preallocated tensors, and `run`."""

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; write in place."""

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name; valid until the next run."""

    def run(self) -> None:
        """Compute the outputs from the inputs.

        Raises:
            InferenceFailed: a model on a server; only a lane may run such a model.
        """

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        """See `ModelAbilities.keep_states`."""

    def take_log(self) -> Sequence[str]:
        """See `ModelAbilities.take_log`."""

    def live_facts(self) -> Mapping[str, str]:
        """See `ModelAbilities.live_facts`."""
