"""Gait clocks by the rules of trainers' own code, against loops written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import refused, term
from fidelity_rig import TWIST
from rules_rig import BOOL, DT, TICKS, commands, meets, observed_rows, rig_of

ARRAY = "std_msgs/msg/Float32MultiArray"
COMMANDS = commands()
# A switch that is pressed for some ticks, now and then.
SWITCH = np.array([(k // 11) % 3 == 1 for k in range(TICKS)])
HERTZ = 1.0 + 0.8 * np.sin(np.arange(TICKS) / 17.0)
INPUTS = {"cmd": TWIST, "switch": BOOL, "gait": ARRAY}
Reference = Callable[[], list[list[float]]]
STEP = 0.02 / 0.7  # cycles per inference


def _run(folder: Path, keys: dict[str, Any]) -> np.ndarray:
    hold, frequency = keys.get("hold", {}), keys.get("frequency", {})
    names = {hold.get("input"), frequency.get("input"), keys.get("restart", {}).get("input")}
    inputs = {name: kind for name, kind in INPUTS.items() if name in names}
    clocks, parts = len(keys.get("offsets", [0])), len(keys.get("parts", ["sin", "cos"]))
    rig = rig_of(folder, [term("phase_clock", **keys)], inputs, clocks * parts)

    def feed(k: int, now_ns: int) -> None:
        if "cmd" in inputs:
            x, y, w = COMMANDS[k]
            given = {"linear__x": [x], "linear__y": [y], "angular__z": [w]}
            slot = rig.pipeline.slots["cmd"]
            known = {name.replace(".", "__") for name in slot.arrays}
            rig.feed("cmd", now_ns, **{name: one for name, one in given.items() if name in known})
        if "switch" in inputs:
            rig.feed("switch", now_ns, data=[float(SWITCH[k])])
        if "gait" in inputs:
            rig.feed("gait", now_ns, **{"data[2]": [HERTZ[k]]})

    return observed_rows(rig, feed)


def _sin_cos(phases: list[float]) -> list[float]:
    turns = [2 * math.pi * phase for phase in phases]
    return [*(math.sin(turn) for turn in turns), *(math.cos(turn) for turn in turns)]


def _shown_at_half_while_it_runs_on() -> list[list[float]]:
    # holosoma (LocomotionGait.step): linear norm and yaw rate apart; the clock is the episode's.
    rows = []
    for k in range(TICKS):
        x, y, w = COMMANDS[k]
        stands = math.sqrt(x * x + y * y) < 0.1 and abs(w) < 0.1
        rows.append(_sin_cos([0.5, 0.5] if stands else [k * STEP, k * STEP + 0.5]))
    return rows


def _shown_per_clock() -> list[list[float]]:
    rows, frozen = [], 0
    for k in range(TICKS):
        x, y, _ = COMMANDS[k]
        stands = math.hypot(x, y) < 0.2
        phases = [0.25, 0.75, 0.0] if stands else [frozen * STEP + o for o in (0.0, 0.5, 0.3)]
        rows.append(_sin_cos(phases))
        frozen += not stands
    return rows


def _at_zero_while_it_stands() -> list[list[float]]:
    # tron2_rl_deploy_ros (SolefootController.cpp): 0 while the norm is below 0.02, else advance.
    rows, index = [], 0.0
    for k in range(TICKS):
        stands = np.linalg.norm(COMMANDS[k]) < 0.02
        index = 0.0 if stands else math.fmod(index + STEP, 1.0)
        rows.append([math.sin(2 * math.pi * index), math.cos(2 * math.pi * index)])
    return rows


def _restarts_with_the_command() -> list[list[float]]:
    # holosoma (its inference): advance, then show; pi while standing; start again after that.
    rows, phase, standing = [], [0.0, math.pi], False
    for k in range(TICKS):
        x, y, w = COMMANDS[k]
        phase = [math.fmod(p + 2 * math.pi * STEP + math.pi, 2 * math.pi) - math.pi for p in phase]
        if math.hypot(x, y) < 0.01 and abs(w) < 0.01:
            phase, standing = [math.pi, math.pi], True
        elif standing:
            phase, standing = [0.0, math.pi], False
        rows.append([*(math.sin(p) for p in phase), *(math.cos(p) for p in phase)])
    return rows


def _continues_from_what_stood() -> list[list[float]]:
    # MuJoCo Playground (T1, Apollo: step): the state itself is pi for both feet while it stands.
    rows, phase = [], np.array([0.0, math.pi])
    for k in range(TICKS):
        stands = np.linalg.norm(COMMANDS[k]) <= 0.01
        shown = np.array([math.pi, math.pi]) if stands else phase
        rows.append([*np.sin(shown), *np.cos(shown)])
        phase = shown if stands else np.fmod(shown + 2 * math.pi * STEP, 2 * math.pi)
    return rows


def _nothing_while_it_stands() -> list[list[float]]:
    # booster_gym (t1.py): frequency 0 while standing, and sine and cosine are 0, too.
    rows, process = [], 0.0
    for k in range(TICKS):
        moves = float(np.linalg.norm(COMMANDS[k]) >= 1e-5)
        rows.append(
            [math.cos(2 * math.pi * process) * moves, math.sin(2 * math.pi * process) * moves]
        )
        process = math.fmod(process + moves * STEP, 1.0)
    return rows


def _one_step_ahead() -> list[list[float]]:
    # unitree_rl_gym (deploy_real.py): the counter is raised before the first observation.
    return [_sin_cos([((k + 1) * DT) % 0.7 / 0.7]) for k in range(TICKS)]


def _freezes_by_yaw_alone_and_advances_first() -> list[list[float]]:
    rows, steps = [], 0
    for k in range(TICKS):
        steps += abs(COMMANDS[k, 2]) >= 0.3
        rows.append([steps * STEP % 1.0])
    return rows


def _switched_off() -> list[list[float]]:
    rows, steps = [], 0
    for k in range(TICKS):
        rows.append(_sin_cos([steps * STEP]))
        steps += not SWITCH[k]
    return rows


def _started_by_a_switch() -> list[list[float]]:
    rows, steps = [], 0
    for k in range(TICKS):
        rows.append(_sin_cos([0.25 + steps * STEP * SWITCH[k]]))
        steps = steps + 1 if SWITCH[k] else 0
    return rows


def _restarted_by_a_switch() -> list[list[float]]:
    rows, steps, before = [], 0, False
    for k in range(TICKS):
        if SWITCH[k] and not before:
            steps = 0
        before = bool(SWITCH[k])
        rows.append(_sin_cos([0.1 + steps * STEP]))
        steps += 1
    return rows


def _faster_with_the_command() -> list[list[float]]:
    rows, phase = [], 0.0
    for k in range(TICKS):
        rows.append(_sin_cos([phase]))
        v = math.hypot(COMMANDS[k, 0], COMMANDS[k, 1])
        phase += DT * (1.25 + 0.5 * min(v, 1.5) / 1.5)
    return rows


def _frequency_from_an_input() -> list[list[float]]:
    # walk-these-ways (legged_robot.py): gait_indices += dt * commands[4], four sines.
    rows, index = [], 0.0
    for k in range(TICKS):
        index = math.fmod(index + DT * min(HERTZ[k], 1.6), 1.0)
        rows.append([math.sin(2 * math.pi * (index + off)) for off in (0.5, 0.0, 0.0, 0.5)])
    return rows


TWO = {"period": 0.7, "offsets": [0.0, 0.5]}
APART = {"input": "cmd", "groups": [["linear.x", "linear.y"], ["angular.z"]]}
THREE = {"period": 0.7, "offsets": [0.0, 0.5, 0.3]}
TRON2 = {"input": "cmd", "below": 0.02}
LINEAR = {"input": "cmd", "axes": ["linear.x", "linear.y"], "below": 0.2}
GAIT = {"input": "gait", "fields": ["data[2]"], "clip": [None, 1.6]}
SPEED = {"input": "cmd", "axes": ["linear.x", "linear.y"], "points": [[0, 1.25], [1.5, 1.75]]}
RESTART_AT = {**APART, "below": 0.01, "clock": "restart", "at": 0.5}
FROM_AT = {"input": "cmd", "below": 0.01, "inclusive": True, "clock": "restart", "at": 0.5,
           "restart_from": "at"}  # fmt: skip
# name: (keys, reference, keys of a mutation that must not meet it)
CASES: dict[str, tuple[dict[str, Any], Reference, dict[str, Any]]] = {
    "shown at half while it runs on": (
        {**TWO, "hold": {**APART, "below": 0.1, "clock": "run", "at": 0.5}},
        _shown_at_half_while_it_runs_on,
        {**TWO, "hold": {**APART, "below": 0.1, "clock": "freeze", "at": 0.5}},
    ),
    "shown per clock": (
        {**THREE, "hold": {**LINEAR, "at": [0.25, 0.75, 0.0]}},
        _shown_per_clock,
        {**THREE, "hold": {**LINEAR, "at": [0.25, 0.25, 0.0]}},
    ),
    "at zero while it stands": (
        {"period": 0.7, "first": "start_plus_step",
         "hold": {**TRON2, "clock": "restart", "first": "start_plus_step"}},
        _at_zero_while_it_stands,
        {"period": 0.7, "first": "start_plus_step", "hold": {**TRON2, "clock": "restart"}},
    ),
    "groups apart and not together": (
        {**TWO, "hold": {**APART, "below": [0.1, 0.1], "clock": "run", "at": [0.5, 0.5]}},
        _shown_at_half_while_it_runs_on,
        {**TWO, "hold": {"input": "cmd", "below": 0.1, "clock": "run", "at": 0.5}},
    ),
    "restarts with the command": (
        {**TWO, "first": "start_plus_step", "hold": RESTART_AT},
        _restarts_with_the_command,
        {**TWO, "first": "start_plus_step", "hold": {**RESTART_AT, "first": "start_plus_step"}},
    ),
    "continues from what stood": (
        {**TWO, "hold": FROM_AT, "start": 0.0},
        _continues_from_what_stood,
        {**TWO, "hold": {**FROM_AT, "restart_from": "start"}},
    ),
    "nothing while it stands": (
        {"period": 0.7, "parts": ["cos", "sin"],
         "hold": {"input": "cmd", "below": 1e-5, "shown": 0.0}},
        _nothing_while_it_stands,
        {"period": 0.7, "parts": ["cos", "sin"],
         "hold": {"input": "cmd", "below": 1e-5, "at": 0.0}},
    ),
    "one step ahead": (
        {"period": 0.7, "first": "start_plus_step"}, _one_step_ahead, {"period": 0.7}
    ),
    "freezes by yaw alone, advances first": (
        {"period": 0.7, "first": "start_plus_step", "parts": ["phase"],
         "hold": {"input": "cmd", "axes": ["angular.z"], "below": 0.3}},
        _freezes_by_yaw_alone_and_advances_first,
        {"period": 0.7, "first": "start", "parts": ["phase"],
         "hold": {"input": "cmd", "axes": ["angular.z"], "below": 0.3}},
    ),
    "switched off": (
        {"period": 0.7, "hold": {"input": "switch"}},
        _switched_off,
        {"period": 0.7, "hold": {"input": "switch", "when": False}},
    ),
    "started by a switch": (
        {"period": 0.7, "start": 0.25,
         "hold": {"input": "switch", "when": False, "clock": "restart"}},
        _started_by_a_switch,
        {"period": 0.7, "start": 0.25, "hold": {"input": "switch", "when": False}},
    ),
    "restarted by a switch": (
        {"period": 0.7, "start": 0.1, "restart": {"input": "switch"}},
        _restarted_by_a_switch,
        {"period": 0.7, "start": 0.1, "hold": {"input": "switch", "clock": "restart"}},
    ),
    "faster with the command": (
        {"frequency": SPEED}, _faster_with_the_command, {"period": 0.8}
    ),
    "frequency from an input": (
        {"frequency": GAIT, "first": "start_plus_step", "parts": ["sin"],
         "offsets": [0.5, 0.0, 0.0, 0.5]},
        _frequency_from_an_input,
        {"frequency": GAIT, "parts": ["sin"], "offsets": [0.5, 0.0, 0.0, 0.5]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_gait_clock_by_hand(tmp_path: Path, case: str) -> None:
    keys, reference, mutation = CASES[case]
    expected = np.array(reference())
    assert meets(_run(tmp_path, keys), expected)
    assert not meets(_run(tmp_path, mutation), expected)


def test_a_jump_between_two_points(tmp_path: Path) -> None:
    points = [[0.0, 0.0], [0.5, 0.0], [0.5, 2.0], [1.0, 3.0]]
    frequency = {"input": "cmd", "axes": ["linear.x"], "points": points}
    found = _run(tmp_path, {"frequency": frequency, "parts": ["phase"]})
    phase, rows = 0.0, []
    for k in range(TICKS):
        rows.append([phase % 1.0])
        v = abs(COMMANDS[k, 0])
        phase += DT * (0.0 if v < 0.5 else min(2.0 + 2.0 * (v - 0.5), 3.0))
    assert meets(found, np.array(rows))


HOLD = {"input": "cmd", "below": 0.1}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "expected one of `period` and `frequency`, got none"),
        ({"period": 1, "frequency": GAIT}, "one of `period` and `frequency`, got both"),
        ({"period": 1, "hold": {**HOLD, "clock": "run"}}, "`at` or `shown`, since the clock runs"),
        ({"period": 1, "hold": {**HOLD, "at": 0.5, "shown": 0}}, "one of `at` and `shown`"),
        ({"period": 1, "hold": {"input": "cmd"}}, "hold.below: expected a threshold"),
        ({"period": 1, "hold": {**HOLD, "when": False}}, "this key only for a Bool"),
        ({"period": 1, "hold": {"input": "switch", "below": 1}}, "since the input is a Bool"),
        ({"period": 1, "hold": {**HOLD, "restart_from": "at", "at": 0.5}}, "clock: restart"),
        ({"period": 1, "hold": {**HOLD, "clock": "restart", "restart_from": "at"}}, "a phase"),
        ({"period": 1, "hold": {**APART, "below": [0.1]}}, "expected one number, or 2, one per"),
        ({"period": 1, "hold": {**APART, "axes": ["linear.x"], "below": 1}}, "one of `axes`"),
        ({"period": 1, "hold": {**HOLD, "groups": [["linear.a"]]}}, "one of linear.x"),
        ({"period": 1, "hold": {**HOLD, "shown": [0, 0, 0]}}, "hold.shown"),
        ({"period": 1, "restart": {"input": "cmd"}}, "a std_msgs/msg/Bool, got geometry_msgs"),
        ({"frequency": {"input": "cmd"}}, "`points`, since several numbers give a norm"),
        ({"frequency": {**SPEED, "points": [[1, 1], [0, 2]]}}, "norms in rising order"),
        ({"frequency": {"input": "gait", "axes": ["linear.x"]}}, "Twist or TwistStamped"),
    ],
)
def test_clocks_that_do_not_fit(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    sentences = refused(rig_of, tmp_path, [term("phase_clock", **keys)], INPUTS, 2)
    assert expected in sentences[0], sentences
