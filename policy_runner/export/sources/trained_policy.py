"""A trained policy as export and verification see it, whatever trained it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array

Arrays = Mapping[str, npt.NDArray[Any]]
FLOAT, LONG, BOOL = "float32", "int64", "bool"
DTYPES = (FLOAT, LONG, BOOL)
CONSTANT_SPREAD = 1e-4  # below it a dimension was constant in training


@dataclass(frozen=True)
class TensorShape:
    """One input of the network. The first axis is the batch and is 1 here.

    Attributes:
        mean, spread: of plausible numbers, each float64 [size]; None: 0 and 1.
        pixels: whole numbers from 0 to 255.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = FLOAT
    mean: Array | None = field(default=None, compare=False)
    spread: Array | None = field(default=None, compare=False)
    pixels: bool = False

    @property
    def size(self) -> int:
        """Elements of one sample."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class StateTensor:
    """A recurrent state: the network's input, the output that follows it, and the batch's axis."""

    input: TensorShape
    output: str
    batch_axis: int = 0


@dataclass(frozen=True)
class Statistics:
    """How the trainer normalizes one input: a preset of the policy spec and its numbers.

    Attributes:
        preset: name of the formula, such as `sb3`; see docs/policy_spec.md.
        values: `mean` and `var` or `std`, each float64 [size].
        eps, clip: where they differ from the preset's. `clip` is the largest magnitude.
        count: samples that they were learnt from; None where the trainer does not store it.
    """

    preset: str
    values: Mapping[str, Array]
    eps: float | None = None
    clip: float | None = None
    count: float | None = None

    @property
    def spread(self) -> Array:
        """Standard deviation, float64 [size]."""
        if "std" in self.values:
            return self.values["std"]
        return np.asarray(np.sqrt(np.maximum(self.values["var"], 0.0)), dtype=np.float64)


class Truth(Protocol):
    """The trainer's own call. What an export must agree with."""

    def start(self) -> None:
        """Reset the recurrent state."""

    def act(self, observation: Arrays) -> Arrays:
        """The trainer's deterministic action for one observation.

        Args:
            observation: per input [size], before normalization.

        Returns:
            Per action output its numbers [size]; the row's number for a choice.
        """


@dataclass
class TrainedPolicy:
    """A network with names, its statistics, and the trainer's own call.

    Attributes:
        kind: what the source is, for the card: `Stable-Baselines3 PPO`.
        module: torch module; `module(*inputs, *states)` gives `(*outputs, *next states)`.
        inputs: observations, in the order of the module's arguments. No states.
        outputs: in the module's order. No states.
        statistics: how the trainer normalizes an input, by the input's name. Not in `module`.
        normalized_inside: inputs that `module` itself normalizes.
        bounds: the trainer clips this output to [low, high], each float64 [size].
        choices: outputs that are scores of so many choices.
        action_names: what the source calls the elements of an output, where it says so.
        truth: makes the trainer's own call; see `Truth`.
        facts: for the card: name and text.
        script: `module` is TorchScript.
        notes: what a person should know about the source.
    """

    kind: str
    module: Any
    inputs: Sequence[TensorShape]
    outputs: Sequence[str]
    truth: Callable[[], Truth]
    states: Sequence[StateTensor] = ()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    normalized_inside: frozenset[str] = frozenset()
    bounds: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    choices: Mapping[str, int] = field(default_factory=dict)
    action_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    script: bool = False

    @property
    def arguments(self) -> list[TensorShape]:
        """Every tensor that the module takes, in its order."""
        return [*self.inputs, *(state.input for state in self.states)]

    @property
    def results(self) -> list[str]:
        """Every tensor that the module gives, in its order."""
        return [*self.outputs, *(state.output for state in self.states)]


def parse_tensor(text: str) -> TensorShape:
    """`obs=1x12` or `mask=1x4:bool` as a tensor.

    Raises:
        Refusal: other text.
    """
    name, _, rest = text.partition("=")
    numbers, _, dtype = rest.partition(":")
    expected = f"NAME=1xN, or NAME=1xNxM:TYPE with TYPE one of {', '.join(DTYPES)}"
    sizes = numbers.replace(",", "x").split("x")
    if not name or (dtype and dtype not in DTYPES):
        raise refuse("", "--input", expected, f"'{text}'")
    try:
        shape = tuple(int(one) for one in sizes)
    except ValueError:
        raise refuse("", "--input", expected, f"'{text}'") from None
    if not shape or min(shape) < 1 or shape[0] != 1:
        remedy = "the first number is the batch, which is 1"
        raise refuse("", "--input", expected, f"'{text}'", remedy)
    return TensorShape(name, shape, dtype or FLOAT)


