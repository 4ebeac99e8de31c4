"""The numbers of an action's stages, by element: one array per stage."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.command.action_stages import kept_of_tensor, rounding_steps
from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.observation.normalization import Normalizer
from policy_runner.core.spec import ActionGroup, PolicySpec
from policy_runner.core.spec.elements import (
    ActionElement,
    absent_joints,
    default_pose,
    kept_elements,
)
from policy_runner.core.spec.named_numbers import bounds_by_name, by_name

_COLUMNS = (
    *("tanh", "raw_low", "raw_high", "spread", "mean", "scale", "offset"),
    *("previous", "measured", "low", "high", "ema", "step_raw", "step_target"),
)


def action_columns(
    spec: PolicySpec, normalizers: Sequence[Normalizer | None], file: str
) -> dict[str, Array]:
    """The numbers of every stage, float64 [commanded elements] each.

    `tanh`, `previous` and `measured` are 1 or 0. `offset` includes the default pose.

    Args:
        spec: the policy's spec.
        normalizers: the denormalization per tensor of `spec.action`, or None.
        file: the spec file, for error messages.

    Raises:
        Refusal: named numbers do not fit, or a pose is named that is not there.
    """
    absent = absent_joints(spec, file)
    columns: dict[str, list[Array]] = {name: [] for name in _COLUMNS}
    for t, (tensor, normalizer) in enumerate(zip(spec.action, normalizers, strict=True)):
        count = sum(len(group.names) for group in tensor.groups)
        zeros, kept = np.zeros(count), kept_of_tensor(tensor, absent)
        columns["spread"].append((normalizer.spread if normalizer else np.ones(count))[kept])
        columns["mean"].append((normalizer.denormalize(zeros) if normalizer else zeros)[kept])
        for g, group in enumerate(tensor.groups):
            _add_group(columns, spec, group, file, f"action[{t}].groups[{g}]", absent)
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _add_group(
    columns: dict[str, list[Array]],
    spec: PolicySpec,
    group: ActionGroup,
    file: str,
    key: str,
    absent: Container[str],
) -> None:
    names, size = group.names, len(group.names)
    offset = by_name(group.offset, names, file, f"{key}.offset")
    if group.relative_to != "zero" and group.kind != "position":
        expected = "zero: a velocity or an effort has no pose to be relative to"
        raise refuse(file, f"{key}.relative_to", expected, group.relative_to)
    if group.relative_to == "default_joint_pos":
        if spec.default_joint_pos is None:
            expected = "`default_joint_pos` in the spec"
            raise refuse(file, f"{key}.relative_to", expected, "none")
        offset = offset + default_pose(spec, names, file)
    raw_low, raw_high = bounds_by_name(group.clip_raw, names, file, f"{key}.clip_raw")
    low, high = bounds_by_name(group.clip, names, file, f"{key}.clip")
    parts = {
        "tanh": np.full(size, float(group.squash == "tanh")),
        "raw_low": raw_low,
        "raw_high": raw_high,
        "scale": by_name(group.scale, names, file, f"{key}.scale"),
        "offset": offset,
        "previous": np.full(size, float(group.relative_to == "previous_target")),
        "measured": np.full(size, float(group.relative_to == "measured")),
        "low": low,
        "high": high,
        "ema": np.full(size, group.ema),
        **rounding_steps(group, file, f"{key}.round.step"),
    }
    kept = kept_elements(group, absent)
    for name, part in parts.items():
        columns[name].append(part[kept])


# (elements, measured positions [joint_names], joints): one per array of measured positions.
MeasuredPart = tuple[npt.NDArray[np.intp], Array, npt.NDArray[np.intp]]


def measured_parts(
    spec: PolicySpec,
    elements: Sequence[ActionElement],
    wanted: npt.NDArray[np.intp],
    measured: Callable[[int], Array | None],
    file: str,
) -> list[MeasuredPart]:
    """Where the measured positions of some elements are.

    Args:
        spec: the policy's spec.
        elements: of the action.
        wanted: indices of the elements.
        measured: maps an index in `joint_names` to the array of measured positions that includes
            this joint [joint_names], or None.
        file: the spec file, for error messages.

    Raises:
        Refusal: no term reads the position of such an element.
    """
    found: dict[int, tuple[list[int], Array, list[int]]] = {}
    for element in wanted.tolist():
        name = elements[element].joint
        joint = spec.joint_names.index(name)
        source = measured(joint)
        if source is None:
            expected = f"a joint_position term of '{name}' for relative_to measured"
            raise refuse(file, "action", expected, "none")
        into = found.setdefault(id(source), ([], source, []))
        into[0].append(element)
        into[2].append(joint)
    return [
        (np.array(places, dtype=np.intp), source, np.array(joints, dtype=np.intp))
        for places, source, joints in found.values()
    ]
