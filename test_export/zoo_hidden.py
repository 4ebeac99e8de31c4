"""Broken networks whose fault lies outside of their attributes, or between the rows of a batch."""

from __future__ import annotations

import itertools
import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from zoo import OBS, Broken, Good, Mlp

from policy_runner.export.sources.trained_policy import TensorShape

KEPT: dict[str, Tensor] = {}
LOG = logging.getLogger(__name__)
SCALES = {"out": 0.5}


class EqualBranch(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        out = self.net(obs)
        return out * 2 if torch.equal(obs.sign(), torch.ones_like(obs)) else out


class ThroughDlpack(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return torch.from_numpy(np.from_dlpack(self.net(obs)) * 2)


class KeptInTheClass(Mlp):
    hidden = torch.zeros(1, 4)

    def forward(self, obs: Tensor) -> Tensor:
        KeptInTheClass.hidden = 0.5 * KeptInTheClass.hidden + self.net(obs)
        return KeptInTheClass.hidden


class HeldInAGlobal(Mlp):
    """Adds its first answer to every later one: two calls in a row answer the same."""

    def forward(self, obs: Tensor) -> Tensor:
        if "first" not in KEPT:
            KEPT["first"] = self.net(obs).clone()
        return 0.5 * self.net(obs) + KEPT["first"]


class HeldInADict(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, Tensor] = {}

    def forward(self, obs: Tensor) -> Tensor:
        self.cache.setdefault("first", self.net(obs).clone())
        return 0.5 * self.net(obs) + self.cache["first"]


class InANamespace(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.memory = SimpleNamespace(last=torch.zeros(1, 4))

    def forward(self, obs: Tensor) -> Tensor:
        self.memory.last = 0.5 * self.memory.last + self.net(obs)
        return self.memory.last


class CountedByAHook(Mlp):
    def __init__(self) -> None:
        super().__init__()
        box = [0]

        def hook(_module: nn.Module, _given: Any, out: Tensor) -> Tensor:
            box[0] += 1
            return out * min(box[0], 40)

        self.net.register_forward_hook(hook)


class Iterating(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.steps = itertools.count()

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) * min(next(self.steps), 50)


class OwnGenerator(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.noise = np.random.default_rng(3)

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) + float(self.noise.normal())


class RandomSlope(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return functional.rrelu(self.net(obs) - 1.0, training=True)


class Complex(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return torch.fft.rfft(self.net(obs))


class Lazy(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LazyLinear(32), nn.ELU(), nn.Linear(32, 4))


class RowsMixed(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs - 0.1 * obs.mean(0, keepdim=True))


class FourRows(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(4, 12))

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs + self.offset[: obs.shape[0]])


class TimesZero(Mlp):
    def forward(self, obs: Tensor, goal: Tensor) -> Tensor:
        return self.net(obs) + 0.0 * goal.sum()


class ConstantDouble(Mlp):
    """A float64 constant that is no weight."""

    def forward(self, obs: Tensor) -> Tensor:
        return (self.net(obs) * torch.tensor([1 / 3], dtype=torch.float64)).float()


class Logging(Mlp):
    """A logger remembers which levels are on: no state of the network."""

    def forward(self, obs: Tensor) -> Tensor:
        LOG.debug("one call")
        return self.net(obs) * SCALES["out"]


HIDDEN_GOOD = (
    Good("times zero", TimesZero, (*OBS, TensorShape("goal", (1, 2)))),
    Good("constant double", ConstantDouble),
    Good("logging", Logging),
)
HIDDEN_BROKEN = {
    "branch by torch.equal": Broken(EqualBranch, ("a branch on data (torch.equal)", "zoo_hidden")),
    "detour by dlpack": Broken(ThroughDlpack, ("a detour through another library", "zoo_hidden")),
    "state in the class": Broken(KeptInTheClass, ("'KeptInTheClass.hidden' changed", "--state")),
    "held in a global": Broken(HeldInAGlobal, ("global 'KEPT'['first'] changed", "--state")),
    "held in a dict": Broken(HeldInADict, ("'cache'['first'] changed", "--state")),
    "in a namespace": Broken(InANamespace, ("'memory'.last changed", "--state")),
    "counted by a hook": Broken(CountedByAHook, ("closure 'box'[0] changed", "--state")),
    "an iterator": Broken(Iterating, ("'steps' changed in a call",)),
    "a generator of numpy": Broken(OwnGenerator, ("'noise' changed in a call",)),
    "random slope": Broken(RandomSlope, ("a draw (aten.rrelu_with_noise", "zoo_hidden.py:")),
    "complex": Broken(Complex, ("output 'actions': expected float32, got complex64",)),
    "lazy": Broken(Lazy, ("'net.0.weight': expected numbers",)),
    "rows mixed": Broken(RowsMixed, ("output 'actions'", "when it runs alone"), dynamic=True),
    "four rows": Broken(FourRows, ("batch: expected a network that runs with",), dynamic=True),
}
