"""Feeds published policies (next to the repository) and raw signals to the node's pipeline."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from policy_runner.backends.load import load_model
from policy_runner.core.model import Model
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import PolicySpec, SpecFile, read_spec

REPOSITORY = Path(__file__).resolve().parents[2]
POLICIES = REPOSITORY.parent / "shared" / "data" / "policies"
SPECS = Path(__file__).parent / "specs"
needs_policies = pytest.mark.skipif(
    not POLICIES.is_dir(), reason="the published policies (../shared/data/policies) are not here"
)
# The input and field of each array in a signals file.
FIELDS = {
    "sensor_msgs/msg/Imu": {
        "orientation": "imu_orientation_xyzw",
        "angular_velocity": "imu_angular_velocity",
    },
    "nav_msgs/msg/Odometry": {
        "pose.pose.orientation": "imu_orientation_xyzw",
        "twist.twist.angular": "imu_angular_velocity",
        "twist.twist.linear": "base_linear_velocity",
    },
}
AXES = {"linear.x": 0, "linear.y": 1, "angular.z": 2}
MS = 1_000_000


class Run(NamedTuple):
    """The model's inputs and the commands, tick by tick."""

    observation: np.ndarray  # [ticks, elements]
    target: np.ndarray  # [ticks, elements], in the order of `names`
    names: list[str]
    kinds: list[str]
    model: Model


def content_of(folder: str) -> dict[str, Any]:
    """Return the spec for a folder as plain data, which the caller may change."""
    content: dict[str, Any] = yaml.safe_load((SPECS / f"{folder}.yaml").read_text("utf-8"))
    return copy.deepcopy(content)  # aliases become copies


def spec_beside_model(folder: str, content: Mapping[str, Any] | None = None) -> SpecFile:
    """Return the spec, or changed content, as if the file were in the policy's folder."""
    if content is None:
        spec = read_spec(SPECS / f"{folder}.yaml").spec
    else:
        spec = PolicySpec.model_validate(content)
    return SpecFile(spec, POLICIES / folder / "policy.yaml")


def load(spec_file: SpecFile) -> Model:
    """Load the spec's model on the CPU backend."""
    path = spec_file.next_to(spec_file.spec.model.file, "model.file")
    return load_model("onnxruntime", path, spec_file.spec.model.sha256, spec_file.path)


def signals_of(folder: str) -> dict[str, np.ndarray]:
    """Return the raw signals and the expected results."""
    (path,) = (POLICIES / folder).glob("signals_*.npz")
    with np.load(path) as stored:
        return {key: stored[key] for key in stored.files}


def run_signals(spec_file: SpecFile, signals: Mapping[str, np.ndarray], seed: int = 0) -> Run:
    """Run an inference per row of the signals; every joint state has a new random order."""
    model = load(spec_file)
    spec = spec_file.spec
    count = sum(len(group.names) for tensor in spec.action for group in tensor.groups)
    period_ns = round(spec.control_dt * 1e9)
    settings = Settings(
        period_ns, 1, {name: InputRule(100 * MS) for name in spec.inputs},
        CommandLimits.none(count), hold_recover_ns=0,
    )  # fmt: skip
    pipeline = build_pipeline(spec_file, model, settings, {}, lambda: 0)
    pipeline.activate()
    names = signals["joint_state_names"].tolist()
    random = np.random.default_rng(seed)
    observation, target = [], []
    for tick in range(len(signals["command"])):
        now_ns = (tick + 1) * period_ns
        for slot in pipeline.slots.values():
            if slot.joints is not None:
                order = random.permutation(len(names)) if tick % 3 == 2 else np.arange(len(names))
                fault = slot.joints.merge(
                    [names[k] for k in order],
                    {
                        "position": signals["joint_position"][tick][order],
                        "velocity": signals["joint_velocity"][tick][order],
                    },
                    now_ns,
                )
                assert not fault
            for path, array in slot.arrays.items():
                field = path.removeprefix("twist.")
                if field in AXES:
                    array[:] = signals["command"][tick, AXES[field]]
                else:
                    array[:] = signals[FIELDS[slot.spec.type][path]][tick]
            slot.received(now_ns, now_ns)
        step = pipeline.step(now_ns)
        assert step.decision is Decision.RUN, pipeline.safety.detail
        assert step.command is not None
        observation.append(model.inputs["obs"].reshape(-1).copy())
        target.append(step.command.copy())
    assert pipeline.inferences == len(target)
    elements = pipeline.elements
    return Run(
        np.array(observation), np.array(target),
        [element.joint for element in elements], [element.kind for element in elements], model,
    )  # fmt: skip


def excess(found: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest |found - reference| / (1e-4 + 1e-5 |reference|)."""
    allowed = 1e-4 + 1e-5 * np.abs(reference)
    return float(np.max(np.abs(found - reference) / allowed))
