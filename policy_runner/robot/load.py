"""Loads a policy: reads, checks and binds it, and warms it up. No ROS.

`load_policy` starts from files; the commands and users call it. `bind_policy` starts from a spec
and the values of the parameters; the node and a reload call it. Any thread may call them: a reload
calls `bind_policy` while another policy runs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import yaml

from policy_runner.backends.interface import LoadedModel
from policy_runner.backends.load import forgets, load_models
from policy_runner.backends.onnx_file.check import check_model_file, data_files
from policy_runner.backends.remote.server_options import ASKS
from policy_runner.core.errors import Problem, Refusal, collect, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.lane.interface import Lane
from policy_runner.core.lane.worker import LaneWorker
from policy_runner.core.model import Model
from policy_runner.core.pipeline.build import build_pipeline, tilt_problems
from policy_runner.core.pipeline.laned import LaneSetup
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.pipeline.policy import Policy
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import PolicySpec, SpecFile, read_spec
from policy_runner.core.spec.elements import ActionElement, action_elements
from policy_runner.core.spec.parts import model_files
from policy_runner.core.spec.reader import unchecked_files
from policy_runner.robot.config import RobotConfig, robot_config
from policy_runner.robot.feed import feed
from policy_runner.robot.lane.lane_rules import lane_kind, lane_problems, lane_rules
from policy_runner.robot.lane.opening import OpenLane, open_beside, open_inline
from policy_runner.robot.limits import with_urdf_limits
from policy_runner.robot.prompt import give_prompt, prompt_problems
from policy_runner.robot.reload_gate import changed_files
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
    values: dict[str, Any]  # parameter name -> value; `config` was built from them
    warnings: list[str]

    @property
    def spec(self) -> PolicySpec:
        """The spec, with the message types of this robot's inputs."""
        return self.spec_file.spec

    @cached_property
    def description(self) -> dict[str, object]:
        """Facts about the policy, for diagnostics; a reload adds a line."""
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
        """Return the settings with these parameter values in place of the loaded ones.

        Raises:
            Refusal: the values contradict each other or the policy.
        """
        elements, simulated = self.pipeline.elements, self.config.loop.simulated
        config = robot_config({**self.values, **values}, self.spec, elements, simulated)
        laned = self.pipeline.laned is not None
        settings = build_settings(config, self.spec, elements, laned)
        problems = tilt_problems(settings, self.spec)
        problems += prompt_problems(self.pipeline.slots, config.prompt)
        if problems:
            raise Refusal(problems)
        return settings

    def feed(self, name: str, fields: Mapping[str, Any], now_ns: int) -> None:
        """Write one message's numbers into the input `name`; see `robot.feed.feed`.

        Raises:
            Refusal: there is no such input, or the fields do not match the policy's.
        """
        slots = self.pipeline.slots
        if name not in slots:
            raise refuse("", "inputs", f"one of {', '.join(slots)}", f"'{name}'")
        feed(slots[name], fields, now_ns)

    def another_pipeline(self, model: Model) -> Pipeline:
        """Build one more pipeline of this policy, with its own histories and decision.

        A policy with a lane infers in the calling thread.

        Args:
            model: a model with the tensors of `model`, which no other pipeline uses.
        """
        config, lane = self.config, None
        if lane_kind(config, self.spec):
            rules = lane_rules(config, self.spec, True)
            lane = LaneSetup(rules, open_inline, config.loop.max_message_bytes)
        pipeline = build_pipeline(
            self.spec_file, model, self.pipeline.settings, self.joints, time.perf_counter_ns,
            mountings(config), lane,
        )  # fmt: skip
        give_prompt(pipeline.slots, config.prompt)
        return pipeline

    def close(self) -> None:
        """Release the model's memory and sessions; do not step the pipeline afterwards."""
        self.model.close()

    def change(self, values: Mapping[str, Any]) -> None:
        """Replace these parameter values and the settings that depend on them.

        Raises:
            Refusal: see `settings_with`; then nothing has changed.
        """
        self.pipeline.settings = self.settings_with(values)
        self.values.update(values)
        elements, simulated = self.pipeline.elements, self.config.loop.simulated
        self.config = robot_config(self.values, self.spec, elements, simulated)
        if "prompt" in values:
            give_prompt(self.pipeline.slots, self.config.prompt)


Further = Callable[[LoadedPolicy], Sequence[Problem | str]]
View = Callable[[LoadedModel], Model]


