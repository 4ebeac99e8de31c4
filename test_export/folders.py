"""Sources of every kind, exported once each and shared by all tests."""

from __future__ import annotations

import functools
import itertools
import pickle
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from zoo import Gru, Mlp, seeded

from policy_runner.export.policy_export import Exported, export_policy
from policy_runner.export.sources.open_source import SourceOptions
from policy_runner.export.sources.trained_policy import TensorShape

HERE = Path(__file__).parent
SCALE = 0.12345678901234567  # 12 decimals would lose it
LOW, HIGH = np.array([-1.0, -2.0], np.float32), np.array([1.0, 3.0], np.float32)


class Robot(gymnasium.Env):
    """Two joints: 6 observations, 2 actions with bounds that differ."""

    observation_space: Any = gymnasium.spaces.Box(-np.inf, np.inf, (6,))
    action_space: Any = gymnasium.spaces.Box(LOW, HIGH)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


class Chooser(Robot):
    action_space = gymnasium.spaces.Discrete(3)


class Parts(Robot):
    observation_space = gymnasium.spaces.Dict(
        {
            "image": gymnasium.spaces.Box(0, 255, (1, 36, 36), np.uint8),
            "joints": gymnasium.spaces.Box(-np.inf, np.inf, (6,)),
        }
    )


JOINT_TERMS = [
    {"term": "joint_position", "input": "joints"}, {"term": "joint_velocity", "input": "joints"},
    {"term": "last_action"},
]  # fmt: skip


def contract(**changes: Any) -> dict[str, Any]:
    return {
        "control_dt": 0.02,
        "joint_names": ["hip", "knee"],
        "inputs": {"joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"}},
        "observation": [{"tensor": "obs", "terms": JOINT_TERMS}],
        "action": [{
            "tensor": "actions",
            "groups": [{"kind": "position", "joints": ["hip", "knee"], "scale": SCALE}],
        }],
        "last_action": "clipped",
        **changes,
    }  # fmt: skip


def not_normalized(terms: Any = JOINT_TERMS) -> list[dict[str, Any]]:
    return [{"tensor": "obs", "terms": terms, "normalization": "none"}]


def random_statistics(folder: Path, env: Any) -> Path:
    """A VecNormalize pickle with numbers that were learnt."""
    wrapped = VecNormalize(DummyVecEnv([env]))
    random = np.random.default_rng(5)
    wrapped.obs_rms.mean = random.normal(0, 2, 6)
    wrapped.obs_rms.var = random.uniform(0.01, 4, 6)
    wrapped.obs_rms.count = 1000.0
    path = folder / "vecnormalize.pkl"
    wrapped.venv = None
    path.write_bytes(pickle.dumps(wrapped))
    return path


