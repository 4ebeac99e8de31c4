"""Checkpoints of rsl_rl: weights alone, from which the actor is built again.

Layouts: rsl_rl 5 (`actor_state_dict`: `mlp.N.weight`, `rnn.rnn.*`, `obs_normalizer.*`) and rsl_rl
1 to 3 (`model_state_dict`: `actor.N.weight`, `memory_a.rnn.*`, `actor_obs_normalizer.*`). Sizes
follow from the weights. The activation does not: the caller says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.export.sources.module_source import load_module_pickle, pickle_refusal
from policy_runner.export.sources.trained_policy import (
    NetworkTruth,
    StateTensor,
    Statistics,
    TensorShape,
    TrainedPolicy,
)

# rsl_rl.utils.resolve_nn_activation's names.
ACTIVATIONS = {"elu": "ELU", "selu": "SELU", "relu": "ReLU", "crelu": "CELU", "lrelu": "LeakyReLU",
               "tanh": "Tanh", "sigmoid": "Sigmoid", "softplus": "Softplus", "gelu": "GELU",
               "swish": "SiLU", "mish": "Mish", "identity": "Identity"}  # fmt: skip
EPS = 1e-2  # EmpiricalNormalization's default, in every version from 1.0.2 to 5.5
_HEADS = ("mlp", "actor")


def load_checkpoint(path: Path, trusted: bool = False) -> Any:
    """The content of a .pt file that holds weights alone.

    Raises:
        Refusal: a file that needs a pickle to be run, or that torch cannot read.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" in str(error) or "Weights only" in str(error):
            if trusted:
                return load_module_pickle(path, trusted)
            raise pickle_refusal(path, "a pickle with more than weights") from error
        text = " ".join(str(error).split())[:200]
        raise refuse(str(path), "", "a file that torch.save wrote", text) from error


def is_checkpoint(content: Any) -> bool:
    """Whether a loaded file is a checkpoint of rsl_rl."""
    return isinstance(content, Mapping) and bool(
        {"actor_state_dict", "model_state_dict"} & content.keys()
    )


def of_checkpoint(path: Path, content: Mapping[str, Any], activation: str | None) -> TrainedPolicy:
    """The actor of a checkpoint.

    Raises:
        Refusal: no activation, or weights of another layout.
    """
    stored = content.get("actor_state_dict", content.get("model_state_dict"))
    if activation is None:
        remedy = "a checkpoint does not hold it: see the training's configuration"
        raise refuse(str(path), "--activation", f"one of {', '.join(ACTIVATIONS)}", "none", remedy)
    if activation not in ACTIVATIONS:
        hint = did_you_mean(activation, ACTIVATIONS)
        expected = f"one of {', '.join(ACTIVATIONS)}"
        raise refuse(str(path), "--activation", expected, f"'{activation}'", hint)
    layers, head = _layers(path, stored)
    memory = {
        match[1]: value
        for name, value in stored.items()
        if (match := re.fullmatch(r"(?:rnn|memory_a|memory)\.rnn\.(\w+)", name))
    }
    module, states = _build(path, layers, ACTIVATIONS[activation], memory)
    size = _input_size(layers, memory)
    statistics = _statistics(path, stored, size)
    facts = {"source": path.name, "activation": activation}
    if "iter" in content:
        facts["iteration"] = str(content["iter"])
    sizes = [layer.shape[1] for layer, _ in layers] + [layers[-1][0].shape[0]]
    facts["layers"] = " - ".join(str(one) for one in sizes)
    policy = TrainedPolicy(
        kind=f"rsl_rl checkpoint {path.name}",
        module=module,
        inputs=[TensorShape("obs", (1, size))],
        outputs=["actions"],
        states=states,
        statistics={"obs": statistics} if statistics else {},
        facts=facts,
        truth=lambda: NetworkTruth(policy),
    )
    if statistics is None:
        policy.notes.append("the checkpoint holds no normalizer of the actor's observation")
    known = {f"{head}.{name}" for name in _numbered(stored, head)}
    left = [n for n in stored if n.split(".")[0] not in (
        head, "rnn", "memory_a", "memory", "critic", "memory_c", "std", "log_std", "distribution",
        "obs_normalizer", "actor_obs_normalizer", "critic_obs_normalizer",
    )]  # fmt: skip
    if left or not known:
        expected = "an MLP, perhaps after an LSTM or a GRU"
        remedy = "export the module by its import path"
        raise refuse(str(path), "weights", expected, f"also {', '.join(left[:4])}", remedy)
    return policy


