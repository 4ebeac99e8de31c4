"""The move to the start pose: it is before the policy, within the limits, and fails in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, refused, spec_content, term

from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.settings import CommandLimits

RUN, STARTING, STOP = Decision.RUN, Decision.STARTING, Decision.SAFE_STOP


def _rig(folder: Path, terms: Any = None, **settings: Any) -> Rig:
    """Joint a is a position with the default pose 1.0, b a velocity; the policy outputs 5."""
    groups = [{"kind": kind, "joints": [j]} for kind, j in (("position", "a"), ("velocity", "b"))]
    content = spec_content(
        action=[{"tensor": "act", "groups": groups}], default_joint_pos=[1.0, 0.0]
    )
    content["observation"][0]["terms"] = terms or [term("joint_velocity", input="joints")]
    keys: dict[str, Any] = {"start_pose_ns": 100 * MS, "start_pose_tolerance": 0.05, **settings}
    return make_rig(folder, content, compute=lambda _: {"act": 5.0}, **keys)


def _tick(rig: Rig, k: int, at: float, fed: bool = True) -> Any:
    if fed:
        rig.joints("joints", k * 10 * MS, ["a", "b"], position=[at, 0.0], velocity=[0.0, 0.0])
    return rig.pipeline.step(k * 10 * MS)


def _follow(rig: Rig, first: int, count: int, at: float = 0.0) -> tuple[list[float], float]:
    """Let the robot follow its commands; return the commands of joint a and its position."""
    commands = []
    for k in range(first, first + count):
        step = _tick(rig, k, at)
        assert step.decision is STARTING
        assert rig.pipeline.safety.reason is Reason.MOVING
        assert step.command.tolist()[1] == 0.0
        at = float(step.command[0])
        commands.append(at)
    return commands, at


def test_goes_smoothly_from_where_the_robot_is_to_the_default_pose(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    assert rig.pipeline.step(0).command is None  # nothing measured yet
    commands, at = _follow(rig, 1, 10, at=0.2)
    steps = np.diff([0.2, *commands])
    assert np.all(steps > 0)
    assert steps[0] < 0.01 > steps[-1]
    assert np.max(steps) < 1.9 * 0.8 / 10
    assert commands[-1] == pytest.approx(1.0)
    assert rig.model.runs == 0
    assert rig.pipeline.manner.effort_share is None  # efforts are computed during the move
    step = _tick(rig, 11, at)
    assert step.decision is RUN
    assert step.command.tolist() == [5.0, 5.0]


def test_keeps_to_the_rate_and_the_bounds(tmp_path: Path) -> None:
    inf = np.inf
    limits = CommandLimits(np.array([-inf, -inf]), np.array([0.9, inf]), np.array([0.05, inf]))
    rig = _rig(tmp_path, limits=limits)
    commands, _ = _follow(rig, 1, 17)
    assert max(np.diff([0.0, *commands])) <= 0.05 + 1e-12
    assert max(commands) <= 0.9


def test_is_given_up_after_twice_the_time_and_begins_again_when_armed(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    for k in range(1, 21):
        assert _tick(rig, k, 0.3).decision is STARTING  # a joint that does not move
    step = _tick(rig, 21, 0.3)
    assert step.decision is STOP
    assert rig.pipeline.safety.reason is Reason.MOVING
    assert rig.pipeline.safety.detail == "a: 0.7 away, 0.2 s"
    assert step.command.tolist() == [1.0, 0.0]
    rig.pipeline.safety.arm()
    commands, _ = _follow(rig, 22, 10, at=0.3)
    assert commands[-1] == pytest.approx(1.0)
    assert _tick(rig, 33, 1.0).decision is RUN


def test_a_fault_on_the_way_holds_and_the_move_begins_anew(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    commands, _ = _follow(rig, 1, 5)
    step = _tick(rig, 30, 0.0, fed=False)
    assert (step.decision, rig.pipeline.safety.reason) == (STARTING, Reason.INPUT_STALE)
    assert step.command.tolist() == [commands[-1], 0.0]
    assert rig.pipeline.manner.effort_share == 0.0
    later, _ = _follow(rig, 31, 10, at=commands[-1])
    assert later[0] - commands[-1] < 0.01
    assert later[-1] == pytest.approx(1.0)


def test_disarmed_on_the_way_holds(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    commands, _ = _follow(rig, 1, 5)
    rig.pipeline.safety.disarm()
    step = _tick(rig, 6, 0.0)
    assert step.decision is STARTING
    assert step.command.tolist() == [commands[-1], 0.0]
    rig.pipeline.safety.arm()
    assert _tick(rig, 7, 0.0).command[0] == pytest.approx(commands[-1], abs=0.01)


def test_after_a_safe_stop_the_policy_starts_anew_behind_the_move(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    _follow(rig, 1, 10)
    assert _tick(rig, 11, 1.0).decision is RUN
    rig.pipeline.safety.disarm()
    assert _tick(rig, 12, 1.0).decision is STOP
    rig.pipeline.safety.arm()
    commands, _ = _follow(rig, 13, 10)
    assert commands[0] > 4.9  # from the last command, not from the measured pose
    assert _tick(rig, 24, 1.0).decision is RUN


def test_off_unless_asked_for(tmp_path: Path) -> None:
    rig = _rig(tmp_path, start_pose_ns=0)
    assert _tick(rig, 1, 0.0).decision is RUN


def test_refused_where_nobody_measures_positions(tmp_path: Path) -> None:
    content = spec_content(
        default_joint_pos=[0.0, 0.0],
        inputs={"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}},
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a", "b"]}]}],
    )
    content["observation"][0]["terms"] = [term("field", input="imu", fields=["angular_velocity"])]
    (text,) = refused(make_rig, tmp_path, content, size=3, start_pose_ns=MS)
    assert text.startswith("parameter start_pose.duration: expected not set, or a policy with")
