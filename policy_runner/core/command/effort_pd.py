"""Compute efforts from position targets, with the gains that the policy was trained with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from policy_runner.core.errors import Problem, Refusal, collect, refuse
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.model import Array
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import ActionElement
from policy_runner.core.spec.named_numbers import by_name


class EffortFromPd:
    """effort = kp (q* - q) - kd dq, clipped to +-effort_limit; N m, policy joints and signs.

    The formula of every simulator's implicit-free position drive (Isaac Lab's IdealPDActuator,
    MuJoCo's position actuator with kv); computed every tick with the newest measurement.

    Args:
        spec: the policy's spec, with gains and effort limits.
        file: the spec file, for error messages.
        elements: the elements of the command; all must be positions.
        slots: the inputs; the first one with joint states is used.

    Raises:
        Refusal: a gain or an effort limit is missing or negative, no input provides joint
            positions and velocities, or the action has other kinds than positions.
    """

    def __init__(
        self,
        spec: PolicySpec,
        file: str,
        elements: Sequence[ActionElement],
        slots: Sequence[InputSlot],
    ) -> None:
        problems: list[Problem | str] = []
        names = spec.joint_names
        self._joints = [element.joint for element in elements]
        index = [names.index(element.joint) for element in elements if element.joint in names]
        numbers: dict[str, Array] = {}
        for key in ("stiffness", "damping", "effort_limit"):
            with collect(problems):
                numbers[key] = _of_each(spec, key, file, index)
        other = sorted({element.kind for element in elements} - {"position"})
        if other:
            expected = "a policy that commands only positions for effort_from_pd"
            problems.append(Problem(file, "action", expected, ", ".join(other)))
        slot = next((slot for slot in slots if slot.joints is not None), None)
        if slot is None or slot.joints is None:
            expected = "an input of joint states that some term reads, for effort_from_pd"
            problems.append(Problem(file, "inputs", expected, "none"))
        if problems or slot is None or slot.joints is None:
            raise Refusal(problems)
        self._index = np.array(index, dtype=np.intp)
        # Request them, so that age and "never seen" are checked even if no term reads them.
        self._position = slot.joint_values("position", names, {}, index)
        self._velocity = slot.joint_values("velocity", names, {}, index)
        self._kp, self._kd = numbers["stiffness"], numbers["damping"]
        self.limit = numbers["effort_limit"]  # N m, float64 [elements]; an effort is within +-
        self._zeros = np.zeros(len(index))
        self._before = np.zeros(len(index))  # efforts at the start of a stop
        self._stopped = True
        self._next = np.zeros(len(index))
        self.effort = np.zeros(len(index))
        self.not_finite = 0

    def fault(self) -> Fault | None:
        """HOLD while a measurement that an effort needs is not finite; count every such tick."""
        for kind, measured in (("position", self._position), ("velocity", self._velocity)):
            values = measured[self._index]
            if values.dot(self._zeros) != 0.0:
                self.not_finite += 1
                bad = int(np.flatnonzero(~np.isfinite(values))[0])
                text = f"the {kind} of {self._joints[bad]} is {values[bad]}, so there is no effort"
                return Fault(Decision.HOLD, Reason.COMMAND_REFUSED, text)
        return None

    def compute(self, target: Array) -> Array:
        """Compute efforts for a position target, float64 [elements] (a reused array).

        If a needed number is not finite, all efforts are NaN and the publisher refuses them. A
        stop continues from the last finite efforts.
        """
        effort = self._next
        np.subtract(target, self._position[self._index], out=effort)
        np.multiply(effort, self._kp, out=effort)
        np.subtract(effort, self._kd * self._velocity[self._index], out=effort)
        if effort.dot(self._zeros) != 0.0:
            effort.fill(np.nan)
            return effort
        np.maximum(effort, -self.limit, out=effort)
        np.minimum(effort, self.limit, out=effort)
        self._next, self.effort = self.effort, effort
        self._stopped = False
        return effort

    def stop(self, share: float = 0.0) -> Array:
        """Return `share`, 0 to 1, of the last computed effort; do not use the measurement.

        During a stop the measurement is often old. An effort that follows an old measurement is
        a runaway.
        """
        if not self._stopped:
            self._stopped = True
            np.copyto(self._before, self.effort)
        np.multiply(self._before, share, out=self.effort)
        return self.effort

    def stopped_by_guard(self) -> None:
        """Continue from the guard's command: the guard, another process, has sent efforts of 0."""
        self._stopped = True
        self._before.fill(0.0)
        self.effort.fill(0.0)

    def continue_from(self, before: EffortFromPd) -> None:
        """Take over from another policy: a stop continues from its last efforts, by joint."""
        efforts = before._before if before._stopped else before.effort
        known = dict(zip(before._joints, efforts.tolist(), strict=True))
        self._before[:] = [known.get(joint, 0.0) for joint in self._joints]
        self.not_finite += before.not_finite


def _of_each(spec: PolicySpec, key: str, file: str, joints: Sequence[int]) -> Array:
    """Gains or limits of these joints, float64 [joints].

    Args:
        spec: the policy's spec.
        key: `stiffness`, `damping` or `effort_limit`.
        file: the spec file, for error messages.
        joints: indices in `joint_names`.

    Raises:
        Refusal: the key is missing, or a number is negative or not finite.
    """
    given = getattr(spec, key)
    if given is None:
        expected = "a limit of every joint" if key == "effort_limit" else "gains"
        raise refuse(file, key, f"{expected} for effort_from_pd", "none")
    numbers = by_name(given, spec.joint_names, file, key)[list(joints)]
    for joint, number in zip(joints, numbers.tolist(), strict=True):
        if not 0.0 <= number < math.inf:
            name = spec.joint_names[joint]
            expected = f"a finite number from 0 on for {name}, for effort_from_pd"
            raise refuse(file, key, expected, f"{number:g}")
    return numbers
