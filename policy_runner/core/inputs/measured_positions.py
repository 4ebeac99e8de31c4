"""Measured positions of the robot's joints, per element of the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.joints import JointSamples, RobotJoint
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Array
from policy_runner.core.spec.elements import ActionElement


class MeasuredPositions:
    """Newest measured positions of the joints that are commanded as positions [rad].

    In policy joints and signs.

    Args:
        slots: by input name, the newest values.
        joint_names: the policy's joints, in the policy's order.
        robot: by policy joint, the robot's name, sign and offset of the joint.
        elements: the elements of the command.
        needed: the parameter that requires all positions. Then inputs are also read for joints
            that no term reads. '': no parameter; a joint that no term reads is unknown.

    Raises:
        Refusal: positions are needed, and no input provides them.
    """

    def __init__(
        self,
        slots: Mapping[str, InputSlot],
        joint_names: Sequence[str],
        robot: Mapping[str, RobotJoint],
        elements: Sequence[ActionElement],
        needed: str = "",
    ) -> None:
        self.elements = elements
        self._sources: list[tuple[int, JointSamples, int]] = []
        with_joints = [slot for slot in slots.values() if slot.joints is not None]
        names = list(joint_names)
        for k, element in enumerate(elements):
            if element.kind != "position":
                continue
            index = names.index(element.joint)
            reading = [slot for slot in with_joints if index in slot.used("position")]
            if needed and not reading:
                if not with_joints:
                    expected = "not set, or a policy with an input of joint states"
                    raise refuse("", needed, expected, f"none that measures {element.joint}")
                # Request the value, so that its age and "never seen" are checked too.
                with_joints[0].joint_values("position", names, robot, [index])
                reading = with_joints[:1]
            samples = reading[0].joints if reading else None
            if samples is not None:
                self._sources.append((k, samples, index))

    def read(self, out: Array) -> Array:
        """Write the positions to `out` [elements], NaN for unknown ones. Return `out`."""
        out.fill(np.nan)
        for k, samples, index in self._sources:
            out[k] = samples.values["position"][index]
        return out