def shaken(model: Any) -> Any:
    """Larger weights than fresh ones, so that the answers differ."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, one in model.policy.named_parameters():
            if "log_std" not in name:
                one += 0.1 * torch.randn_like(one)
    return model


def rsl_rl_checkpoint(path: Path, recurrent: bool) -> Path:
    """A checkpoint as rsl_rl 5 (an MLP with its normalizer) or 3 (an LSTM) writes it."""
    torch.manual_seed(9)
    sizes = [6, 16, 16, 2] if not recurrent else [16, 16, 2]
    head = "actor" if recurrent else "mlp"
    stored: dict[str, Any] = {}
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        linear = torch.nn.Linear(a, b)
        stored[f"{head}.{2 * k}.weight"] = linear.weight.detach()
        stored[f"{head}.{2 * k}.bias"] = linear.bias.detach()
    if recurrent:
        lstm = torch.nn.LSTM(6, 16)
        stored |= {f"memory_a.rnn.{n}": v.detach() for n, v in lstm.named_parameters()}
        stored["std"] = torch.ones(2)
        torch.save({"model_state_dict": stored, "iter": 1500}, path)
        return path
    stored["obs_normalizer._mean"] = torch.linspace(-1, 1, 6)[None]
    stored["obs_normalizer._var"] = torch.linspace(0.25, 4, 6)[None]
    stored["obs_normalizer._std"] = stored["obs_normalizer._var"].sqrt()
    stored["obs_normalizer.count"] = torch.tensor(4096)
    stored["distribution.std_param"] = torch.ones(2)
    torch.save({"actor_state_dict": stored, "iter": 1500}, path)
    return path


def other_checkpoint(path: Path, trainer: str) -> Path:
    """A checkpoint as rl_games 1.6 or skrl writes it, with its normalizer."""
    torch.manual_seed(9)
    one, two, last = torch.nn.Linear(6, 16), torch.nn.Linear(16, 16), torch.nn.Linear(16, 2)
    mean, var = torch.linspace(-1, 1, 6).double(), torch.linspace(0.25, 4, 6).double()
    hidden, end = {
        "rl_games": ("a2c_network.actor_mlp", "a2c_network.mu"),
        "skrl": ("net_container", "policy_layer"),
    }[trainer]
    stored: dict[str, Any] = {}
    for name, layer in ((f"{hidden}.0", one), (f"{hidden}.2", two), (end, last)):
        stored |= {f"{name}.{n}": v.detach() for n, v in layer.named_parameters()}
    if trainer == "skrl":
        stored["log_std_parameter"] = torch.zeros(2)
        kept = {"running_mean": mean, "running_variance": var, "current_count": torch.tensor(1e4)}
        torch.save({"policy": stored, "value": {}, "state_preprocessor": kept}, path)
        return path
    stored |= {
        "a2c_network.sigma": torch.zeros(2), "a2c_network.value.weight": torch.zeros(1, 16),
        "running_mean_std.running_mean": mean, "running_mean_std.running_var": var,
        "running_mean_std.count": torch.tensor(1e4).double(),
    }  # fmt: skip
    torch.save({"model": stored, "epoch": 100, "last_mean_rewards": np.float64(3.5)}, path)
    return path


class Small(torch.nn.Module):
    """6 observations, 2 actions, for import by path."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
        )

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.net(obs)


