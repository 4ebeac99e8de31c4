"""Actions of every kind: twists, values, tables, numbers by pattern, slices of mixed groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, refused, spec_content, term

from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.spec.elements import ActionElement

LEGS = ["FL_hip", "FL_knee", "FL_foot"]


def _rig(
    folder: Path, *groups: dict[str, Any], size: int, dtype: Any = np.float32, **changes: Any
) -> Rig:
    content = spec_content(joint_names=LEGS, inputs={}, **changes)
    content["observation"] = [
        {"tensor": "obs", "terms": [term("last_action")], "normalization": "none"}
    ]
    content["action"] = [{"tensor": "act", "groups": list(groups)}]
    count = sum(len(g.get("joints") or g.get("axes") or g.get("elements")) for g in groups)
    model = FakeModel({"obs": (1, count)}, {"act": np.zeros((1, size), dtype=dtype)})
    return make_rig(folder, content, model)


def _decode(rig: Rig, output: list[float]) -> list[float]:
    rig.model.outputs["act"][...] = [output]
    step = rig.pipeline.step(MS)
    assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    assert step.command is not None
    return [float(x) for x in step.command]


def test_kinds_of_all_sorts(tmp_path: Path) -> None:
    rig = _rig(
        tmp_path,
        {"kind": "twist", "axes": ["linear.x", "angular.z"], "slice": [4, 6], "scale": [1, 2]},
        {"kind": "position", "joints": ["FL_knee", "FL_hip"], "slice": [0, 2],
         "scale": {".*_hip": 10, ".*_knee": 100}, "offset": {"FL_.*": 0.5}},
        {"kind": "velocity", "joints": ["FL_foot"], "slice": [3, 4]},
        {"kind": "value", "elements": ["acceleration"], "slice": [2, 3], "clip": [-3, 1.5]},
        size=6,
    )  # fmt: skip
    assert list(rig.pipeline.elements) == [
        ActionElement("linear.x", "twist"), ActionElement("angular.z", "twist"),
        ActionElement("FL_knee", "position"), ActionElement("FL_hip", "position"),
        ActionElement("FL_foot", "velocity"), ActionElement("acceleration", "value"),
    ]  # fmt: skip
    assert _decode(rig, [1, 2, 3, 4, 5, 6]) == [5, 12, 100.5, 20.5, 4, 1.5]
    # Only a position may be held; any other held command is a runaway.
    stop = rig.pipeline.stop_command()
    assert stop is not None
    assert stop.tolist() == [0, 0, 100.5, 20.5, 0, 0]


def test_a_choice_among_rows(tmp_path: Path) -> None:
    table = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    rig = _rig(
        tmp_path,
        {"kind": "twist", "axes": ["linear.x", "angular.z"], "argmax": {"table": table},
         "scale": [0.5, 2.0]},
        size=3,
    )  # fmt: skip
    assert _decode(rig, [-5, -1, -2]) == [0.5, 0]
    assert _decode(rig, [0, 0, 3]) == [0, 2]
    # The next observation shows the chosen value before its scale.
    assert _decode(rig, [9, 0, 0]) == [0, 0]
    assert rig.model.seen[-1]["obs"].tolist() == [[0, 1]]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float32])
def test_a_row_by_its_number(tmp_path: Path, dtype: Any) -> None:
    group = {
        "kind": "velocity", "joints": ["FL_foot"],
        "argmax": {"table": [[-1.0], [0.0], [4.0]], "by": "index"},
    }  # fmt: skip
    rig = _rig(tmp_path, group, size=1, dtype=dtype)
    assert [_decode(rig, [k]) for k in (2, 0, 1)] == [[4], [-1], [0]]


@pytest.mark.parametrize("index", [-1, 3, float("nan")])
def test_no_such_row(tmp_path: Path, index: float) -> None:
    group = {
        "kind": "velocity", "joints": ["FL_foot"],
        "argmax": {"table": [[-1.0], [0.0], [4.0]], "by": "index"},
    }  # fmt: skip
    rig = _rig(tmp_path, group, size=1)
    rig.model.outputs["act"][...] = index
    assert rig.pipeline.step(MS).decision is Decision.SAFE_STOP
    assert rig.pipeline.safety.reason is Reason.ACTION_NOT_FINITE


def test_a_choice_among_nothing(tmp_path: Path) -> None:
    group = {"kind": "velocity", "joints": ["FL_foot"], "argmax": {"table": [[0.0], [1.0]]}}
    rig = _rig(tmp_path, group, size=2)
    rig.model.outputs["act"][...] = [[0.0, float("nan")]]
    assert rig.pipeline.step(MS).decision is Decision.SAFE_STOP


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({"kind": "twist", "joints": ["FL_hip"]}, "expected only `axes`, for kind twist, got"),
        ({"kind": "position", "axes": ["linear.x"]}, "expected only `joints`, for kind position"),
        ({"kind": "value", "elements": ["x"], "joints": ["FL_hip"]}, "got `joints`"),
        ({"kind": "position", "joints": ["FL_hip"], "scale": {".*_knee": 1}}, "'.*_knee'"),
        ({"kind": "twist", "axes": ["linear.x"], "relative_to": "measured"},
         "expected zero: a velocity or an effort has no pose to be relative to"),
        ({"kind": "twist", "axes": ["linear.x"], "argmax": {"table": [[1.0, 2.0]]}},
         "argmax.table[0]: expected 1 numbers, one per element of the group, got 2"),
        ({"kind": "twist", "axes": ["linear.x"], "slice": [0, 2],
          "argmax": {"table": [[1.0], [2.0], [3.0]]}},
         "slice: expected 3 elements, one per row, got [0, 2]"),
        ({"kind": "twist", "axes": ["linear.x", "linear.x"]}, "'linear.x' again"),
    ],
)  # fmt: skip
def test_groups_that_do_not_fit(tmp_path: Path, group: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(refused(_rig, tmp_path, group, size=1))


def test_a_first_slice_of_a_chunk(tmp_path: Path) -> None:
    content = spec_content(joint_names=LEGS, inputs={})
    content["observation"] = [{"tensor": "obs", "constant": 0.0}]
    groups = [{"kind": "position", "joints": LEGS, "slice": [3, 6]}]
    content["action"] = [{"tensor": "chunk", "groups": groups}]
    chunk = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    rig = make_rig(tmp_path, content, FakeModel({"obs": (1, 1)}, {"chunk": chunk}))
    step = rig.pipeline.step(MS)
    assert step.command is not None
    assert step.command.tolist() == [3, 4, 5]
