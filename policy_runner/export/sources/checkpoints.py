"""Checkpoints of rsl_rl, rl_games and skrl: weights alone, from which the actor is built again.

Sizes follow from the weights. The activation does not: the caller says it. Layouts:

- rsl_rl 5: `actor_state_dict` with `mlp.N.*`, `rnn.rnn.*`, `obs_normalizer.*`; rsl_rl 1 to 3:
  `model_state_dict` with `actor.N.*`, `memory_a.rnn.*`, `actor_obs_normalizer.*`.
- rl_games 1.6: `model` with `a2c_network.actor_mlp.N.*`, `a2c_network.mu.*`, `running_mean_std.*`.
- skrl 1 and 2, models made by its instantiator: `policy` with `net_container.N.*`,
  `policy_layer.*`; `state_preprocessor` or `observation_preprocessor` next to it.
"""

from __future__ import annotations

import importlib
import itertools
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
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


COMPILED = "_orig_mod."


@dataclass(frozen=True)
class Layout:
    """Where a trainer keeps the parts of its actor."""

    trainer: str  # also the preset of its normalizer
    weights: tuple[str, ...]  # keys of the checkpoint, one of them
    hidden: tuple[str, ...]  # prefix of numbered linear layers, one of them
    last: tuple[str, ...] = ()  # prefix of a last linear layer of another name
    memory: tuple[str, ...] = ()  # prefix of an LSTM's or GRU's parameters
    normalizer: tuple[str, ...] = ()  # prefix among the weights, or a key of the checkpoint
    statistics: tuple[tuple[str, str], ...] = ()  # (ours, theirs)
    count: str = "count"
    unneeded: tuple[str, ...] = ()  # prefixes of weights that the actor does not need


LAYOUTS = (
    Layout(
        "rsl_rl", ("actor_state_dict", "model_state_dict"), ("mlp", "actor"),
        memory=("rnn.rnn", "memory_a.rnn", "memory.rnn"),
        normalizer=("obs_normalizer", "actor_obs_normalizer"),
        statistics=(("mean", "_mean"), ("std", "_std")),
        unneeded=("critic", "memory_c", "std", "log_std", "distribution", "critic_obs_normalizer",
                  "obs_normalizer", "actor_obs_normalizer"),
    ),
    Layout(
        "rl_games", ("model",), ("a2c_network.actor_mlp",), ("a2c_network.mu",),
        normalizer=("running_mean_std",),
        statistics=(("mean", "running_mean"), ("var", "running_var")),
        unneeded=("a2c_network.sigma", "a2c_network.value", "a2c_network.critic_mlp",
                  "value_mean_std", "running_mean_std"),
    ),
    Layout(
        "skrl", ("policy",), ("net_container",), ("policy_layer", "mean_layer"),
        normalizer=("state_preprocessor", "observation_preprocessor"),
        statistics=(("mean", "running_mean"), ("var", "running_variance")),
        count="current_count", unneeded=("log_std_parameter", "value_layer"),
    ),
)  # fmt: skip


def load_checkpoint(path: Path, trusted: bool = False) -> Any:
    """The content of a .pt file that holds weights alone.

    Raises:
        Refusal: a file that needs a pickle to be run, or that torch cannot read.
    """
    import torch

    try:
        # torch warns of other pickle protocols, and refuses what it cannot read anyway.
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_scalars()):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" in str(error) or "Weights only" in str(error):
            if trusted:
                return load_module_pickle(path, trusted)
            raise pickle_refusal(path, "a pickle with more than weights") from error
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise refuse(str(path), "", "a file that torch.save wrote", text) from error


