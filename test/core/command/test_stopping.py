"""The published commands during HOLD and SAFE_STOP and at shutdown, per kind of command."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, spec_content, term

from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.settings import CommandLimits, InputRule

IMU, TWIST = "sensor_msgs/msg/Imu", "geometry_msgs/msg/Twist"


def _rig(folder: Path, *kinds: str, raw: float = 4.0, **settings: Any) -> Rig:
    groups = [{"kind": kind, "joints": [j]} for kind, j in zip(kinds, "abc", strict=False)]
    content = spec_content(
        joint_names=list("abc")[: len(kinds)], action=[{"tensor": "act", "groups": groups}]
    )
    compute = lambda _: {"act": raw}  # noqa: E731
    return make_rig(folder, content, size=len(kinds), compute=compute, **settings)


def _feed(rig: Rig, now_ns: int) -> None:
    names = list(rig.pipeline.slots["joints"].joints.joint_names)  # type: ignore[union-attr]
    rig.joints("joints", now_ns, names, velocity=[1.0] * len(names))


def _command(rig: Rig, now_ns: int) -> list[float] | None:
    command = rig.pipeline.step(now_ns).command
    return None if command is None else command.tolist()


@pytest.mark.parametrize(
    ("kinds", "stop"),
    [
        (("velocity", "velocity"), [0, 0]),
        (("effort", "velocity"), [0, 0]),
        (("position", "position"), [4, 4]),
        (("position", "velocity", "effort"), [4, 0, 0]),
    ],
)
def test_stop_by_kind(tmp_path: Path, kinds: tuple[str, ...], stop: list[float]) -> None:
    rig = _rig(tmp_path, *kinds)
    assert _command(rig, 1) is None
    _feed(rig, 1)
    assert _command(rig, 2) == [4] * len(kinds)
    for later in (200 * MS, 210 * MS):
        assert _command(rig, later) == stop
        assert rig.pipeline.safety.decision is Decision.HOLD
    final = rig.pipeline.stop_command()
    assert final is not None
    assert final.tolist() == stop


@pytest.mark.parametrize(
    ("kinds", "stop"),
    [
        (("velocity",), [0]),
        (("effort",), [0]),
        (("position",), None),
        (("velocity", "position"), None),
    ],
)
def test_last_command_of_a_run_that_never_began(
    tmp_path: Path, kinds: tuple[str, ...], stop: list[float] | None
) -> None:
    rig = _rig(tmp_path, *kinds)
    final = rig.pipeline.stop_command()
    assert (None if final is None else final.tolist()) == stop


def _stepped(size: int, step: float) -> CommandLimits:
    return CommandLimits(np.full(size, -np.inf), np.full(size, np.inf), np.full(size, step))


def test_rate_starts_from_standstill_and_again_after_a_stop(tmp_path: Path) -> None:
    rig = _rig(tmp_path, "velocity", limits=_stepped(1, 1.5))
    for k, expected in enumerate([1.5, 3, 4, 4], 1):
        _feed(rig, k)
        assert _command(rig, k) == [expected]
    assert rig.pipeline.limit_hits.tolist() == [2]
    assert _command(rig, 200 * MS) == [0]  # a stop is not rate limited
    _feed(rig, 300 * MS)
    assert _command(rig, 300 * MS) == [1.5]


def test_rate_of_mixed_kinds_at_the_start(tmp_path: Path) -> None:
    # A position starts at the policy's target, a velocity at 0.
    rig = _rig(tmp_path, "position", "velocity", limits=_stepped(2, 1.5))
    _feed(rig, 1)
    assert _command(rig, 1) == [4, 1.5]
    assert _command(rig, 2) == [4, 3]


def test_limits_in_every_tick_between_inferences(tmp_path: Path) -> None:
    rig = _rig(tmp_path, "velocity", limits=_stepped(1, 1.0), decimation=4)
    commands = []
    for k in range(1, 6):
        _feed(rig, k)
        commands.append(_command(rig, k))
    assert commands == [[1], [2], [3], [4], [4]]
    assert rig.model.runs == 2


def test_infinity_of_the_policy_never_leaves(tmp_path: Path) -> None:
    for raw in (math.nan, math.inf):
        rig = _rig(tmp_path, "velocity", raw=raw, limits=_stepped(1, 1.0))
        _feed(rig, 1)
        with np.errstate(invalid="ignore"):
            assert _command(rig, 1) == [0]
        assert rig.pipeline.safety.reason is Reason.ACTION_NOT_FINITE


def _balancer(folder: Path, **settings: Any) -> Rig:
    content = spec_content(
        inputs={"imu": {"type": IMU, "topic": "i"}, "cmd": {"type": TWIST, "topic": "c"}}
    )
    content["observation"][0]["terms"] = [
        term("velocity_command", input="cmd", axes=["linear.x"]),
        term("projected_gravity", input="imu"),
    ]
    return make_rig(folder, content, size=4, **settings)


def _imu(rig: Rig, now_ns: int, pitch: float = 0.0) -> None:
    half = math.radians(pitch) / 2
    rig.feed("imu", now_ns, orientation=(0, math.sin(half), 0, math.cos(half)))


def _rules(imu: str, cmd: str) -> dict[str, InputRule]:
    return {"imu": InputRule(100 * MS, imu), "cmd": InputRule(100 * MS, cmd)}


def test_stale_command_becomes_zero_and_is_not_waited_for(tmp_path: Path) -> None:
    rig = _balancer(tmp_path, inputs=_rules("hold", "zero"))
    _imu(rig, 1)
    assert rig.pipeline.step(1).decision is Decision.RUN
    assert rig.model.inputs["obs"][0, 0] == 0
    rig.feed("cmd", 2, linear__x=[0.5])
    rig.pipeline.step(2)
    assert rig.model.inputs["obs"][0, 0] == 0.5
    _imu(rig, 110 * MS)
    assert rig.pipeline.step(110 * MS).decision is Decision.RUN
    assert rig.model.inputs["obs"][0, 0] == 0


def test_stale_joints_become_zero(tmp_path: Path) -> None:
    rig = _rig(tmp_path, "velocity", inputs={"joints": InputRule(100 * MS, "zero")})
    _feed(rig, 1)
    rig.pipeline.step(2)
    assert rig.pipeline.step(200 * MS).decision is Decision.RUN
    assert rig.model.inputs["obs"].tolist() == [[0]]


@pytest.mark.parametrize("imu_first", [True, False])
def test_gravest_input_decides(tmp_path: Path, imu_first: bool) -> None:
    rules = _rules("hold", "safe_stop") if imu_first else _rules("safe_stop", "hold")
    rig = _balancer(tmp_path, inputs=rules)
    _imu(rig, 1)
    rig.feed("cmd", 1, linear__x=[0.5])
    rig.pipeline.step(1)
    assert rig.pipeline.step(150 * MS).decision is Decision.SAFE_STOP
    name = "cmd" if imu_first else "imu"
    assert rig.pipeline.safety.detail == f"{name}: 0.150 s old"


def test_age_up_to_the_limit_is_no_fault(tmp_path: Path) -> None:
    rig = _balancer(tmp_path)
    _imu(rig, 0)
    rig.feed("cmd", 0, linear__x=[0.5])
    assert rig.pipeline.step(100 * MS).decision is Decision.RUN
    assert rig.pipeline.step(100 * MS + 1).decision is Decision.HOLD


def test_message_that_could_not_be_used_tells_why_it_is_stale(tmp_path: Path) -> None:
    rig = _balancer(tmp_path)
    _imu(rig, 0)
    rig.feed("cmd", 0, linear__x=[0.5])
    rig.pipeline.step(1)
    rig.pipeline.slots["imu"].refused("no orientation")
    assert rig.pipeline.step(2).decision is Decision.RUN  # the previous message is recent enough
    rig.feed("cmd", 150 * MS, linear__x=[0.5])
    assert rig.pipeline.step(150 * MS).decision is Decision.HOLD
    assert rig.pipeline.safety.detail == "imu: no orientation"
    assert rig.pipeline.slots["imu"].faults == 1


@pytest.mark.parametrize(
    ("pitch", "decision"), [(29, "RUN"), (31, "SAFE_STOP"), (180, "SAFE_STOP")]
)
def test_tipped(tmp_path: Path, pitch: float, decision: str) -> None:
    rig = _balancer(tmp_path, max_tilt_rad=math.radians(30), inputs=_rules("hold", "zero"))
    _imu(rig, 1, pitch)
    assert rig.pipeline.step(1).decision.name == decision
    if decision == "SAFE_STOP":
        assert rig.pipeline.safety.reason is Reason.TIPPED
        assert rig.pipeline.safety.detail == f"{pitch} degrees"
        assert rig.model.runs == 0


def test_activation_commands_a_position_as_if_for_the_first_time(tmp_path: Path) -> None:
    rig = _rig(tmp_path, "position", limits=_stepped(1, 1.5))
    _feed(rig, 1)
    assert _command(rig, 1) == [4]
    rig.model.compute = lambda _: {"act": 9}
    _feed(rig, 2)
    assert _command(rig, 2) == [5.5]
    rig.pipeline.activate()
    assert rig.pipeline.stop_command() is None
    _feed(rig, 3)
    assert _command(rig, 3) == [9]


def test_limited_last_action_is_that_of_the_inference(tmp_path: Path) -> None:
    content = spec_content(joint_names=["a"], last_action="limited")
    content["observation"][0]["terms"].append(term("last_action"))
    content["action"][0]["groups"][0]["joints"] = ["a"]
    compute = lambda _: {"act": 9}  # noqa: E731
    rig = make_rig(tmp_path, content, compute=compute, limits=_stepped(1, 1.0), decimation=3)
    for k in range(1, 5):
        _feed(rig, k)
        assert _command(rig, k) == [k]
    assert rig.model.inputs["obs"].tolist() == [[1, 1]]


def test_a_jump_of_time_leaves_no_velocity_behind(tmp_path: Path) -> None:
    rig = _rig(tmp_path, "velocity", "position")
    assert _command(rig, 1) is None
    _feed(rig, 1)
    assert _command(rig, 2) == [4, 4]
    rig.pipeline.time_jumped(forget_inputs=True)
    assert [_command(rig, k) for k in (3, 4)] == [[0, 4], [0, 4]]
    assert rig.pipeline.safety.decision is Decision.STARTING
    rig.pipeline.activate()
    assert _command(rig, 5) is None


def test_after_a_jump_of_time_the_policy_is_blended_in_anew(tmp_path: Path) -> None:
    rig = _rig(tmp_path, "position", blend_in_ns=40 * MS)
    _feed(rig, 1)
    assert _command(rig, 1) == [4]  # it is not measured, so it starts at the policy's target
    rig.model.compute = lambda _: {"act": 8}
    rig.pipeline.time_jumped(forget_inputs=False)
    assert _command(rig, 2) == [5]
    assert _command(rig, 3) == [6]
