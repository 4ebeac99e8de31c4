"""Commands that depend on other signals, on their past or on buttons, and joints that lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import FakeModel, make_rig, refused, spec_content, term
from fidelity_rig import IMU, TWIST, fault
from rules_rig import BOOL, DT, PERIOD_NS, TICKS, commands, meets, observed_rows, rig_of

from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import CommandLimits
from policy_runner.core.spec.elements import ActionElement

JOY = "sensor_msgs/msg/Joy"
RANDOM = np.random.default_rng(33)
COMMANDS = commands(11)
OMEGA = RANDOM.uniform(-0.8, 0.8, size=TICKS)
RATES = np.column_stack([0.5 * OMEGA, -OMEGA[::-1], OMEGA])
AXES = RANDOM.uniform(-1.0, 1.0, size=(TICKS, 4))
BUTTONS = np.array([[(k // 5) % 2, (k // 7) % 3 == 1, (k // 4) % 5 == 2] for k in range(TICKS)])
RESET = np.array([(k // 23) % 4 == 2 for k in range(TICKS)])
INPUTS = {"cmd": TWIST, "imu": IMU, "joy": JOY, "switch": BOOL}


def _run(folder: Path, one: dict[str, Any], size: int) -> np.ndarray:
    used = {name: kind for name, kind in INPUTS.items() if f"'{name}'" in str(one)}
    rig = rig_of(folder, [one], used, size)

    def feed(k: int, now_ns: int) -> None:
        x, y, w = COMMANDS[k]
        numbers = {"linear.x": x, "linear.y": y, "angular.z": w, "linear.z": w}
        numbers |= {"angular_velocity.z": OMEGA[k], "data": float(RESET[k])}
        numbers |= {"angular_velocity": RATES[k]}
        numbers |= {f"axes[{a}]": AXES[k, a] for a in range(4)}
        for name in used:
            slot = rig.pipeline.slots[name]
            for path, array in slot.arrays.items():
                array[:] = numbers[path]
            for path in slot.keepers:
                slot.keepers[path](AXES[k] if path == "axes" else BUTTONS[k])
            slot.received(now_ns, now_ns)

    return observed_rows(rig, feed)


def _yaw_rate_is_zero_while_both_are_small() -> list[list[float]]:
    rows = []
    for k in range(TICKS):
        x, y, w = COMMANDS[k]
        still = abs(w) < 0.1 and abs(OMEGA[k]) <= 0.4
        rows.append([2.0 * x, 2.0 * y, 0.0 if still else 2.0 * w])
    return rows


def _measured_yaw_rate_is_zero_while_both_are_small() -> list[list[float]]:
    # tron1-rl-deploy-arm (SolefootController.cpp): the measured rate, and the command times 0.5.
    rows = []
    for k in range(TICKS):
        roll, pitch, yaw = RATES[k]
        if abs(0.5 * COMMANDS[k, 2]) < 0.1 and abs(yaw) <= 0.4:
            yaw = 0.0
        rows.append([0.25 * roll, 0.25 * pitch, 0.25 * yaw])
    return rows


def _linear_only_above_a_norm() -> list[list[float]]:
    # legged_gym (LeggedRobot._resample_commands): commands[:, :2] *= norm(commands[:, :2]) > 0.2.
    rows = []
    for x, y, w in COMMANDS:
        moves = float(np.hypot(x, y) > 0.2)
        rows.append([x * moves, y * moves, w])
    return rows


def _height(before: bool) -> list[list[float]]:
    rows, height = [], 0.75
    for k in range(TICKS):
        rate = COMMANDS[k, 2] if abs(COMMANDS[k, 2]) >= 0.05 else 0.0
        moved = min(max(height + 0.4 * rate * DT, 0.7), 0.78)
        if RESET[k]:
            moved = height = 0.75
        rows.append([moved if before else height])
        height = moved
    return rows


def _moved_height(by_press: bool) -> list[list[float]]:
    # By press: stepit (cmd_posture_source.cpp), RoboJuDo (asap_policy.py). While a button is held:
    # GR00T-WholeBodyControl (joycon_streamer.py, height_increment).
    rows, height, plus, minus = [], 0.7, True, True
    for k in range(TICKS):
        a, b = bool(BUTTONS[k, 0]), bool(BUTTONS[k, 1])
        up, down = (a and not plus, b and not minus) if by_press else (a, b)
        plus, minus = a, b
        height = min(max(height + 0.02 * (int(up) - int(down)), 0.62), 0.76)
        rows.append([height])
    return rows


def _joystick_by_a_toggle() -> list[list[float]]:
    rows, on, before = [], False, True
    for k in range(TICKS):
        c = bool(BUTTONS[k, 2])
        on, before = on != (c and not before), c
        rows.append([0.5 * AXES[k, 1] if on else 0.0, float(on)])
    return rows


def _joystick() -> list[list[float]]:
    rows, on, before = [], False, True
    for k in range(TICKS):
        a, b, c = (bool(x) for x in BUTTONS[k])
        if c and not before:
            on = not on
        before = c
        x = AXES[k, 1]
        x = 0.0 if abs(x) < 0.1 else np.sign(x) * (abs(x) - 0.1) / 0.9
        y = 0.0 if abs(AXES[k, 3]) < 0.2 else AXES[k, 3]
        row = [x * (1.2 if x > 0 else 0.5), -y, 0.3 * (int(a) - int(b)), float(on)]
        rows.append(row if a else [0.0, 0.0, 0.0, float(on)])
    return rows


STILL = [
    {"axes": ["angular.z"], "below": 0.1},
    {"input": "imu", "fields": ["angular_velocity.z"], "below": 0.4, "inclusive": True},
]
BY_NORM = {"axes": ["linear.x", "linear.y"], "below": 0.2, "inclusive": True}
HEIGHT: dict[str, Any] = {
    "input": "cmd", "axes": ["linear.z"], "start": 0.75, "gain": 0.4, "dead_band": 0.05,
    "bounds": [0.7, 0.78], "reset": {"input": "switch"},
}  # fmt: skip
STICK: list[dict[str, Any]] = [
    {"name": "forward", "axis": 1, "dead_zone": 0.1, "rescaled": True, "positive": 1.2,
     "negative": 0.5},
    {"name": "left", "axis": 3, "dead_zone": 0.2, "positive": -1.0},
    {"name": "up", "plus": 0, "minus": 1, "positive": 0.3},
    {"name": "walk", "toggle": 2},
]  # fmt: skip


def _moved(**keys: Any) -> dict[str, Any]:
    move = {"start": 0.7, "step": 0.02, "bounds": [0.62, 0.76], "by": "press", **keys}
    element = {"name": "height", "plus": 0, "minus": 1, "move": move}
    return term("joy_command", input="joy", elements=[element])


def _turns(when: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    zero = [{"elements": ["angular_velocity.z"], "when": when}]
    return term("field", input="imu", field="angular_velocity", scale=0.25, zero=zero, **keys)


TURNS_STILL = [
    {"input": "cmd", "axes": ["angular.z"], "below": 0.2},
    {"fields": ["angular_velocity.z"], "below": 0.4, "inclusive": True},
]
BY_TOGGLE = [{"name": "forward", "axis": 1, "positive": 0.5}, {"name": "walk", "toggle": 2}]


def _command(zero: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    return term("velocity_command", input="cmd", zero=zero, **keys)


CASES: dict[str, tuple[dict[str, Any], list[list[float]], dict[str, Any]]] = {
    "a dead band of two signals": (
        _command([{"axes": ["angular.z"], "when": STILL}], scale=2.0),
        _yaw_rate_is_zero_while_both_are_small(),
        _command([{"axes": ["angular.z"], "when": STILL[:1]}], scale=2.0),
    ),
    "a measured rate that two signals make 0": (
        _turns(TURNS_STILL),
        _measured_yaw_rate_is_zero_while_both_are_small(),
        _turns(TURNS_STILL[1:]),
    ),
    "a height that presses move": (_moved(), _moved_height(True), _moved(by="hold")),
    "a height that held buttons move": (
        _moved(by="hold"), _moved_height(False), _moved(by="hold", bounds=None)
    ),
    "a joystick that a toggle enables": (
        term("joy_command", input="joy", elements=BY_TOGGLE, enable="walk"),
        _joystick_by_a_toggle(),
        term("joy_command", input="joy", elements=BY_TOGGLE),
    ),
    "a dead band of a norm": (
        _command([{"axes": ["linear.x", "linear.y"], "when": [BY_NORM]}]),
        _linear_only_above_a_norm(),
        term("velocity_command", input="cmd", dead_band={"linear.*": 0.2, "angular.z": 0}),
    ),
    "an integrated height": (
        term("integrated_command", **HEIGHT),
        _height(False),
        term("integrated_command", **HEIGHT, first="start_plus_step"),
    ),
    "an integrated height, moved first": (
        term("integrated_command", **HEIGHT, first="start_plus_step"),
        _height(True),
        term("integrated_command", **{**HEIGHT, "bounds": None}, clip=[0.7, 0.78],
             first="start_plus_step"),
    ),
    "a joystick": (
        term("joy_command", input="joy", elements=STICK, enable=0),
        _joystick(),
        term("joy_command", input="joy", elements=STICK),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_command_by_hand(tmp_path: Path, case: str) -> None:
    one, reference, mutation = CASES[case]
    expected = np.array(reference)
    assert meets(_run(tmp_path, one, expected.shape[1]), expected)
    assert not meets(_run(tmp_path, mutation, expected.shape[1]), expected)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (_command([{"axes": ["linear.z"], "when": STILL}]), "zero[0].axes[0]: expected an axis of"),
        (_command([{"axes": ["angular.z"], "when": [{"below": 1, "fields": ["a"],
                                                     "axes": ["linear.x"]}]}]), "one of `axes`"),
        (term("integrated_command", **{**HEIGHT, "start": 1.0}), "within [0.7, 0.78], got 1"),
        (term("integrated_command", **{**HEIGHT, "axes": None}), "one of `axes` and `fields`"),
        (term("integrated_command", **{**HEIGHT, "input": "joy"}), "Twist or TwistStamped"),
        (term("joy_command", input="cmd", elements=STICK), "an input of type sensor_msgs/msg/Joy"),
        (term("joy_command", input="joy", elements=[{"name": "x"}]), "one of `axis`, `plus`"),
        (term("joy_command", input="joy", elements=[STICK[0], STICK[0]]), "each of them once"),
        (term("joy_command", input="joy", elements=[{**STICK[2], "dead_zone": 0.5}]),
         "a dead zone only with `axis`"),
        (term("joy_command", input="joy", elements=BY_TOGGLE, enable="wlk"),
         "enable: expected an index in `buttons`, or a toggle of this term (walk), got 'wlk'"),
        (_moved(start=0.8), "move.start: expected a value within [0.62, 0.76], got 0.8"),
        (term("joy_command", input="joy", elements=[
            {"name": "x", "axis": 0, "move": {"start": 0, "step": 1, "by": "press"}}]),
         "hold, since an axis has no presses"),
        (term("joy_command", input="joy", elements=[
            {"name": "x", "toggle": 0, "move": {"start": 0, "step": 1, "by": "press"}}]),
         "an axis or buttons for `move`"),
        (term("field", input="imu", field="angular_velocity",
              zero=[{"elements": ["angular_velocity.w"], "when": TURNS_STILL}]),
         "zero[0].elements[0]: expected a number of the term (angular_velocity.x"),
    ],
)  # fmt: skip
def test_commands_that_do_not_fit(tmp_path: Path, one: dict[str, Any], expected: str) -> None:
    assert expected in refused(rig_of, tmp_path, [one], INPUTS, 3)[0]


def test_a_joystick_with_too_few_axes_is_a_fault(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, [term("joy_command", input="joy", elements=STICK[:1])], {"joy": JOY}, 1)
    rig.pipeline.slots["joy"].keepers["axes"]([0.5])
    rig.pipeline.slots["joy"].received(PERIOD_NS, PERIOD_NS)
    assert "1 axes of the Joy, 2 needed" in fault(rig, PERIOD_NS)


# Joints that the robot lacks: the policy has three, wrist is absent.
NAMES = ["hip", "wrist", "knee"]
POSE = [0.2, -0.4, 0.6]
ABSENT = {"wrist": {"position": "default_joint_pos", "velocity": 0.25, "last_action": 0.5}}
Q, DQ = RANDOM.normal(size=(TICKS, 2)), RANDOM.normal(size=(TICKS, 2))
RAW = RANDOM.normal(size=(TICKS, 3)).astype(np.float32).astype(float)


def _lacking(folder: Path, absent: dict[str, Any], **group: Any) -> np.ndarray:
    content = spec_content(
        joint_names=NAMES, default_joint_pos=POSE, control_dt=DT, absent_joints=absent,
        last_action="raw",
    )  # fmt: skip
    content["observation"][0]["terms"] = [
        term("joint_position", input="joints", relative_to={"hip": 0.2, "wrist": 0, "knee": 0.6}),
        term("joint_velocity", input="joints", joints=["knee", "wrist", "hip"], scale=0.1),
        term("last_action", scale=2.0),
    ]
    content["action"][0]["groups"] = [
        {"kind": "position", "joints": NAMES, "scale": {"hip": 0.5, "wrist": 9.0, "knee": 0.25},
         "relative_to": "default_joint_pos", **group}
    ]  # fmt: skip
    model = FakeModel(
        {"obs": (1, 9)}, {"act": (1, 3)}, lambda _: {"act": [RAW[model.runs - 1]]}
    )  # fmt: skip
    limits = CommandLimits.none(2)
    rig = make_rig(folder, content, model, period_ns=PERIOD_NS, limits=limits)
    assert list(rig.pipeline.elements) == [
        ActionElement("hip", "position"), ActionElement("knee", "position")
    ]  # fmt: skip
    rows = []
    for k in range(TICKS):
        now_ns = (k + 1) * PERIOD_NS
        # A message that has the absent joint by chance changes nothing.
        names, q, dq = ["knee", "hip"], Q[k], DQ[k]
        if k % 3 == 2:
            names, q, dq = ["knee", "wrist", "hip"], np.insert(q, 1, 7.0), np.insert(dq, 1, 7.0)
        rig.joints("joints", now_ns, names, position=q, velocity=dq)
        step = rig.pipeline.step(now_ns)
        assert step.decision is Decision.RUN, rig.pipeline.safety.detail
        assert step.command is not None
        rows.append([*model.seen[-1]["obs"].reshape(-1), *step.command])
    return np.array(rows)


def test_joints_that_the_robot_lacks(tmp_path: Path) -> None:
    rows, last = [], np.zeros(3)
    for k in range(TICKS):
        last[1] = 0.5
        rows.append([
            Q[k, 1] - 0.2, -0.4, Q[k, 0] - 0.6, 0.1 * DQ[k, 0], 0.025, 0.1 * DQ[k, 1], *(2 * last),
            0.2 + 0.5 * RAW[k, 0], 0.6 + 0.25 * RAW[k, 2],
        ])  # fmt: skip
        last = RAW[k].copy()
    expected = np.array(rows)
    assert meets(_lacking(tmp_path, ABSENT), expected)
    assert meets(_lacking(tmp_path, {"wr.*": ABSENT["wrist"]}), expected)
    other = {"wrist": {**ABSENT["wrist"], "last_action": 0.0}}
    assert not meets(_lacking(tmp_path, other), expected)


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ({"wrst": {}}, "absent_joints.wrst: expected a name or pattern of hip, wrist, knee"),
        ({".*": {}}, "at least one commanded joint that is there"),
        ({"wrist": {}, "wri.*": {}}, "expected one key for 'wrist'"),
    ],
)
def test_absent_joints_that_do_not_fit(tmp_path: Path, absent: Any, expected: str) -> None:
    assert expected in "\n".join(refused(_lacking, tmp_path, absent))