class Wide(Small):
    """Weights of more than a kilobyte each, which go next to the graph of a large model."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(6, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2)
        )


class SmallGru(Gru):
    def __init__(self) -> None:
        torch.manual_seed(4)
        super().__init__()
        self.rnn = torch.nn.GRU(6, 16)
        self.head = torch.nn.Linear(16, 2)


class Made(NamedTuple):
    """A source, its options, its contract, and its folder."""

    source: Any
    options: SourceOptions
    exported: Exported

    @property
    def folder(self) -> Path:
        return self.exported.folder


@functools.lru_cache
def base() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="policy_runner-export-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[Any] = []
OBS6 = (TensorShape("obs", (1, 6)),)
SMALL = {"net_arch": [16, 16]}
OFF = {"buffer_size": 10}


@functools.lru_cache
def made(kind: str) -> Made:
    """The folder of a kind of source; see `KINDS`."""
    folder = base() / kind
    folder.mkdir()
    source, options, given, further = KINDS[kind](folder)
    done = export_policy(source, folder / "policy", given, options=options, **further)
    return Made(source, options, done)


def _saved(model: Any, folder: Path) -> Path:
    shaken(model).save(folder / "model.zip")
    return folder / "model.zip"


def _ppo(folder: Path, **further: Any) -> Any:
    model = PPO("MlpPolicy", Robot(), policy_kwargs={**SMALL, "activation_fn": torch.nn.ELU})
    options = SourceOptions(normalizer=random_statistics(folder, Robot))
    return _saved(model, folder), options, contract(), further


def _sac(folder: Path) -> Any:
    model = SAC("MlpPolicy", Robot(), policy_kwargs={**SMALL}, **OFF)
    return _saved(model, folder), SourceOptions(), contract(observation=not_normalized()), {}


def _td3(folder: Path) -> Any:
    model = TD3("MlpPolicy", Robot(), policy_kwargs={**SMALL}, **OFF)
    return _saved(model, folder), SourceOptions(), contract(observation=not_normalized()), {}


def _recurrent(folder: Path) -> Any:
    arguments = {**SMALL, "lstm_hidden_size": 16}
    model = RecurrentPPO("MlpLstmPolicy", Robot(), policy_kwargs=arguments)
    given = contract(observation=not_normalized())
    return _saved(model, folder), SourceOptions(), given, {"dynamic_batch": True}


def _discrete(folder: Path) -> Any:
    model = PPO("MlpPolicy", Chooser(), policy_kwargs={**SMALL})
    table = [[-0.5, 0.0], [0.0, 0.25], [0.5, 0.5]]
    group = {"kind": "position", "joints": ["hip", "knee"], "argmax": {"table": table}}
    given = contract(
        observation=not_normalized(), action=[{"tensor": "actions", "groups": [group]}]
    )
    return _saved(model, folder), SourceOptions(), given, {}


def _parts(folder: Path) -> Any:
    model = PPO("MultiInputPolicy", Parts(), policy_kwargs={**SMALL})
    image = {"term": "image", "input": "camera", "color": "gray", "size": [36, 36],
             "layout": "chw", "scale": 1.0}  # fmt: skip
    inputs = {
        **contract()["inputs"],
        "camera": {"type": "sensor_msgs/msg/Image", "topic": "image_raw"},
    }
    observation = [
        {"tensor": "image", "whole": image},
        {"tensor": "joints", "terms": JOINT_TERMS, "normalization": "none"},
    ]
    given = contract(observation=observation, inputs=inputs)
    return _saved(model, folder), SourceOptions(keep_value=True), given, {}


def _rsl_rl(folder: Path) -> Any:
    path = rsl_rl_checkpoint(folder / "model_1500.pt", recurrent=False)
    return path, SourceOptions(activation="elu"), contract(last_action="raw"), {}


def _rsl_rl_lstm(folder: Path) -> Any:
    path = rsl_rl_checkpoint(folder / "model_1500.pt", recurrent=True)
    given = contract(observation=not_normalized())
    return path, SourceOptions(activation="elu"), given, {}


def _other(folder: Path, trainer: str) -> Any:
    path = other_checkpoint(folder / "agent.pth", trainer)
    return path, SourceOptions(activation="elu"), contract(), {}


def _module(folder: Path) -> Any:
    options = SourceOptions(inputs=OBS6, folder=HERE)
    return "folders:Small", options, contract(observation=not_normalized()), {
        "dynamic_batch": True
    }  # fmt: skip


def _gru(folder: Path) -> Any:
    options = SourceOptions(
        inputs=(*OBS6, TensorShape("h_in", (1, 1, 16))), outputs=["actions", "h_out"],
        states=["h_in:h_out"], folder=HERE,
    )  # fmt: skip
    return "folders:SmallGru", options, contract(observation=not_normalized()), {}


def _torchscript(folder: Path) -> Any:
    path = folder / "policy.pt"
    torch.jit.trace(seeded(Mlp).eval(), torch.zeros(1, 12)).save(path)
    action = [{
        "tensor": "actions",
        "groups": [{"kind": "position", "joints": ["hip", "knee"]},
                   {"kind": "velocity", "joints": ["hip", "knee"]}],
    }]  # fmt: skip
    terms = [JOINT_TERMS[0], JOINT_TERMS[1], {"term": "last_action"},
             {"term": "constant", "value": [0.5] * 4}]  # fmt: skip
    given = contract(observation=not_normalized(terms), action=action)
    return path, SourceOptions(inputs=(TensorShape("obs", (1, 12)),)), given, {}


KINDS: dict[str, Any] = {
    "ppo": _ppo,
    "ppo in graph": functools.partial(_ppo, in_graph=True),
    "sac": _sac,
    "td3": _td3,
    "recurrent ppo": _recurrent,
    "discrete ppo": _discrete,
    "multi input": _parts,
    "rsl_rl": _rsl_rl,
    "rsl_rl lstm": _rsl_rl_lstm,
    "rl_games": functools.partial(_other, trainer="rl_games"),
    "skrl": functools.partial(_other, trainer="skrl"),
    "module": _module,
    "gru": _gru,
    "torchscript": _torchscript,
}
