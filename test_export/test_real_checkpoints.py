"""Checkpoints that rl_games and skrl write with their own classes, against their own answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from folders import contract

from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.open_source import SourceOptions
from policy_runner.export.verify.verify_policy import verify_policy

SEEN = gymnasium.spaces.Box(-np.inf, np.inf, (6,))
COMMANDED = gymnasium.spaces.Box(-1.0, 1.0, (2,))
OPTIONS = SourceOptions(activation="elu")


def learnt(batch: int = 64) -> torch.Tensor:
    return torch.randn(batch, 6) * torch.linspace(0.5, 2.0, 6) + torch.linspace(-1.0, 1.0, 6)


def agree(folder: Path, checkpoint: Path, seen: Any, answers: Any, clips: bool) -> None:
    """Export the checkpoint; it answers as the trainer did and as its own weights do."""
    group = {"kind": "position", "joints": ["hip", "knee"], "scale": 0.5}
    if clips:
        group["clip_raw"] = [-1.0, 1.0]
    given = contract(action=[{"tensor": "actions", "groups": [group]}], last_action="raw")
    export_policy(checkpoint, folder / "policy", given, options=OPTIONS)
    recorded = folder / "recorded.npz"
    np.savez(recorded, **{"observation/obs": seen, "action/actions": answers})
    for source in (recorded, checkpoint):
        found = verify_policy(folder / "policy", source, options=OPTIONS)
        assert found.passed, [row for row in found.rows if row.outcome == "failed"]


@pytest.mark.skipif(find_spec("rl_games") is None, reason="needs rl-games")
@pytest.mark.parametrize("compiled", [False, True])
def test_rl_games_plain_and_compiled(tmp_path: Path, compiled: bool) -> None:
    from rl_games.algos_torch import torch_ext
    from rl_games.algos_torch.models import ModelA2CContinuousLogStd
    from rl_games.algos_torch.network_builder import A2CBuilder

    torch.manual_seed(3)
    network = {
        "separate": False,
        "space": {"continuous": {
            "mu_activation": "None", "sigma_activation": "None", "fixed_sigma": True,
            "mu_init": {"name": "default"}, "sigma_init": {"name": "const_initializer", "val": 0},
        }},
        "mlp": {"units": [16, 16], "activation": "elu", "initializer": {"name": "default"}},
    }  # fmt: skip
    builder = A2CBuilder()
    builder.load(network)
    sizes = {"actions_num": 2, "input_shape": (6,), "num_seqs": 1, "value_size": 1}
    model = ModelA2CContinuousLogStd(builder).build(
        {**sizes, "normalize_value": True, "normalize_input": True}
    )
    for _ in range(5):
        model.train().norm_obs(learnt())
    model.eval()
    # rl_games' runner compiles the model: every name of its weights then begins with _orig_mod.
    stored = (torch.compile(model) if compiled else model).state_dict()
    content = {"model": stored, "epoch": 5, "frame": 320, "last_mean_rewards": np.float32(-1.5)}
    content["optimizer"] = torch.optim.Adam(model.parameters()).state_dict()
    torch_ext.save_checkpoint(str(tmp_path / "agent"), content)
    seen = 2 * learnt(20)
    asked = {"is_train": False, "prev_actions": None, "obs": seen.clone(), "rnn_states": None}
    with torch.no_grad():
        answers = torch.clamp(model(asked)["mus"], -1.0, 1.0)  # as its player does
    agree(tmp_path, tmp_path / "agent.pth", seen.numpy(), answers.numpy(), clips=True)


@pytest.mark.skipif(find_spec("skrl") is None, reason="needs skrl")
@pytest.mark.parametrize("shared", [False, True])
def test_skrl_with_separate_and_shared_models(tmp_path: Path, shared: bool) -> None:
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.memories.torch import RandomMemory
    from skrl.resources.preprocessors.torch import RunningStandardScaler
    from skrl.utils.model_instantiators.torch import (
        deterministic_model,
        gaussian_model,
        shared_model,
    )

    torch.manual_seed(3)
    spaces = {"observation_space": SEEN, "state_space": None, "action_space": COMMANDED}
    layers = [{"name": "net", "input": "OBSERVATIONS", "layers": [16, 16], "activations": "elu"}]
    acting, judging = ({"network": layers, "output": one} for one in ("ACTIONS", "ONE"))
    if shared:
        both = shared_model(
            **spaces, device="cpu", structure=["GaussianMixin", "DeterministicMixin"],
            roles=["policy", "value"], parameters=[acting, judging],
        )  # fmt: skip
        models = {"policy": both, "value": both}
    else:
        models = {
            "policy": gaussian_model(**spaces, device="cpu", **acting),
            "value": deterministic_model(**spaces, device="cpu", **judging),
        }
    for role, one in models.items():
        one.init_state_dict(role=role)
    settings = PPO_CFG(rollouts=4)
    settings.observation_preprocessor = RunningStandardScaler
    settings.observation_preprocessor_kwargs = {"size": SEEN, "device": "cpu"}
    memory = RandomMemory(memory_size=4, num_envs=1, device="cpu")
    agent = PPO(models=models, memory=memory, device="cpu", cfg=settings, **spaces)
    scaler = agent.checkpoint_modules["observation_preprocessor"]
    for _ in range(5):
        scaler(learnt(), train=True)
    agent.save(str(tmp_path / "agent.pt"))
    seen = 2 * learnt(20)
    with torch.no_grad():
        answers, _ = models["policy"].compute({"observations": scaler(seen)}, role="policy")
    agree(tmp_path, tmp_path / "agent.pt", seen.numpy(), answers.numpy(), clips=False)
