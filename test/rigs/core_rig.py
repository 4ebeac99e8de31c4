"""Small builders that the core's tests share: a spec, a model, a robot, a pipeline."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from policy_runner.core.errors import Refusal
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.model import ModelAbilities
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import SpecFile, read_spec

MS = 1_000_000


class FakeModel(ModelAbilities):
    """A model of numpy arrays; `compute` returns the outputs (by name) for the inputs."""

    def __init__(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        compute: Callable[[dict[str, np.ndarray]], Mapping[str, Any]] | None = None,
    ) -> None:
        """Each tensor is a shape, or an array for another type than float32."""
        self.inputs = {name: self._array(given) for name, given in inputs.items()}
        self.outputs = {name: self._array(given) for name, given in outputs.items()}
        self.compute = compute
        self.runs = 0
        self.seen: list[dict[str, np.ndarray]] = []

    @staticmethod
    def _array(given: Any) -> np.ndarray:
        return given if isinstance(given, np.ndarray) else np.zeros(given, dtype=np.float32)

    def run(self) -> None:
        self.runs += 1
        self.seen.append({name: array.copy() for name, array in self.inputs.items()})
        if self.compute is not None:
            for name, value in self.compute(self.inputs).items():
                self.outputs[name][...] = value


class FakeClock:
    """A clock that advances by 1 ns with every reading."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


class Rig:
    """A pipeline with its model, and methods to feed it."""

    def __init__(self, pipeline: Pipeline, model: FakeModel) -> None:
        self.pipeline = pipeline
        self.model = model

    def feed(self, name: str, now_ns: int, **fields: Sequence[float]) -> None:
        """Receive a message: its numbers by field; `__` stands for a dot."""
        slot = self.pipeline.slots[name]
        for field, values in fields.items():
            slot.arrays[field.replace("__", ".")][:] = values
        slot.received(now_ns, now_ns)

    def joints(self, name: str, now_ns: int, names: Sequence[str], **kinds: Any) -> str:
        """Receive a JointState."""
        slot = self.pipeline.slots[name]
        assert slot.joints is not None
        fault = slot.joints.merge(list(names), kinds, now_ns)
        if fault:
            slot.refused(fault)
        else:
            slot.received(now_ns, now_ns)
        return fault


def term(kind: str, **keys: Any) -> dict[str, Any]:
    return {"term": kind, **keys}


def spec_content(**changes: Any) -> dict[str, Any]:
    """Return a small valid spec: two joints, one Twist, one constant input of the policy."""
    content: dict[str, Any] = {
        "schema": "policy_runner/1",
        "name": "small",
        "model": {"file": "policy.onnx"},
        "control_dt": 0.01,
        "joint_names": ["a", "b"],
        "inputs": {"joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"}},
        "observation": [
            {
                "tensor": "obs",
                "terms": [term("joint_velocity", input="joints")],
                "normalization": "none",
            }
        ],
        "action": [{"tensor": "act", "groups": [{"kind": "velocity", "joints": ["a", "b"]}]}],
        "last_action": "raw",
    }
    content.update(copy.deepcopy(changes))
    return content


def write_spec(folder: Path, content: Mapping[str, Any] | str | bytes) -> Path:
    path = folder / "policy.yaml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        path.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    return path


def settings_for(spec_file: SpecFile, **changes: Any) -> Settings:
    size = sum(len(g.names) for t in spec_file.spec.action for g in t.groups)
    given: dict[str, Any] = {
        "period_ns": 10 * MS,
        "decimation": 1,
        "inputs": {name: InputRule(100 * MS) for name in spec_file.spec.inputs},
        "limits": CommandLimits.none(size),
        "hold_recover_ns": 0,
    }
    given.update(changes)
    return Settings(**given)


def fitting_model(spec_file: SpecFile, compute: Any = None, size: int = 2) -> FakeModel:
    spec = spec_file.spec
    count = sum(len(g.names) for g in spec.action[0].groups)
    return FakeModel({"obs": (1, size)}, {"act": (1, count)}, compute)


def make_rig(
    folder: Path,
    content: Mapping[str, Any],
    model: FakeModel | None = None,
    robot: Mapping[str, RobotJoint] | None = None,
    size: int = 2,
    compute: Any = None,
    **settings: Any,
) -> Rig:
    """Return a pipeline with a fake model whose input `obs` has `size` elements."""
    spec_file = read_spec(write_spec(folder, content))
    model = model or fitting_model(spec_file, compute, size)
    pipeline = build_pipeline(
        spec_file, model, settings_for(spec_file, **settings), robot or {}, FakeClock()
    )
    pipeline.activate()
    return Rig(pipeline, model)


def refused(function: Callable[..., Any], *arguments: Any, **keys: Any) -> list[str]:
    """Return the sentences of the Refusal that the call raises."""
    with pytest.raises(Refusal) as caught:
        function(*arguments, **keys)
    return [str(problem) for problem in caught.value.problems]
