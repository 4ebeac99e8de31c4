"""What the elements of an action are: joints, axes or names, their kinds, and chosen rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.core.spec.policy import Argmax, PolicySpec

Array = npt.NDArray[np.float64]
UNIT = {
    "position": "rad",
    "velocity": "rad/s",
    "effort": "N m",
    "twist": "m/s, rad/s",
    "value": "the policy's unit",
}


@dataclass(frozen=True)
class ActionElement:
    """What one element of the action commands."""

    joint: str  # of a twist: its axis, such as linear.x; of a value: its name
    kind: str  # position | velocity | effort | twist | value


def action_elements(spec: PolicySpec, file: str) -> list[ActionElement]:
    """Every element of the action, tensor by tensor, group by group.

    Raises:
        Refusal: an unknown joint, or a joint commanded twice in one kind.
    """
    elements: list[ActionElement] = []
    problems: list[Problem | str] = []
    for t, tensor in enumerate(spec.action):
        for g, group in enumerate(tensor.groups):
            which = {"twist": "axes", "value": "elements"}.get(group.kind, "joints")
            where = f"action[{t}].groups[{g}]"
            for other in ("joints", "axes", "elements"):
                if (getattr(group, other) is None) == (other == which):
                    got = "none" if other == which else f"`{other}`"
                    expected = f"`{which}` alone, for kind {group.kind}"
                    problems.append(Problem(file, where, expected, got))
            for k, joint in enumerate(group.names):
                key = f"{where}.{which}[{k}]"
                element = ActionElement(joint, group.kind)
                if which == "joints" and joint not in spec.joint_names:
                    expected = f"a joint of joint_names ({', '.join(spec.joint_names)})"
                    hint = did_you_mean(joint, spec.joint_names)
                    problems.append(Problem(file, key, expected, f"'{joint}'", hint))
                elif element in elements:
                    whose = "joint's " if which == "joints" else ""
                    expected = f"each {whose}{group.kind} commanded once"
                    problems.append(Problem(file, key, expected, f"'{joint}' again"))
                elements.append(element)
    if problems:
        raise Refusal(problems)
    return elements


def default_pose(spec: PolicySpec, joints: Sequence[str], file: str) -> Array:
    """`default_joint_pos` of these joints [rad]; there must be one."""
    assert spec.default_joint_pos is not None
    pose = by_name(spec.default_joint_pos, spec.joint_names, file, "default_joint_pos")
    return pose[[spec.joint_names.index(joint) for joint in joints]]


class Choice:
    """The row of a table that the model chose, by its largest output or by its number."""

    def __init__(
        self, spec: Argmax, output: npt.NDArray[np.generic], size: int, file: str, key: str
    ) -> None:
        for k, row in enumerate(spec.table):
            if len(row) != size:
                expected = f"{size} numbers, one per element of the group"
                raise refuse(file, f"{key}.table[{k}]", expected, f"{len(row)}")
        self._table = np.array(spec.table, dtype=np.float64)
        self._output = output
        self._by_index = spec.by == "index"

    def read(self, out: Array) -> bool:
        """Write the row to out; False when the output is not finite, or no row's number."""
        if not np.all(np.isfinite(self._output)):
            return False
        row = int(self._output[0]) if self._by_index else int(np.argmax(self._output))
        if not 0 <= row < len(self._table):
            return False
        np.copyto(out, self._table[row])
        return True
