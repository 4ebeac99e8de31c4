"""Small policies of several fake models: an encoder before an actor, and a switch of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from core_rig import FakeModel, Rig, make_rig, spec_content, term

from policy_runner.core.model import StateTensors
from policy_runner.core.safety.decision import Decision

TWIST = "geometry_msgs/msg/Twist"


class Group(FakeModel):
    """Several fake models as one, as `ModelGroup` joins loaded ones."""

    def __init__(self, **parts: FakeModel) -> None:
        self.parts = {name.replace("__", "/").removeprefix("main"): m for name, m in parts.items()}
        super().__init__({}, {})


class Keeping(FakeModel):
    """A model that carries its states itself, as TensorRT does."""

    resets = 0

    def keep_states(self, states: Sequence[StateTensors]) -> Callable[[], None] | None:
        self.kept = states

        def reset() -> None:
            self.resets += 1

        return reset


def encoder(kind: type[FakeModel] = FakeModel) -> FakeModel:
    """z = x + m, m' = m + 1: the latent shows what the encoder saw and how often it ran."""
    return kind(
        {"x": (1, 2), "m": (1, 1)},
        {"z": (1, 2), "m_out": (1, 1)},
        lambda given: {"z": given["x"] + given["m"], "m_out": given["m"] + 1},
    )


def actor() -> FakeModel:
    return FakeModel({"obs": (1, 4)}, {"act": (1, 2)}, lambda given: {"act": given["obs"][:, :2]})


def chain_content(every: int = 1, **changes: Any) -> dict[str, Any]:
    """obs is the latent (2), then the joint velocities (2); the action is the latent."""
    velocity = term("joint_velocity", input="joints")
    part = {
        "file": "encoder.onnx",
        "every": every,
        "observation": [{"tensor": "x", "terms": [velocity], "normalization": "none"}],
        "state": [{"input": "m", "output": "m_out"}],
    }
    terms = [term("model_output", model="encoder", tensor="z"), velocity]
    observation = [{"tensor": "obs", "terms": terms, "normalization": "none"}]
    return spec_content(models={"encoder": part}, observation=observation, **changes)


def chain(folder: Path, every: int = 1, kind: type[FakeModel] = FakeModel, **more: Any) -> Rig:
    group = Group(main=actor(), encoder=encoder(kind))
    return make_rig(folder, chain_content(every), group, **more)


def tick(rig: Rig, now_ns: int, velocity: Sequence[float] = (1.0, 2.0)) -> Decision:
    rig.joints("joints", now_ns, ["a", "b"], velocity=list(velocity))
    with np.errstate(all="ignore"):
        return rig.pipeline.step(now_ns).decision


# --- a switch: `slow` counts its inferences in a clock and returns the last action + 1; `fast`
# returns the last action + 100 ---


def adding(number: float) -> FakeModel:
    return FakeModel(
        {"obs": (1, 3)},
        {"act": (1, 2)},
        lambda given: {"act": given["obs"][:, :2] + number},
    )


def switch(
    folder: Path, last_action: str, kind: str = "raw", ema: float = 1.0, **settings: Any
) -> Rig:
    terms = [term("last_action"), term("step_counter")]
    group = {"kind": "velocity", "joints": ["a", "b"], "ema": ema}
    own = {
        "observation": [{"tensor": "obs", "terms": terms, "normalization": "none"}],
        "action": [{"tensor": "act", "groups": [group]}],
        "last_action": kind,
    }
    content = spec_content(
        inputs={"cmd": {"type": TWIST, "topic": "cmd"}},
        switch={
            "first": "slow",
            "value": {"input": "cmd", "fields": ["linear.x"]},
            "thresholds": [{"up": 2.0, "down": 1.0}],
            "state": "keep", "history": "keep", "clocks": "keep", "last_action": last_action,
            "policies": {"fast": {"model": {"file": "fast.onnx"}, **own}},
        },
        **own,
    )  # fmt: skip
    models = Group(main=adding(1.0), fast=adding(100.0))
    return make_rig(folder, content, models, **settings)


def drive(rig: Rig, now_ns: int, speed: float) -> Decision:
    rig.feed("cmd", now_ns, linear__x=[speed])
    return rig.pipeline.step(now_ns).decision
