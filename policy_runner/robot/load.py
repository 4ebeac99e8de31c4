"""A policy spec bound to its model and to parameters, as the node binds it, without ROS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_model
from policy_runner.backends.onnx_file.check import check_model_file, data_files
from policy_runner.core.errors import Problem, Refusal, collect
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.pipeline.pipeline import Model, Pipeline
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.core.spec.elements import action_elements
from policy_runner.robot.limits import with_urdf_limits
from policy_runner.robot.settings import build_settings, mountings, robot_joints
from policy_runner.robot.values import parameter_values
from policy_runner.ros.runner.configure import (
    name_type_parameters,
    stand_in_settings,
    with_robot_types,
)


@dataclass
class Bound:
    """What a command works on; `model` and `pipeline` are the very ones of the node."""

    spec_file: SpecFile
    model: Model
    pipeline: Pipeline
    values: dict[str, Any]
    joints: Mapping[str, RobotJoint]
    warnings: list[str]


def bind(
    spec_path: Path,
    params: Path | None = None,
    types: Mapping[str, str] | None = None,
    commands: bool = False,
) -> Bound:
    """Read, check, load and bind; `types`: message types of inputs that differ from the spec's.

    `commands`: check the parameters `command.*` as well, for which ROS must be there.

    Raises:
        Refusal: every problem that could be found.
    """
    problems: list[Problem | str] = []
    spec_file = None
    with collect(problems):
        spec_file = read_spec(spec_path)
    elements: Any = []
    if spec_file is None:
        parameter_values(params, None, (), problems)
        _look_at_model(spec_path, problems)
        raise Refusal(problems)
    with collect(problems):
        elements = action_elements(spec_file.spec, str(spec_file.path))
    values, warnings = parameter_values(params, spec_file.spec, elements, problems)
    for name, kind in (types or {}).items():
        values[f"inputs.{name}.type"] = kind
    trained = spec_file.spec
    spec_file = with_robot_types(spec_file, values)
    settings = joints = model = pipeline = None
    with collect(problems):
        joints = robot_joints(values, spec_file.spec)
        if values["limits.urdf"] == "topic":
            warnings.append("the limits of robot_description were not read: no topics here")
        else:
            spec_file = with_urdf_limits(spec_file, values, joints)
    spec = spec_file.spec
    with collect(problems):
        settings = replace(build_settings(values, spec, elements), require_arming=False)
    with collect(problems):
        path = spec_file.beside(spec.model.file, "model.file")
        check_model_file(path, spec.model.sha256, spec_file.path)
        data_files(path)
        model = load_model(BackendChoice.of(values), path, spec.model.sha256, spec_file.path)
    turned: dict[str, Any] = {}
    with collect(problems):
        turned = mountings(values, spec)
    if model is not None:
        # With stand-ins only to find what else is wrong: parameters must not hide the spec's.
        with collect(problems):
            pipeline = build_pipeline(
                spec_file, model, settings or stand_in_settings(spec),
                joints or {name: RobotJoint(name) for name in spec.joint_names},
                time.perf_counter_ns, turned,
            )  # fmt: skip
    if commands and pipeline is not None and settings is not None and joints is not None:
        if find_spec("rclpy") is not None:
            from policy_runner.ros.outputs.command_check import command_problems

            problems += command_problems(values, spec, str(spec_file.path), pipeline, joints)
        else:
            warnings.append("the parameters command.* were not checked: rclpy is not here")
    problems = list(dict.fromkeys(name_type_parameters(problems, trained, values)))
    if problems or pipeline is None or model is None or joints is None:
        raise Refusal(problems)
    return Bound(spec_file, model, pipeline, values, joints, warnings)


def _look_at_model(spec_path: Path, problems: list[Problem | str]) -> None:
    """A spec that cannot be read may still name a model that cannot be read either."""
    path = spec_path / "policy.yaml" if spec_path.is_dir() else spec_path
    try:
        name = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["file"]
        model = path.parent / name
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, ValueError):
        return
    with collect(problems):
        check_model_file(model, None, path)
        data_files(model)
