"""Loads a policy: reads, checks, loads and binds it, and warms it up. No ROS.

`load_policy` starts from files, as the commands and users do; `bind_policy` starts from a spec and
the values of parameters, as the node and a reload do. Any thread may call them: a reload does it
next to the running policy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from policy_runner.backends.interface import LoadedModel
from policy_runner.backends.load import forgets, load_model
from policy_runner.backends.onnx_file.check import check_model_file, data_files
from policy_runner.core.errors import Problem, Refusal, collect, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.pipeline.build import build_pipeline, tilt_problems
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import PolicySpec, SpecFile, read_spec
from policy_runner.core.spec.elements import ActionElement, action_elements
from policy_runner.core.spec.reader import unchecked_files
from policy_runner.robot.config import RobotConfig, robot_config
from policy_runner.robot.feed import feed
from policy_runner.robot.limits import with_urdf_limits
from policy_runner.robot.settings import (
    build_settings,
    mountings,
    robot_joints,
    unread_parameters,
)
from policy_runner.robot.values import NODE, parameter_values

Problems = list[Problem | str]


@dataclass
class LoadedPolicy:
    """A policy bound to its model and to the parameters, not yet to topics."""

    spec_file: SpecFile
    model: LoadedModel
    pipeline: Pipeline
    joints: Mapping[str, RobotJoint]
    config: RobotConfig
    values: dict[str, Any]  # of the parameters, by name: what `config` was built from
    warnings: list[str]

    @property
    def spec(self) -> PolicySpec:
        """The spec, with the message types that this robot's inputs have."""
        return self.spec_file.spec

    @cached_property
    def description(self) -> dict[str, object]:
        """What it is, for diagnostics; a reload adds a line."""
        return {
            "policy": self.spec.name,
            "spec": str(self.spec_file.path),
            "sha256": self.model.sha256,
            "sha256 not stated": ", ".join(unchecked_files(self.spec)) or "none",
            "backend": self.config.backend.backend,
            **self.model.facts,
            "joints": ", ".join(self.spec.joint_names),
            "control_dt [s]": self.spec.control_dt,
            "decimation": self.config.loop.decimation,
        }

    def settings_with(self, values: Mapping[str, Any]) -> Settings:
        """The settings that these parameter values give, in place of those it was loaded with.

        Raises:
            Refusal: values that contradict each other or the policy.
        """
        elements, simulated = self.pipeline.elements, self.config.loop.simulated
        config = robot_config({**self.values, **values}, self.spec, elements, simulated)
        settings = build_settings(config, self.spec, elements)
        problems = tilt_problems(settings, self.spec)
        if problems:
            raise Refusal(problems)
        return settings

    def feed(self, name: str, fields: Mapping[str, Any], now_ns: int) -> None:
        """Write one message's numbers into the input `name`; see `robot.feed.feed`.

        Raises:
            Refusal: there is no such input, or the fields are not what the policy reads.
        """
        slots = self.pipeline.slots
        if name not in slots:
            raise refuse("", "inputs", f"one of {', '.join(slots)}", f"'{name}'")
        feed(slots[name], fields, now_ns)

    def close(self) -> None:
        """Give the model's memory and sessions back; nothing may step afterwards."""
        self.model.close()

    def change(self, values: Mapping[str, Any]) -> None:
        """Take these parameter values in place of those it was loaded with.

        Raises:
            Refusal: as `settings_with`; then nothing has changed.
        """
        self.pipeline.settings = self.settings_with(values)
        self.values.update(values)
        elements, simulated = self.pipeline.elements, self.config.loop.simulated
        self.config = robot_config(self.values, self.spec, elements, simulated)


Further = Callable[[LoadedPolicy], Sequence[Problem | str]]


def load_policy(
    spec_path: Path | str,
    params: Path | str | None = None,
    types: Mapping[str, str] | None = None,
    further: Further | None = None,
    node: str = NODE,
) -> LoadedPolicy:
    """Load a policy from files, as the node would, without a node.

    The operator's arming is left out: `pipeline.step` may run at once.

    Args:
        spec_path: a `policy.yaml`, or the folder that holds one.
        params: the node's parameter file; None: every parameter has its default.
        types: message types of inputs that differ from the spec's, by input name.
        further: more checks of the loaded policy; what it returns is added to the problems.
        node: the fully qualified name that the parameter file's sections have to fit.

    Raises:
        Refusal: every problem that could be found.
    """
    spec_path, params = Path(spec_path), None if params is None else Path(params)
    problems: Problems = []
    spec_file = None
    with collect(problems):
        spec_file = read_spec(spec_path)
    if spec_file is None:
        parameter_values(params, None, (), problems, node)
        _look_at_model(spec_path, problems)
        raise Refusal(problems)
    elements: Any = []
    with collect(problems):
        elements = action_elements(spec_file.spec, str(spec_file.path))
    values, warnings = parameter_values(params, spec_file.spec, elements, problems, node)
    for name, kind in (types or {}).items():
        values[f"inputs.{name}.type"] = kind
    if values["limits.urdf"] == "topic":
        values["limits.urdf"] = ""
        warnings.append("the limits of robot_description were not read: no topics here")
    loaded = bind_policy(
        spec_file, values, bool(values["use_sim_time"]), problems, warnings, further
    )
    loaded.pipeline.settings = replace(loaded.pipeline.settings, require_arming=False)
    return loaded