class NetworkTruth:
    """The truth of a source that is a network: the module itself, its statistics before it.

    Normalizes with the trainer's formula in float64, written out here and not taken from the
    runner, so that a wrong preset shows.
    """

    def __init__(self, policy: TrainedPolicy) -> None:
        self._policy = policy
        self._states: list[Any] = []
        self.start()

    def start(self) -> None:
        """Zeros for every state."""
        import torch

        self._states = [torch.zeros(one.input.shape) for one in self._policy.states]

    def act(self, observation: Arrays) -> Arrays:
        """See `Truth.act`."""
        import torch

        given = []
        for one in self._policy.inputs:
            values = np.asarray(observation[one.name], dtype=np.float64).reshape(one.shape)
            if one.name in self._policy.statistics:
                values = written_out(self._policy.statistics[one.name], values)
            given.append(torch.from_numpy(values.astype(one.dtype)))
        with torch.no_grad():
            found = named_results(self._policy.module(*given, *self._states), self._policy)
        self._states = [found[one.output] for one in self._policy.states]
        result = {}
        for name in self._policy.outputs:
            values = found[name].numpy().reshape(-1).astype(np.float64)
            if name in self._policy.bounds:
                values = np.clip(values, *self._policy.bounds[name])
            if name in self._policy.choices:
                values = np.array([int(np.argmax(values))])
            result[name] = values
        return result


def written_out(given: Statistics, x: Array) -> Array:
    """The trainers' formulas, one line each, as their own code has them.

    Sources: stable_baselines3 vec_normalize._normalize_obs, rsl_rl EmpiricalNormalization.forward,
    rl_games RunningMeanStd.forward, skrl RunningStandardScaler._compute.
    """
    mean, spread = given.values["mean"], given.spread
    eps, clip = given.eps, given.clip
    if given.preset == "sb3":
        y = (x - mean) / np.sqrt(spread**2 + (1e-8 if eps is None else eps))
        most = 10.0 if clip is None else clip
    elif given.preset == "rsl_rl":
        y, most = (x - mean) / (spread + (1e-2 if eps is None else eps)), np.inf
    elif given.preset == "rl_games":
        y = (x - mean) / np.sqrt(spread**2 + (1e-5 if eps is None else eps))
        most = 5.0 if clip is None else clip
    elif given.preset == "skrl":
        y = (x - mean) / (spread + (1e-8 if eps is None else eps))
        most = 5.0 if clip is None else clip
    else:
        raise ValueError(f"no formula for preset {given.preset}")
    return np.clip(y, -most, most)


def named_results(given: Any, policy: TrainedPolicy) -> dict[str, Any]:
    """What the module returned, by the policy's names.

    A mapping or a named tuple is matched by its own names: its order means nothing.

    Raises:
        Refusal: another number of tensors, or other names.
    """
    wanted = policy.results
    names: list[str] | None = None
    if isinstance(given, Mapping):
        names, given = [str(name) for name in given], list(given.values())
    elif hasattr(given, "_fields"):
        names, given = list(given._fields), list(given)
    elif isinstance(given, (tuple, list)):
        given = _flat(given)
    else:
        given = [given]
    if names is not None and sorted(names) != sorted(wanted):
        expected = f"the outputs {', '.join(wanted)}"
        raise refuse(policy.kind, "outputs", expected, ", ".join(names), "name them by --output")
    if len(given) != len(wanted):
        expected = f"{len(wanted)} outputs ({', '.join(wanted)})"
        raise refuse(policy.kind, "outputs", expected, f"{len(given)}", "name each by --output")
    return dict(zip(names or wanted, given, strict=True))


def _flat(given: Sequence[Any]) -> list[Any]:
    """Nested tuples, as torch's LSTM returns its state, side by side."""
    found: list[Any] = []
    for one in given:
        found += _flat(one) if isinstance(one, (tuple, list)) else [one]
    return found
