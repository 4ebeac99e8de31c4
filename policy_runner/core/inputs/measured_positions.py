"""Where the robot's joints are, element by element of the command."""

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

    In policy joints and signs. With `needed`, the parameter that cannot do without, the inputs
    are asked for positions that no term reads; else a joint that no term reads is unknown.

    Raises:
        Refusal: needed, and no input tells them.
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
                    raise refuse("", needed, expected, f"none that tells where {element.joint} is")
                # Asked for here, so that ages and "never seen" cover it as well.
                with_joints[0].joint_values("position", names, robot, [index])
                reading = with_joints[:1]
            samples = reading[0].joints if reading else None
            if samples is not None:
                self._sources.append((k, samples, index))

    def read(self, out: Array) -> Array:
        """Write them to out [elements], NaN for what is unknown; returns out."""
        out.fill(np.nan)
        for k, samples, index in self._sources:
            out[k] = samples.values["position"][index]
        return out
