"""What a simulated robot takes from a policy: default pose and gains, by robot joint name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.spec import PolicySpec, read_spec
from policy_runner.core.spec.elements import absent_joints, action_elements, default_pose
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.robot.config import robot_config
from policy_runner.robot.settings import robot_joints
from policy_runner.robot.values import parameter_values
from policy_runner.sim.plant.plant import PolicyFacts


def policy_facts(spec: PolicySpec, joints: Mapping[str, RobotJoint], file: str) -> PolicyFacts:
    """Default pose and gains of a policy, by robot joint name and with the robot's signs.

    Args:
        spec: the policy's spec.
        joints: policy joint -> joint of the robot.
        file: the spec file, for errors.

    Raises:
        Refusal: gains or pose do not fit the joints.
    """
    names = [name for name in spec.joint_names if name not in absent_joints(spec, file)]
    pose: dict[str, float] = {}
    if spec.default_joint_pos is not None:
        for name, value in zip(names, default_pose(spec, names, file).tolist()):
            joint = joints[name]
            pose[joint.name] = joint.sign * value + joint.offset
    gains: dict[str, tuple[float, float]] = {}
    if spec.stiffness is not None or spec.damping is not None:
        there = [spec.joint_names.index(name) for name in names]
        columns = [
            by_name(given if given is not None else 0.0, spec.joint_names, file, key)[there]
            for key, given in (("stiffness", spec.stiffness), ("damping", spec.damping))
        ]
        for name, kp, kd in zip(names, columns[0].tolist(), columns[1].tolist()):
            gains[joints[name].name] = (kp, kd)
    return PolicyFacts(pose, gains)


def read_facts(spec: Path | str, params: Path | str | None) -> PolicyFacts:
    """Read the facts from files, without the model.

    Args:
        spec: `policy.yaml`, or its folder.
        params: the runner's parameter file; None: every parameter has its default.

    Raises:
        Refusal: one of the files has problems.
    """
    spec_file = read_spec(Path(spec))
    problems: list[Problem | str] = []
    elements = action_elements(spec_file.spec, str(spec_file.path))
    path = None if params is None else Path(params)
    values, _ = parameter_values(path, spec_file.spec, elements, problems)
    if problems:
        raise Refusal(problems)
    config = robot_config(values, spec_file.spec, elements, simulated=True)
    return policy_facts(spec_file.spec, robot_joints(config), str(spec_file.path))
