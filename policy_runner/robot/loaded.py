"""A policy read, checked, loaded and warmed up, before anything of it touches ROS.

Any thread may do this: a reload does it beside the running policy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy_runner.backends.interface import BackendChoice, LoadedModel
from policy_runner.backends.load import forgets, load_model
from policy_runner.core.errors import Problem, Refusal, collect
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.spec import PolicySpec, SpecFile
from policy_runner.core.spec.elements import action_elements
from policy_runner.core.spec.reader import unchecked_files
from policy_runner.robot.limits import with_urdf_limits
from policy_runner.robot.settings import build_settings, mountings, robot_joints
from policy_runner.ros.runner.configure import (
    name_type_parameters,
    stand_in_settings,
    with_robot_types,
)


@dataclass
class Loaded:
    """A policy bound to its model and to the parameters, not yet to topics."""

    spec_file: SpecFile
    model: LoadedModel
    pipeline: Pipeline
    joints: Mapping[str, RobotJoint]
    values: dict[str, Any]
    simulated: bool
    warnings: list[str]

    @property
    def spec(self) -> PolicySpec:
        """The spec, with the message types that this robot's inputs have."""
        return self.spec_file.spec

    @property
    def description(self) -> dict[str, object]:
        """What it is, for diagnostics."""
        return {
            "policy": self.spec.name,
            "spec": str(self.spec_file.path),
            "sha256": self.model.sha256,
            "sha256 not stated": ", ".join(unchecked_files(self.spec)) or "none",
            "backend": self.values["backend"],
            **self.model.facts,
            "joints": ", ".join(self.spec.joint_names),
            "control_dt [s]": self.spec.control_dt,
            "decimation": self.values["decimation"],
        }


def load_policy(
    spec_file: SpecFile | None,
    values: dict[str, Any],
    simulated: bool,
    problems: Sequence[Problem | str] = (),
    warnings: Sequence[str] = (),
) -> Loaded:
    """Load and bind; `problems` and `warnings` are those found so far.

    Raises:
        Refusal: with every problem that could be found.
    """
    problems, warnings = list(problems), list(warnings)
    model = settings = joints = pipeline = None
    trained = spec_file.spec if spec_file is not None else None
    if spec_file is not None:
        spec_file = with_robot_types(spec_file, values)
        # Each part is tried, so that one attempt finds all that is wrong.
        with collect(problems):
            joints = robot_joints(values, spec_file.spec)
            spec_file = with_urdf_limits(spec_file, values, joints)
        spec = spec_file.spec
        with collect(problems):
            elements = action_elements(spec, str(spec_file.path))
            settings = build_settings(values, spec, elements, simulated)
        with collect(problems):
            path = spec_file.beside(spec.model.file, "model.file")
            choice = BackendChoice.of(values)
            model = load_model(choice, path, spec.model.sha256, spec_file.path)
            warnings += [text for name, text in model.facts.items() if name == "warning"]
            warnings += [
                f"{path}: {operation} has no state among the model's inputs: it forgets every time"
                for operation in forgets(path)
            ]
    if values["lockstep"] and not simulated:
        problems.append("parameter lockstep: expected use_sim_time to be true as well, got false")
    if values["lockstep"] and values["command.type"].startswith("float64"):
        expected = "joint_state or joint_trajectory in lockstep, since the answer needs a stamp"
        problems.append(Problem("", "parameter command.type", expected, values["command.type"]))
    if spec_file is not None and model is not None and joints is not None:
        # Without settings the pipeline is built only to find its problems, too.
        settings = settings or stand_in_settings(spec_file.spec)
        with collect(problems):
            pipeline = build_pipeline(
                spec_file, model, settings, joints, time.perf_counter_ns,
                mountings(values, spec_file.spec),
            )  # fmt: skip
    if problems or spec_file is None or model is None or pipeline is None or joints is None:
        if model is not None:
            model.close()
        if trained is not None:
            problems = name_type_parameters(problems, trained, values)
        raise Refusal(list(dict.fromkeys(problems)))
    return Loaded(spec_file, model, pipeline, joints, values, simulated, warnings)
