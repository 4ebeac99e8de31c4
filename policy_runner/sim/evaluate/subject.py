"""Binds the policy and the robot of an evaluation, also with deliberate differences."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Problem, Refusal, collect
from policy_runner.core.spec import PolicySpec, SpecFile, read_spec
from policy_runner.core.spec.elements import action_elements
from policy_runner.robot.lane.opening import open_inline
from policy_runner.robot.load import LoadedPolicy, bind_policy
from policy_runner.robot.reload_gate import REMOTE, policy_files
from policy_runner.robot.values import NODE, parameter_values
from policy_runner.sim.loop.policy_in_loop import PolicyInLoop, connect
from policy_runner.sim.robot_file.robot_reader import RobotFile, read_robot


@dataclass(frozen=True)
class Subject:
    """What is evaluated, as paths: a process can be given it.

    Attributes:
        spec: `policy.yaml`, or its folder.
        robot: `robot.yaml`, its folder, or an MJCF or URDF.
        params: the node's parameter file; None: every parameter has its default.
        node: fully qualified node name, which selects the sections of the file.
        meshes: False: without the meshes of the model.
        noise: whether the sensors have the noise of the robot file.
    """

    spec: Path
    robot: Path
    params: Path | None = None
    node: str = NODE
    meshes: bool = True
    noise: bool = False


@dataclass(frozen=True)
class Variant:
    """A deliberate difference in how the policy is bound; the default has none.

    Attributes:
        name: for reports.
        values: parameters in place of those of the file.
        edit: a change of the spec, a function of a module; None: none.
        given: arguments of `edit` after the spec.
    """

    name: str = ""
    values: tuple[tuple[str, Any], ...] = ()
    edit: Callable[..., PolicySpec] | None = None
    given: tuple[Any, ...] = ()


NO_CHANGE = Variant()


def bind(subject: Subject, variant: Variant = NO_CHANGE) -> PolicyInLoop:
    """Load policy and robot, and connect them.

    Args:
        subject: the files.
        variant: see `Variant`.

    Raises:
        Refusal: one of them has problems, or they do not match.
    """
    return connect(
        load(subject, variant),
        read_robot(subject.robot, subject.meshes),
        noise_seed=0 if subject.noise else None,
    )


def load(subject: Subject, variant: Variant = NO_CHANGE) -> LoadedPolicy:
    """Load the policy as the node does; no arming is required.

    Args:
        subject: the files.
        variant: see `Variant`.

    Raises:
        Refusal: names every problem that could be found.
    """
    spec_file = read_spec(subject.spec)
    if variant.edit is not None:
        spec_file = SpecFile(variant.edit(spec_file.spec, *variant.given), spec_file.path)
    problems: list[Problem | str] = []
    elements: Any = []
    with collect(problems):
        elements = action_elements(spec_file.spec, str(spec_file.path))
    values, warnings = parameter_values(
        subject.params, spec_file.spec, elements, problems, subject.node
    )
    values.update(variant.values)
    values["require_arming"] = False
    # The guard and the operator's messages exist only in a graph.
    values["lockstep"] = False
    if values["limits.urdf"] == "topic":
        values["limits.urdf"] = ""
    if problems:
        raise Refusal(problems)
    simulated = bool(values["use_sim_time"])
    # As in `load_policy`: an inference in a lane takes its simulated latency, in every run alike.
    return bind_policy(spec_file, values, simulated, problems, warnings, open_lane=open_inline)


def identity(subject: Subject, loop: PolicyInLoop) -> dict[str, Any]:
    """What was evaluated, for a report: names, checksums and versions, but no path."""
    loaded = loop.loaded
    # A server runs its own models, which this does not evaluate as files.
    models = loaded.config.backend.backend != REMOTE
    return {
        "policy": {
            "name": loaded.spec.name,
            "sha256": loaded.model.sha256,
            "files": policy_files(loaded.spec_file, models),
        },
        "robot": {
            "name": loop.plant.robot.spec.name,
            "sha256": _checksum(loop.plant.robot),
        },
        "noise": subject.noise,
        "parameters_sha256": _of_file(subject.params),
    }


def _checksum(robot: RobotFile) -> str:
    """Of `robot.yaml` and of the model file."""
    digest = hashlib.sha256()
    for path in dict.fromkeys((robot.path, robot.model_path)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _of_file(path: Path | None) -> str:
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def joint_pairs(spec: PolicySpec, most: int = 6) -> list[tuple[str, str]]:
    """Pairs of joints that a person might exchange: left and right, else neighbours.

    Args:
        spec: the policy's spec.
        most: number of pairs.
    """
    names = list(spec.joint_names)
    pairs: list[tuple[str, str]] = []
    for name in names:
        other = _mirrored(name, names)
        if other is not None and (other, name) not in pairs:
            pairs.append((name, other))
    if not pairs:
        pairs = list(zip(names[::2], names[1::2]))
    return pairs[:most]


def _mirrored(name: str, names: list[str]) -> str | None:
    sides: Mapping[str, str] = {
        "left": "right",
        "Left": "Right",
        "FL": "FR",
        "RL": "RR",
        "L_": "R_",
    }
    for side, other in sides.items():
        if side in name and (found := name.replace(side, other)) in names:
            return found
    return None
