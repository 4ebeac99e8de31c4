"""Mistakes of users in a spec, and the sentence that reports each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from core_rig import FakeModel, make_rig, refused, spec_content, term, write_spec

from policy_runner.core.spec import Normalization, QuaternionTerm, read_spec

STATISTICS = {"mean": [0.0, 0.0], "var": [1.0, 1.0]}
SB3 = {"preset": "sb3", "statistics": "s.npz"}


def _refused(folder: Path, content: dict[str, Any]) -> list[str]:
    np.savez(folder / "s.npz", **{k: np.array(v) for k, v in STATISTICS.items()})
    model = FakeModel({"obs": (1, 2)}, {"act": (1, 2)})
    sentences = refused(make_rig, folder, content, model)
    return [sentence.removeprefix(f"{folder}/") for sentence in sentences]


def _tensor(content: dict[str, Any]) -> dict[str, Any]:
    tensor: dict[str, Any] = content["observation"][0]
    return tensor


def _set_term(**keys: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda c: _tensor(c)["terms"][0].update(keys)


CASES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "in_model with a statistics file": (
        lambda c: _tensor(c).update(normalization="in_model", statistics="s.npz"),
        "policy.yaml: observation[0].statistics: expected no such key next to `normalization: "
        "in_model`, got 'statistics'; a normalizer is in the graph or outside it, not both",
    ),
    "statistics next to the normalization": (
        lambda c: _tensor(c).update(normalization={"preset": "sb3", "statistics": "s.npz"}, eps=1),
        "policy.yaml: observation[0].eps: expected a known key, got 'eps'; "
        "`eps` is a key of `normalization`",
    ),
    "in_model as a preset": (
        lambda c: _tensor(c).update(normalization={"preset": "in_model", "statistics": "s.npz"}),
        "policy.yaml: observation[0].normalization.preset: expected 'sb3', 'rsl_rl', 'rl_games', "
        "'skrl', 'lerobot_mean_std', 'lerobot_min_max', 'lerobot_quantiles', "
        "'lerobot_quantile10', 'lerobot_identity', 'openpi_z' or 'openpi_quantile', "
        "got 'in_model'; write `normalization: in_model`, without statistics",
    ),
    "a preset without statistics": (
        lambda c: _tensor(c).update(normalization={"preset": "sb3"}),
        "policy.yaml: observation[0].normalization.statistics: expected a file or numbers, "
        "got nothing",
    ),
    "an identity with statistics": (
        lambda c: _tensor(c).update(
            normalization={"preset": "lerobot_identity", "statistics": STATISTICS}
        ),
        "policy.yaml: observation[0].normalization.statistics: expected none, for an identity, "
        "got some",
    ),
    "a duplicate joint": (
        lambda c: c.update(joint_names=["a", "b", "a"]),
        "policy.yaml: joint_names: expected every joint once, got 'a' twice",
    ),
    "sizes that do not add up": (
        lambda c: _tensor(c)["terms"].append(term("first_step")),
        "policy.yaml: observation[0].terms: expected terms that add up to the 2 elements of "
        "'obs', got 3 (joint_velocity 2, first_step 1)",
    ),
    "a key with a near miss": (
        _set_term(relativ_to="zero"),
        "policy.yaml: observation[0].terms[0].relativ_to: expected a known key, "
        "got 'relativ_to'; did you mean 'relative_to'?",
    ),
    "a key of a term that is called like its kind": (
        lambda c: _tensor(c).update(terms=[term("field", input="joints", field=3)]),
        "policy.yaml: observation[0].terms[0].field: expected text, got 3",
    ),
    "a mistake inside a whole tensor": (
        lambda c: c.update(
            observation=[{"tensor": "obs", "whole": term("phase_clock", period=0)}]
        ),
        "policy.yaml: observation[0].whole.period: expected greater than 0, got 0",
    ),
    "a position below zero": (
        lambda c: _tensor(c).update(tensor=-1),
        "policy.yaml: observation[0].tensor: expected greater than or equal to 0, got -1",
    ),
    "a pose of another length": (
        lambda c: c.update(default_joint_pos={"a": 1.0}),
        "policy.yaml: default_joint_pos: expected a number for every one of a, b, got none: b",
    ),
    "a hold of a clock without its command": (
        lambda c: _tensor(c).update(
            terms=[term("phase_clock", period=1, hold={"input": "joints", "below": 1})]
        ),
        "policy.yaml: observation[0].terms[0].hold.input: expected an input of type "
        "geometry_msgs/msg/Twist or TwistStamped, got sensor_msgs/msg/JointState",
    ),
    "a clock shown at more phases than there are clocks": (
        lambda c: (
            c["inputs"].update(cmd={"type": "geometry_msgs/msg/Twist", "topic": "cmd"}),
            _tensor(c).update(
                terms=[
                    term("phase_clock", period=1,
                         hold={"input": "cmd", "below": 1, "at": [0.0, 0.5]})
                ]
            ),
        ),
        "policy.yaml: observation[0].terms[0].hold.at: expected one number, or 1, one per clock, "
        "got 2",
    ),
    "a dead band below zero": (
        lambda c: (
            c["inputs"].update(cmd={"type": "geometry_msgs/msg/Twist", "topic": "cmd"}),
            _tensor(c).update(terms=[term("velocity_command", input="cmd", dead_band=-0.1)]),
        ),
        "policy.yaml: observation[0].terms[0].dead_band: expected 0 or more, got -0.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_mistake_is_one_sentence(tmp_path: Path, case: str) -> None:
    change, expected = CASES[case]
    content = json.loads(json.dumps(spec_content()))
    change(content)
    assert expected in _refused(tmp_path, content)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("preset", ["sb3", "lerobot_min_max", "openpi_quantile"])
def test_statistics_that_are_not_finite(tmp_path: Path, preset: str, bad: float) -> None:
    names = {"sb3": ("mean", "var"), "lerobot_min_max": ("min", "max")}.get(preset, ("q01", "q99"))
    np.savez(tmp_path / "bad.npz", **{names[0]: [0.0, 0.0], names[1]: [1.0, bad]})
    content = spec_content()
    _tensor(content)["normalization"] = {"preset": preset, "statistics": "bad.npz"}
    model = FakeModel({"obs": (1, 2)}, {"act": (1, 2)})
    assert refused(make_rig, tmp_path, content, model) == [
        f"{tmp_path / 'bad.npz'}: {names[1]}[1]: expected a finite number, got {bad}"
    ]


@pytest.mark.parametrize("word", ["on", "'on'", '"on"'])
def test_on_is_a_key_and_no_truth(tmp_path: Path, word: str) -> None:
    content = spec_content()
    _tensor(content)["normalization"] = {"preset": "sb3", "statistics": STATISTICS}
    _tensor(content)["history"] = {
        "stack": "frame", "order": "oldest_first", "length": 1, "fill": "zeros",
    }  # fmt: skip
    text = yaml.safe_dump(content)
    marked = text.replace("preset: sb3", f"preset: sb3\n    {word}: frame")
    assert marked != text
    path = write_spec(tmp_path, marked)
    normalization = read_spec(path).spec.observation[0].normalization
    assert isinstance(normalization, Normalization)
    assert normalization.on == "frame"


@pytest.mark.parametrize("word", ["true", "True", "FALSE"])
def test_truths_are_still_truths(tmp_path: Path, word: str) -> None:
    content = spec_content(inputs={"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}})
    _tensor(content)["terms"] = [term("quaternion", input="imu", layout="xyzw", positive_w=True)]
    text = yaml.safe_dump(content).replace("positive_w: true", f"positive_w: {word}")
    one = read_spec(write_spec(tmp_path, text)).spec.observation[0].every_term[0]
    assert isinstance(one, QuaternionTerm)
    assert one.positive_w == (word.lower() == "true")