def bind_policy(
    spec_file: SpecFile | None,
    values: dict[str, Any],
    simulated: bool,
    problems: Sequence[Problem | str] = (),
    warnings: Sequence[str] = (),
    further: Further | None = None,
) -> LoadedPolicy:
    """Load the model and bind the spec to it and to the parameters.

    Args:
        spec_file: the policy; None where it could not be read, which `problems` says.
        values: every parameter's value by name, the policy's own included.
        simulated: time is the simulator's.
        problems: what was found so far.
        warnings: what was found so far.
        further: as in `load_policy`.

    Raises:
        Refusal: with every problem that could be found; the model is closed again.
    """
    found, told = list(problems), list(warnings)
    loaded = None
    trained = spec_file.spec if spec_file is not None else None
    model = None
    elements: Sequence[ActionElement] = ()
    if spec_file is not None:
        with collect(found):
            elements = action_elements(spec_file.spec, str(spec_file.path))
    config = robot_config(values, trained, elements, simulated)
    if config.loop.lockstep and not simulated:
        found.append("parameter lockstep: expected use_sim_time to be true as well, got false")
    if config.loop.lockstep and config.command.type.startswith("float64"):
        expected = "joint_state or joint_trajectory in lockstep, since the answer needs a stamp"
        found.append(Problem("", "parameter command.type", expected, config.command.type))
    found += unread_parameters(config, elements)
    if config.loop.lockstep and config.command.stamp == "zero":
        expected = "now in lockstep, since the answer needs a stamp"
        found.append(Problem("", "parameter command.stamp", expected, "zero"))
    if spec_file is not None:
        spec_file = _with_robot_types(spec_file, config)
        # Each part is tried, so that one attempt finds all that is wrong.
        joints = settings = None
        with collect(found):
            joints = robot_joints(config)
            spec_file = with_urdf_limits(spec_file, config, joints)
        spec = spec_file.spec
        with collect(found):
            settings = build_settings(config, spec, elements)
        with collect(found):
            path = spec_file.beside(spec.model.file, "model.file")
            model = load_model(config.backend, path, spec.model.sha256, spec_file.path)
            told += [text for name, text in model.facts.items() if name == "warning"]
            told += [
                f"{path}: {operation} has no state among the model's inputs: it forgets every time"
                for operation in forgets(path)
            ]
        turned: dict[str, Any] = {}
        with collect(found):
            turned = mountings(config)
        if model is not None:
            # With stand-ins only to find what else is wrong: parameters must not hide the spec's.
            with collect(found):
                pipeline = build_pipeline(
                    spec_file, model, settings or _stand_in_settings(spec),
                    joints or {name: RobotJoint(name) for name in spec.joint_names},
                    time.perf_counter_ns, turned,
                )  # fmt: skip
                if joints is not None and settings is not None:
                    loaded = LoadedPolicy(spec_file, model, pipeline, joints, config, values, told)
                    found += further(loaded) if further is not None else ()
    if found or loaded is None:
        if model is not None:
            model.close()
        if trained is not None:
            found = _name_type_parameters(found, trained, config)
        raise Refusal(list(dict.fromkeys(found)))
    return loaded


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


def read_policy(path: str, problems: list[Problem | str]) -> SpecFile | None:
    """The spec that the parameter `policy` names; None with its problems where there is none."""
    if not path:
        expected = "the path of a policy.yaml or of its folder"
        problems.append(Problem("", "parameter policy", expected, "nothing"))
        return None
    with collect(problems):
        return read_spec(Path(path))
    return None


def _with_robot_types(spec_file: SpecFile, config: RobotConfig) -> SpecFile:
    """The spec with the message types that the parameters `inputs.*.type` say."""
    inputs = {
        name: given.model_copy(update={"type": config.inputs[name].type})
        for name, given in spec_file.spec.inputs.items()
    }
    return SpecFile(spec_file.spec.model_copy(update={"inputs": inputs}), spec_file.path)


def _name_type_parameters(
    problems: Sequence[Problem | str], trained: PolicySpec, config: RobotConfig
) -> list[Problem | str]:
    """Name the parameter in a problem with a type that it put in the place of the spec's."""
    changed = {
        config.inputs[name].type: (
            f"correct parameter inputs.{name}.type (the spec says {given.type})"
        )
        for name, given in trained.inputs.items()
        if config.inputs[name].type != given.type
    }

    def named(problem: Problem | str) -> Problem | str:
        if isinstance(problem, str):
            return problem
        for kind, text in changed.items():
            if problem.got == kind or (kind and problem.expected.endswith(kind)):
                remedy = f"{text}; {problem.remedy}" if problem.remedy else text
                return replace(problem, remedy=remedy)
        return problem

    return [named(problem) for problem in problems]


def _stand_in_settings(spec: PolicySpec) -> Settings:
    """Settings that nothing runs with: to build a pipeline when the real ones were refused."""
    rules = {name: InputRule(max_age_ns=1) for name in spec.inputs}
    return Settings(1, 1, rules, CommandLimits.none(0))