def _numpy_scalars() -> list[Any]:
    """What a checkpoint's rewards are made of, next to its weights: numbers, no code."""
    for name in ("numpy._core.multiarray", "numpy.core.multiarray"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        kinds = [type(np.dtype(one)) for one in (np.float64, np.float32, np.int64)]
        return [module.scalar, np.dtype, *kinds]
    return []


def layout_of(content: Any) -> Layout | None:
    """The layout of a loaded file; None where it is no checkpoint that is known here."""
    if not isinstance(content, Mapping):
        return None
    for layout in LAYOUTS:
        stored = _weights(content, layout)
        if any(_numbers(stored, prefix) for prefix in layout.hidden):
            return layout
    return None


def _weights(content: Mapping[str, Any], layout: Layout) -> Mapping[str, Any]:
    for key in layout.weights:
        if isinstance(content.get(key), Mapping):
            # torch.compile wraps the module, and every name begins with its attribute.
            return {str(n).removeprefix(COMPILED): v for n, v in content[key].items()}
    return {}


def of_checkpoint(
    path: Path, content: Mapping[str, Any], layout: Layout, activation: str | None
) -> TrainedPolicy:
    """The actor of a checkpoint.

    Raises:
        Refusal: no activation, or weights of another layout.
    """
    stored = _weights(content, layout)
    if activation is None:
        remedy = "a checkpoint does not hold it: see the training's configuration"
        raise refuse(str(path), "--activation", f"one of {', '.join(ACTIVATIONS)}", "none", remedy)
    if activation not in ACTIVATIONS:
        hint = did_you_mean(activation, ACTIVATIONS)
        expected = f"one of {', '.join(ACTIVATIONS)}"
        raise refuse(str(path), "--activation", expected, f"'{activation}'", hint)
    layers, used = _layers(path, stored, layout)
    memory: dict[str, Any] = {}
    for prefix in layout.memory:
        found = {n: v for n, v in stored.items() if n.startswith(f"{prefix}.")}
        memory |= {name.removeprefix(f"{prefix}."): value for name, value in found.items()}
        used |= found.keys()
    left = [n for n in stored if n not in used and not n.startswith(layout.unneeded)]
    if left:
        expected = "an MLP, perhaps after an LSTM or a GRU"
        remedy = "export the module by its import path"
        raise refuse(str(path), "weights", expected, f"also {', '.join(left[:4])}", remedy)
    module, states = _build(path, layers, ACTIVATIONS[activation], memory)
    size = _input_size(layers, memory)
    statistics = checkpoint_statistics(path, content, layout)
    facts = {"source": path.name, "activation": activation}
    for key in ("iter", "epoch"):
        if isinstance(content.get(key), int):
            facts["iteration"] = str(content[key])
    sizes = [weight.shape[1] for weight, _ in layers] + [layers[-1][0].shape[0]]
    facts["layers"] = " - ".join(str(one) for one in sizes)
    policy = TrainedPolicy(
        kind=f"{layout.trainer} checkpoint {path.name}",
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
    if layout.trainer == "rl_games":
        policy.notes.append(
            "rl_games clips actions to [-1, 1] unless the training's clip_actions is false: say it"
            " as clip_raw in the contract"
        )
    return policy


def _numbers(stored: Mapping[str, Any], prefix: str) -> list[int]:
    pattern = rf"{re.escape(prefix)}\.(\d+)\.weight"
    found = (re.fullmatch(pattern, name) for name in stored)
    return sorted(int(match[1]) for match in found if match)


def _layers(
    path: Path, stored: Mapping[str, Any], layout: Layout
) -> tuple[list[tuple[Any, Any]], set[str]]:
    """(weight, bias) of every linear layer in order, and the names that they have."""
    names = [f"{p}.{k}" for p in layout.hidden for k in _numbers(stored, p)]
    names += [name for name in layout.last if f"{name}.weight" in stored]
    pairs = [(stored[f"{name}.weight"], stored.get(f"{name}.bias")) for name in names]
    for name, (weight, bias) in zip(names, pairs, strict=True):
        if weight.ndim != 2 or bias is None:
            got = f"a weight of {list(weight.shape)}" + ("" if bias is not None else ", no bias")
            remedy = "export the module by its import path"
            raise refuse(str(path), f"weights '{name}'", "a linear layer", got, remedy)
    for first, second in itertools.pairwise(pairs):
        if first[0].shape[0] != second[0].shape[1]:
            expected, got = "layers that follow from one another", "other sizes"
            raise refuse(str(path), "weights", expected, got)
    return pairs, {f"{name}.{part}" for name in names for part in ("weight", "bias")}


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


def checkpoint_statistics(
    path: Path, content: Mapping[str, Any], layout: Layout
) -> Statistics | None:
    """The actor's normalizer in a checkpoint, float64; None where there is none.

    Raises:
        Refusal: a part of it is missing.
    """
    stored = _weights(content, layout)
    for prefix in layout.normalizer:
        inside = {
            n.removeprefix(f"{prefix}."): v for n, v in stored.items() if n.startswith(prefix)
        }
        given = content.get(prefix)
        found = given if isinstance(given, Mapping) else inside
        if not found:
            continue
        values = {}
        for ours, theirs in layout.statistics:
            if theirs not in found:
                got = ", ".join(map(str, found))
                raise refuse(str(path), f"{prefix}.{theirs}", "this statistic", got)
            values[ours] = np.asarray(found[theirs].double().numpy()).reshape(-1)
        count = found.get(layout.count)
        return Statistics(layout.trainer, values, count=None if count is None else float(count))
    return None
