"""Networks of the second examination: they hide what the first zoo shows openly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from zoo import Broken, Good, Mlp


class TakenOnce(Mlp):
    """Keeps the mean of its first input for good: no later call changes anything."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Tensor | None = None

    def forward(self, obs: Tensor) -> Tensor:
        if self.first is None:
            self.first = obs.mean(1, keepdim=True)
        return self.net(obs - self.first)


class Cached(Mlp):
    """Makes a constant in the first call: it does not depend on the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Tensor | None = None

    def forward(self, obs: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.linspace(0.0, 1.0, 12)[None]
        return self.net(obs * self.table)


class Half(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs).half()


class Scripted(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.part = torch.jit.script(nn.Linear(4, 4))

    def forward(self, obs: Tensor) -> Tensor:
        return self.part(self.net(obs))


class SliceByData(Mlp):
    """The length of a slice follows the data: the exporter says it in the graph."""

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) + obs[:, : 1 + (obs[0, 0] > 0)].sum()


class DoubleInside(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return (self.net(obs).double() * 2).float()


FURTHER_GOOD = (
    Good("cached", Cached),
    Good("slice by data", SliceByData),
    Good("double inside", DoubleInside),
)
FURTHER_BROKEN = {
    "taken from the first input": Broken(TakenOnce, ("'first' changed in a call", "--state")),
    "half": Broken(Half, ("output 'actions'", "got float16")),
    "scripted part": Broken(Scripted, ("'part'", "got TorchScript")),
}
