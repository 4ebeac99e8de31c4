"""Small networks: good ones, which must export without alarm, and broken ones with culprits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from policy_runner.export.sources.trained_policy import StateTensor, TensorShape, TrainedPolicy

OBS = (TensorShape("obs", (1, 12)),)
H3, C3 = TensorShape("h_in", (1, 1, 16)), TensorShape("c_in", (1, 1, 16))


def seeded(kind: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return kind()


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ELU(), nn.Linear(32, 4))

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs)


# --- good ones ---


class Normalized(Mlp):
    """A normalizer inside: Sub, Div, Clip."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.linspace(-1, 1, 12)[None])
        self.register_buffer("std", torch.linspace(0.5, 2, 12)[None])

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(torch.clamp((obs - self.mean) / (self.std + 1e-2), -5.0, 5.0))


class Lstm(nn.Module):
    layers = 1

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(12, 16, self.layers)
        self.head = nn.Linear(16, 4)

    def forward(self, obs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, (h, c) = self.rnn(obs.unsqueeze(0), (h, c))
        return self.head(out.squeeze(0)), h, c


class Lstm2(Lstm):
    layers = 2


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(12, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, obs: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        out, h = self.rnn(obs.unsqueeze(0), h)
        return self.head(out.squeeze(0)), h


class Planner(nn.Module):
    """Costmap, robot state, goal and metadata to 20 poses of x, y and yaw."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 5, 3), nn.ReLU(),
            nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(8 * 36 + 20, 64), nn.ReLU(), nn.Linear(64, 60))
        self.state = nn.Linear(14, 20)

    def forward(self, costmap: Tensor, state: Tensor, goal: Tensor, metadata: Tensor) -> Tensor:
        rest = torch.tanh(self.state(torch.cat([state, goal, metadata], 1)))
        seen = functional.adaptive_avg_pool2d(self.cnn[:5](costmap), 6).flatten(1)
        return self.head(torch.cat([seen, rest], 1))


class Act(nn.Module):
    """A transformer over tokens, as ACT has: a chunk of 5 actions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.query = nn.Parameter(torch.randn(5, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, obs: Tensor) -> Tensor:
        tokens = self.embed(obs.reshape(obs.shape[0], 3, 4))
        query = self.query[None].expand(obs.shape[0], -1, -1)
        return self.head(self.encoder(torch.cat([query, tokens], 1))[:, :5])


class Chosen(Mlp):
    """torch.where with numbers, a fixed loop, a list, len, and a number from a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.gains = [0.5, 0.25]
        self.register_buffer("rounds", torch.tensor(2))

    def forward(self, obs: Tensor) -> Tensor:
        out = self.net(torch.where(obs > 2.0, 2.0, obs))
        for _ in range(int(self.rounds.item()) if not torch.compiler.is_compiling() else 2):
            out = out + 0.1 * torch.tanh(out)
        return out * self.gains[len(self.gains) - 1]


class Dicts(Mlp):
    """A dict in another order than the outputs are asked for."""

    def forward(self, obs: Tensor) -> dict[str, Tensor]:
        out = self.net(obs)
        return {"value": out.sum(1, keepdim=True), "actions": out}


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2.0

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad * 2.0


class OwnFunction(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return Doubling.apply(self.net(obs))


class Layers(Mlp):
    """Dropout and batch norm as modules: eval() switches them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(12, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Dropout(0.5), nn.LayerNorm(32),
            nn.Linear(32, 4), nn.Softmax(-1),
        )  # fmt: skip


class Rms(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(12)

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(self.norm(obs))


class Mean(Mlp):
    """The deterministic answer of a distribution, which checks its arguments."""

    def forward(self, obs: Tensor) -> Tensor:
        return torch.distributions.Normal(self.net(obs), 1.0).mean


class Writing(Mlp):
    """Keeps its last output for people to look at; no answer depends on it."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None

    def forward(self, obs: Tensor) -> Tensor:
        out = self.net(obs)
        self.last = out.detach()
        return out


# --- broken ones ---


class Branch(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        out = self.net(obs)
        if obs.sum() > 0:
            out = out * 2
        return out


class RareBranch(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) if float(obs.max()) < 1e6 else torch.zeros(1, 4)


class Rounds(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        out = self.net(obs)
        for _ in range(int(obs[0, 0].abs()) + 1):
            out = torch.tanh(out)
        return out


class KeptAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(12, 16)
        self.head = nn.Linear(16, 4)
        self.hidden: tuple[Tensor, Tensor] | None = None

    def forward(self, obs: Tensor) -> Tensor:
        out, self.hidden = self.rnn(obs.unsqueeze(0), self.hidden)
        return self.head(out.squeeze(0))


class KeptBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(12, 16)
        self.head = nn.Linear(16, 4)
        self.register_buffer("memory", torch.zeros(1, 1, 16))

    def forward(self, obs: Tensor) -> Tensor:
        out, memory = self.rnn(obs.unsqueeze(0), self.memory)
        self.memory.copy_(memory)
        return self.head(out.squeeze(0))


class KeptFrames(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self._past: deque[Tensor] = deque(maxlen=3)

    def forward(self, obs: Tensor) -> Tensor:
        self._past.append(obs)
        return self.net(torch.stack(list(self._past)).mean(0))


class Counter(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self._step = 0

    def forward(self, obs: Tensor) -> Tensor:
        self._step += 1
        return self.net(obs) * min(self._step, 5)


class Learning(Mlp):
    """A normalizer that learns in every call, in eval mode as well."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(12))

    def forward(self, obs: Tensor) -> Tensor:
        self.running_mean += 0.01 * (obs.mean(0) - self.running_mean)
        return self.net(obs - self.running_mean)


class Dropping(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return functional.dropout(self.net(obs), 0.5)


class Sampling(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return torch.distributions.Normal(self.net(obs), 1.0).sample()


class Noise(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) + 0.1 * torch.randn(1, 4)


class Unused(Mlp):
    def forward(self, obs: Tensor, goal: Tensor) -> Tensor:
        return self.net(obs)


class Assigning(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        obs[:, 0] = 0.0
        return self.net(obs)


class Numpy(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return torch.from_numpy(self.net(obs).numpy() * 2)


class Bounding(Mlp):
    """Changes only what lies far out."""

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs.clamp_(-5.0, 5.0))


class NumpyNoise(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) + float(np.random.normal())


class Memory:
    """An object that is no module."""

    def __init__(self) -> None:
        self.last = torch.zeros(1, 4)


class KeptInAnObject(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()

    def forward(self, obs: Tensor) -> Tensor:
        self.memory.last = 0.5 * self.memory.last + self.net(obs)
        return self.memory.last


class NumpyFunction(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(torch.as_tensor(np.clip(obs, -1.0, 1.0)))


class DoubleConstant(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) * torch.tensor([2.0], dtype=torch.float64)


class NoConversion(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs) + torch.linalg.svd(obs.reshape(-1, 3, 4))[1].sum()


class FixedView(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs.view(1, 12))


class RowLoop(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return torch.stack([self.net(obs[k]) for k in range(obs.shape[0])])


class OpenShape(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs)[self.net(obs) > 0.0]


class OtherNames(Mlp):
    def forward(self, obs: Tensor) -> dict[str, Tensor]:
        return {"mean": self.net(obs)}


class NotFinite(Mlp):
    def forward(self, obs: Tensor) -> Tensor:
        return torch.log(self.net(obs))


class Good(NamedTuple):
    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[TensorShape, ...] = OBS
    outputs: tuple[str, ...] = ("actions",)
    states: tuple[StateTensor, ...] = ()
    dynamic: bool = False


def lstm_states(layers: int) -> tuple[StateTensor, ...]:
    shape = (layers, 1, 16)
    return tuple(StateTensor(TensorShape(f"{n}_in", shape), f"{n}_out", 1) for n in "hc")


PLANNER = (
    TensorShape("costmap", (1, 1, 50, 50)), TensorShape("state", (1, 9)),
    TensorShape("goal", (1, 3)), TensorShape("metadata", (1, 2)),
)  # fmt: skip
GOOD = (
    Good("mlp", Mlp),
    Good("mlp, any batch", Mlp, dynamic=True),
    Good("normalizer", Normalized, dynamic=True),
    Good("lstm", Lstm, states=lstm_states(1)),
    Good("lstm, any batch", Lstm, states=lstm_states(1), dynamic=True),
    Good("lstm of two layers", Lstm2, states=lstm_states(2)),
    Good("gru", Gru, states=(StateTensor(H3, "h_out", 1),), dynamic=True),
    Good("planner", Planner, PLANNER),
    Good("planner, any batch", Planner, PLANNER, dynamic=True),
    Good("act", Act),
    Good("act, any batch", Act, dynamic=True),
    Good("chosen", Chosen),
    Good("dicts", Dicts, outputs=("actions", "value")),
    Good("own function", OwnFunction),
    Good("dropout and batch norm", Layers, dynamic=True),
    Good("rms norm", Rms),
    Good("mean", Mean),
    Good("writing", Writing),
)


class Broken(NamedTuple):
    make: Callable[[], nn.Module]
    culprit: tuple[str, ...]  # each in the refusal
    inputs: tuple[TensorShape, ...] = OBS
    dynamic: bool = False
    opset: int = 18


BROKEN = {
    "branch on data": Broken(Branch, ("a branch on data", "zoo.py:", "(forward)")),
    "rare branch": Broken(RareBranch, ("number of Python made of data (float)", "zoo.py:")),
    "rounds by data": Broken(Rounds, ("number of Python made of data (int)", "zoo.py:")),
    "state in an attribute": Broken(KeptAttribute, ("'hidden'", "--state")),
    "state in a buffer": Broken(KeptBuffer, ("'memory'", "--state")),
    "state in a list": Broken(KeptFrames, ("'_past'", "--state")),
    "counter": Broken(Counter, ("'_step'", "--state")),
    "normalizer that learns": Broken(Learning, ("'running_mean' changed",)),
    "dropout out of reach": Broken(Dropping, ("dropout that eval() does not", "zoo.py:")),
    "sampling": Broken(Sampling, ("a draw (aten.normal", "zoo.py:")),
    "noise": Broken(Noise, ("a draw (aten.randn", "zoo.py:")),
    "unused input": Broken(
        Unused, ("input 'goal'", "nothing uses"), (*OBS, TensorShape("goal", (1, 2)))
    ),
    "assignment": Broken(Assigning, ("input 'obs'", "assignment into it")),
    "assignment far out": Broken(Bounding, ("input 'obs'", "assignment into it")),
    "noise of numpy": Broken(NumpyNoise, ("a draw of numpy's random numbers",)),
    "state in an object": Broken(KeptInAnObject, ("'memory'.last changed", "--state")),
    "function of numpy": Broken(NumpyFunction, ("detour through numpy", "zoo.py:")),
    "numpy": Broken(Numpy, ("detour through numpy", "zoo.py:")),
    "double constant": Broken(DoubleConstant, ("output 'actions'", "got float64")),
    "double module": Broken(lambda: Mlp().double(), ("'net.0.weight'", "got float64")),
    "no conversion": Broken(NoConversion, ("no conversion of aten._linalg_svd",)),
    "fixed view": Broken(FixedView, ("a batch that the network's code fixes",), dynamic=True),
    "row loop": Broken(RowLoop, ("batch",), dynamic=True),
    "open shape": Broken(OpenShape, ("output 'actions'", "depend")),
    "other names": Broken(OtherNames, ("the outputs actions, got mean",)),
    "not finite": Broken(NotFinite, ("output 'actions'", "finite numbers")),
    "opset too low": Broken(Mlp, ("--opset", "18 to 20", "got 13"), opset=13),
    "opset too high": Broken(Mlp, ("--opset", "got 26"), opset=26),
}


def as_policy(good: Good) -> TrainedPolicy:
    return TrainedPolicy(
        good.name, seeded(good.make), good.inputs, good.outputs, lambda: None, good.states
    )