def _numbered(stored: Mapping[str, Any], head: str) -> list[str]:
    return [n.removeprefix(f"{head}.") for n in stored if n.startswith(f"{head}.")]


def _layers(path: Path, stored: Mapping[str, Any]) -> tuple[list[tuple[Any, Any]], str]:
    for head in _HEADS:
        numbers = sorted(
            int(match[1])
            for name in stored
            if (match := re.fullmatch(rf"{head}\.(\d+)\.weight", name))
        )
        if numbers:
            pairs = [(stored[f"{head}.{k}.weight"], stored[f"{head}.{k}.bias"]) for k in numbers]
            if all(weight.ndim == 2 for weight, _ in pairs):
                return pairs, head
    got = ", ".join(list(stored)[:6]) or "nothing"
    expected = "an actor: mlp.N.weight or actor.N.weight of linear layers"
    raise refuse(str(path), "weights", expected, got, "export the module by its import path")


def _input_size(layers: list[tuple[Any, Any]], memory: Mapping[str, Any]) -> int:
    first = memory["weight_ih_l0"] if memory else layers[0][0]
    return int(first.shape[1])


def _build(
    path: Path, layers: list[tuple[Any, Any]], activation: str, memory: Mapping[str, Any]
) -> tuple[Any, list[StateTensor]]:
    """The actor as a module: [memory ->] linear, activation, ..., linear."""
    import torch

    parts: list[Any] = []
    for k, (weight, bias) in enumerate(layers):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        parts += [linear] + ([getattr(torch.nn, activation)()] if k + 1 < len(layers) else [])
    network = torch.nn.Sequential(*parts).eval()
    if not memory:
        return network, []
    hidden = int(memory["weight_hh_l0"].shape[1])
    gates = int(memory["weight_ih_l0"].shape[0]) // hidden
    depth = sum(name.startswith("weight_ih_l") for name in memory)
    if gates not in (3, 4):
        raise refuse(str(path), "rnn", "an LSTM or a GRU", f"{gates} gates")
    kind = torch.nn.LSTM if gates == 4 else torch.nn.GRU
    recurrent = kind(int(memory["weight_ih_l0"].shape[1]), hidden, depth)
    recurrent.load_state_dict(dict(memory))

    class Remembering(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.network = recurrent, network

        def forward(self, obs: Any, *state: Any) -> tuple[Any, ...]:
            given = tuple(state) if len(state) == 2 else state[0]
            out, following = self.memory(obs.unsqueeze(0), given)
            following = following if isinstance(following, tuple) else (following,)
            return (self.network(out.squeeze(0)), *following)

    shape = (depth, 1, hidden)
    names = ("h", "c") if gates == 4 else ("h",)
    states = [StateTensor(TensorShape(f"{n}_in", shape), f"{n}_out", 1) for n in names]
    return Remembering().eval(), states


def _statistics(path: Path, stored: Mapping[str, Any], size: int) -> Statistics | None:
    for prefix in ("obs_normalizer", "actor_obs_normalizer"):
        if f"{prefix}._mean" not in stored:
            continue
        values = {
            name: np.asarray(stored[f"{prefix}._{name}"].numpy(), dtype=np.float64).reshape(-1)
            for name in ("mean", "std")
        }
        count = stored.get(f"{prefix}.count")
        if values["mean"].size != size:
            expected = f"{size} numbers, one per observation"
            raise refuse(str(path), f"{prefix}._mean", expected, f"{values['mean'].size}")
        return Statistics("rsl_rl", values, count=None if count is None else float(count))
    return None
