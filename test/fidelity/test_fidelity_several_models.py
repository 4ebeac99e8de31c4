"""A chain of models and a switch between policies meet loops of plain numpy, tick by tick."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import several_rig
from several_rig import DOWN, JOINTS, UP, StandLoop, WalkLoop, chain, recorded, switch, walked

from policy_runner.core.safety.decision import Decision
from policy_runner.robot.load import load_policy

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")
TICK_NS = round(several_rig.PERIOD_S * 1e9)


def run(folder: Path, content: dict[str, Any], given: dict[str, np.ndarray]) -> np.ndarray:
    """Run the package on the recording; return its targets [ticks, 2]."""
    loaded = load_policy(several_rig.write(folder, content))
    targets = []
    for k, (position, velocity, command) in enumerate(
        zip(given["position"], given["velocity"], given["command"], strict=True)
    ):
        now_ns = (k + 1) * TICK_NS
        joints = {"name": list(JOINTS), "position": position, "velocity": velocity}
        loaded.feed("joints", joints, now_ns)
        x, y, turn = command
        loaded.feed("command", {"linear.x": x, "linear.y": y, "angular.z": turn}, now_ns)
        step = loaded.pipeline.step(now_ns)
        assert step.decision is Decision.RUN, loaded.pipeline.safety.detail
        targets.append(loaded.pipeline.policy.decoder.target.copy())
    loaded.close()
    return np.array(targets)


def met(found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.all(np.abs(found - wanted) <= 1e-4 + 1e-5 * np.abs(wanted)))


def switched(given: dict[str, np.ndarray], rules: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Return (targets [ticks, 2], changes) of a switch by these rules, in plain numpy."""
    stand, walk = StandLoop(), WalkLoop()
    walking, targets, changes = False, [], 0
    for k, (position, velocity, command) in enumerate(
        zip(given["position"], given["velocity"], given["command"], strict=True)
    ):
        speed = np.sqrt(np.sum(command**2))
        was, walking = walking, speed > UP or (walking and speed >= DOWN)
        if k and was != walking:
            changes += 1
            now = walk if walking else stand
            if rules["last_action"] == "zeros":
                now.last = np.zeros(2)
            if rules["state"] == "reset":
                walk.begin() if walking else stand.reset()
            elif rules["state"] == "keep" and walking:
                walk.count = 0  # the latent is old: the encoder runs at once
            if rules["history"] == "reset" and walking:
                walk.frames = [np.zeros(several_rig.FRAME)] * several_rig.LENGTH
        if walking:
            if rules["state"] == "advance":
                stand.follow(position)
            targets.append(walk.step(position, velocity, command))
        else:
            if rules["history"] == "advance":
                walk.push(position, velocity)
            if rules["state"] == "advance":
                walk.encode()
            targets.append(stand.step(position))
        if rules["last_action"] == "carry":
            stand.last = walk.last = walk.last if walking else stand.last
    return np.array(targets), changes


RULES = [
    {"state": "reset", "history": "reset", "last_action": "zeros"},
    {"state": "keep", "history": "keep", "last_action": "own"},
    {"state": "advance", "history": "advance", "last_action": "carry"},
    {"state": "reset", "history": "advance", "last_action": "own"},
]


def test_an_encoder_at_its_own_rate_meets_a_numpy_loop(tmp_path: Path) -> None:
    given = recorded()
    assert met(run(tmp_path, chain(), given), walked(given))


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: "-".join(rules.values()))
def test_a_switch_meets_a_numpy_loop(rules: dict[str, Any], tmp_path: Path) -> None:
    given = recorded()
    wanted, changes = switched(given, rules)
    assert changes >= 4  # the recording crosses both thresholds several times
    assert met(run(tmp_path, switch(**rules), given), wanted)


def _rate(content: dict[str, Any]) -> None:
    content["models"]["encoder"]["every"] = 2


def _memory(content: dict[str, Any]) -> None:
    model = content["models"]["encoder"]
    model["state"] = []
    model["observation"].append({"tensor": "memory", "constant": 0.0})
    model["ignored_outputs"] = ["next_memory"]


def _previous(content: dict[str, Any]) -> None:
    content["observation"][0]["terms"][1]["previous"] = True


def _unscaled(content: dict[str, Any]) -> None:
    del content["observation"][0]["terms"][1]["scale"]


@pytest.mark.parametrize("change", [_rate, _memory, _previous, _unscaled])
def test_a_wrong_word_about_the_encoder_fails_the_golden(change: Any, tmp_path: Path) -> None:
    given, content = recorded(), chain()
    change(content)
    assert not met(run(tmp_path, content, given), walked(given))


@pytest.mark.parametrize("k", range(len(RULES)))
def test_a_wrong_word_about_the_switch_fails_the_golden(k: int, tmp_path: Path) -> None:
    given = recorded()
    wanted, _ = switched(given, RULES[k])
    assert not met(run(tmp_path / "rule", switch(**RULES[k - 1]), given), wanted)
    wide = [{"up": UP, "down": UP}]  # without the hysteresis
    assert not met(run(tmp_path / "wide", switch(**RULES[k], thresholds=wide), given), wanted)