def load_policy(
    spec_path: Path | str,
    params: Path | str | None = None,
    types: Mapping[str, str] | None = None,
    further: Further | None = None,
    node: str = NODE,
    view: View | None = None,
) -> LoadedPolicy:
    """Load a policy from files without a node, with the checks of the node.

    No arming is required: `pipeline.step` may run at once.

    Args:
        spec_path: a `policy.yaml`, or the folder that contains one.
        params: the node's parameter file; None: every parameter has its default, and no server is
            asked.
        types: input name -> message type, for types that differ from the spec's.
        further: more checks of the loaded policy; the problems that it returns are added.
        node: fully qualified node name, which selects the sections of the parameter file.
        view: makes what the pipeline runs of the loaded model; None: the model itself.

    Raises:
        Refusal: names every problem that could be found.
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
    if params is None and spec_file.spec.model.tensors is not None:
        values |= {"backend": "remote", ASKS: False}
    simulated = bool(values["use_sim_time"])
    # Without a node no other clock continues: an inference takes its simulated latency.
    loaded = bind_policy(
        spec_file, values, simulated, problems, warnings, further, open_inline, view
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
    open_lane: OpenLane | None = None,
    view: View | None = None,
) -> LoadedPolicy:
    """Load the model and bind the spec to it and to the parameters.

    Args:
        spec_file: the policy's spec. None if it could not be read; `problems` contains the reason.
        values: parameter name -> value, including the policy's parameters.
        simulated: the clock is the simulator's.
        problems: problems found so far.
        warnings: warnings found so far.
        further: see `load_policy`.
        open_lane: makes the lane of a policy that has one, from its worker; the model is loaded in
            this process. None: the lane that the parameters ask for.
        view: see `load_policy`.

    Raises:
        Refusal: names every problem that could be found; the model is closed again.
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
        # Try each part even after a problem, so that one attempt finds all problems.
        joints = settings = None
        with collect(found):
            joints = robot_joints(config)
            spec_file = with_urdf_limits(spec_file, config, joints)
        spec = spec_file.spec
        lane = None
        kind = lane_kind(config, spec)
        with collect(found):
            settings = build_settings(config, spec, elements, bool(kind))
        found += lane_problems(config, spec, kind)
        with collect(found):
            # After a problem no lane is opened: the model is only loaded to find more of them.
            open_lane = open_inline if found and open_lane is None else open_lane
            if kind in ("thread", "process") and open_lane is None:
                model, open_lane = open_beside(
                    kind, config, spec_file, values, simulated, load_worker
                )
                waits = config.loop.lockstep
            else:
                model = load_models(config.backend, spec_file)
                open_lane, waits = open_lane or open_inline, True
            if kind:
                rules = lane_rules(config, spec, waits)
                lane = LaneSetup(rules, open_lane, config.loop.max_message_bytes)
            told += [t for name, t in model.facts.items() if name.split("/")[-1] == "warning"]
            files = [m for m in model_files(spec) if m.model.file is not None]
            paths = [spec_file.next_to(m.model.file, m.file_key) for m in files]
            told += [
                f"{path}: {operation} has no state among the model's inputs: it keeps no memory"
                for path in dict.fromkeys(paths)
                for operation in forgets(path)
            ]
        turned: dict[str, Any] = {}
        with collect(found):
            turned = mountings(config)
        if model is not None:
            # If joints or settings were refused, build with substitutes, only to find further
            # problems: problems of parameters must not hide problems of the spec.
            with collect(found):
                pipeline = build_pipeline(
                    spec_file, model if view is None else view(model),
                    settings or _stand_in_settings(spec),
                    joints or {name: RobotJoint(name) for name in spec.joint_names},
                    time.perf_counter_ns, turned, lane,
                )  # fmt: skip
                found += prompt_problems(pipeline.slots, config.prompt)
                give_prompt(pipeline.slots, config.prompt)
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


def load_worker(given: Mapping[str, Any]) -> tuple[LaneWorker, LoadedPolicy]:
    """Load a policy for the worker of a lane, with inputs of its own.

    Args:
        given: plain values: `spec`, its path; `sha256` of that file; `values` of the parameters;
            `files`, see `pinned_files`; `simulated`.

    Raises:
        Refusal: see `bind_policy`; or a file has changed.
    """
    path = Path(given["spec"])
    if hashlib.sha256(path.read_bytes()).hexdigest() != given["sha256"]:
        raise refuse(str(path), "", "the file that the node has loaded", "another one", "reload it")
    workers: list[LaneWorker] = []

    def keep(worker: LaneWorker, policy: Policy) -> Lane:
        workers.append(worker)
        return open_inline(worker, policy)

    spec_file, values = read_spec(path), dict(given["values"])
    same = partial(changed_files, given["files"], values, spec_file)
    loaded = bind_policy(spec_file, values, given["simulated"], further=same, open_lane=keep)
    return workers[0], loaded


def _look_at_model(spec_path: Path, problems: list[Problem | str]) -> None:
    """Check the model file of a spec that could not be read, if the spec still names one."""
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
    """Read the spec that the parameter `policy` names; add problems and return None on failure."""
    if not path:
        expected = "the path of a policy.yaml or of its folder"
        problems.append(Problem("", "parameter policy", expected, "nothing"))
        return None
    with collect(problems):
        return read_spec(Path(path))
    return None


def _with_robot_types(spec_file: SpecFile, config: RobotConfig) -> SpecFile:
    """Return the spec with the message types of the parameters `inputs.*.type`."""
    inputs = {
        name: given.model_copy(update={"type": config.inputs[name].type})
        for name, given in spec_file.spec.inputs.items()
    }
    return SpecFile(spec_file.spec.model_copy(update={"inputs": inputs}), spec_file.path)


def _name_type_parameters(
    problems: Sequence[Problem | str], trained: PolicySpec, config: RobotConfig
) -> list[Problem | str]:
    """Add the parameter's name to problems with a type that replaced the spec's type."""
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
    """Return substitute settings, to build a pipeline when the real settings were refused."""
    rules = {name: InputRule(max_age_ns=1) for name in spec.inputs}
    return Settings(1, 1, rules, CommandLimits.none(0))
