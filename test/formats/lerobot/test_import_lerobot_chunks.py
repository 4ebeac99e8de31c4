"""LeRobot's ACT, diffusion and flow folders give their chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_files import write_processors
from import_rig import facts, unknown

from policy_runner.core.errors import Refusal
from policy_runner.formats.lerobot.processors import draft_processors, draft_stats


def folder(path: Path, config: dict[str, Any] | None = None, fps: float = 0.0) -> Path:
    write_processors(path)
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    if fps:
        (path / "meta").mkdir()
        (path / "meta" / "info.json").write_text(json.dumps({"fps": fps}))
    return path


def chunk(path: Path, outputs: list[int], **inputs: list[int]) -> dict[str, Any]:
    shapes: dict[str, list[Any]] = {"state": [1, 4], **inputs}
    draft = draft_processors(path, facts(inputs=shapes, outputs={"actions": outputs}))
    found: dict[str, Any] = {**draft.spec, "unknown": unknown(draft)}
    return found


def test_act(tmp_path: Path) -> None:
    config = {"type": "act", "chunk_size": 100, "n_action_steps": 60, "n_obs_steps": 1,
              "temporal_ensemble_coeff": None}  # fmt: skip
    spec = chunk(folder(tmp_path, config, 50), [1, 100, 2])
    assert spec["chunk"] == {"dt": 0.02, "n_action_steps": 60}
    assert spec["control_dt"] == 0.02


def test_act_with_its_ensemble_plays_all_actions(tmp_path: Path) -> None:
    config = {"type": "act", "chunk_size": 100, "n_action_steps": 1,
              "temporal_ensemble_coeff": 0.01}  # fmt: skip
    spec = chunk(folder(tmp_path, config), [1, 100, 2])
    seam = {"method": "temporal_ensemble", "coefficient": 0.01}
    assert spec["chunk"].pop("dt").startswith("TODO")
    assert spec["chunk"] == {"seam": seam}
    assert "chunk.dt" in spec["unknown"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(16, {"observed_index": 1, "n_action_steps": 8}), (8, {})],
)
def test_diffusion_counts_from_the_oldest_observation(
    tmp_path: Path, steps: int, expected: dict[str, int]
) -> None:
    """The bare loop gives the horizon; an export of the policy's own method is cut already."""
    config = {"type": "diffusion", "horizon": 16, "n_action_steps": 8, "n_obs_steps": 2}
    spec = chunk(folder(tmp_path, config, 10), [1, steps, 2])
    assert spec["chunk"] == {"dt": 0.1, **expected}


def test_a_whole_flow_has_a_noise_input(tmp_path: Path) -> None:
    config = {"type": "smolvla", "chunk_size": 50, "n_action_steps": 50, "num_steps": 10}
    spec = chunk(folder(tmp_path, config, 30), [1, 50, 32], noise=[1, 50, 32])
    assert spec["chunk"] == {"dt": 1 / 30, "noise": [{"tensor": "noise"}]}
    assert [one["tensor"] for one in spec["observation"]] == ["state"]
    assert spec["action"][0]["groups"][0]["slice"] == [0, 2]  # padded to 32 elements


@pytest.mark.parametrize(
    ("config", "rtc"),
    [
        ({}, None),
        ({"rtc_config": {"enabled": False}}, None),
        (
            {"rtc_config": {"enabled": True, "prefix_attention_schedule": "EXP",
                            "max_guidance_weight": 5.0, "execution_horizon": 10}},
            {"method": "guided", "schedule": "exp", "max_gain": 5.0},
        ),
        ({"rtc_training_max_delay": 6}, {"method": "trained", "max_delay": 6}),
    ],
)  # fmt: skip
def test_one_step_of_a_flow(
    tmp_path: Path, config: dict[str, Any], rtc: dict[str, Any] | None
) -> None:
    path = folder(tmp_path, {"type": "pi0", "num_steps": 10, **config}, 30)
    spec = chunk(path, [1, 50, 2], x_t=[1, 50, 2], timestep=[1])
    expected: dict[str, Any] = {
        "dt": 1 / 30,
        "denoise": {"steps": 10, "input": "x_t", "time": "timestep"},
    }
    assert spec["chunk"] == (expected if rtc is None else {**expected, "rtc": rtc})
    assert [one["tensor"] for one in spec["observation"]] == ["state"]


def relative(path: Path, **config: Any) -> None:
    file = path / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    content["steps"].append({"registry_name": "relative_actions_processor", "config": config})
    file.write_text(json.dumps(content))


def test_relative_actions_are_relative_to_the_measured_state(tmp_path: Path) -> None:
    relative(folder(tmp_path), enabled=True, exclude_joints=[], action_names=None)
    group = chunk(tmp_path, [1, 50, 2])["action"][0]["groups"][0]
    assert group["relative_to"] == "measured"


def test_a_gripper_that_stays_absolute_is_a_question(tmp_path: Path) -> None:
    names = ["elbow.pos", "left_Gripper.pos"]
    relative(folder(tmp_path), enabled=True, exclude_joints=["gripper"], action_names=names)
    group = chunk(tmp_path, [1, 50, 2])["action"][0]["groups"][0]
    assert "measured for elements 0, zero for the others" in group["relative_to"]


def test_relative_actions_that_are_switched_off(tmp_path: Path) -> None:
    relative(folder(tmp_path), enabled=False)
    assert "relative_to" not in chunk(tmp_path, [1, 50, 2])["action"][0]["groups"][0]


def test_one_action_and_flat_chunks(tmp_path: Path) -> None:
    assert "chunk" not in chunk(folder(tmp_path), [1, 2])
    assert chunk(tmp_path, [1, 40])["chunk"]["steps"] == 20


def test_images_have_their_statistics(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    channels = {"mean": [[[0.1]], [[0.2]], [[0.3]]], "std": [[[1.0]], [[2.0]], [[3.0]]]}
    path.write_text(json.dumps({
        "observation.images.top": channels, "action": {"mean": [0.0] * 2, "std": [1.0] * 2},
    }))  # fmt: skip
    model = facts(inputs={"top": [1, 3, 8, 9]}, outputs={"actions": [1, 20, 2]})
    whole = draft_stats(path, model).spec["observation"][0]["whole"]
    assert whole["mean"] == [0.1, 0.2, 0.3]
    assert whole["std"] == [1.0, 2.0, 3.0]
    assert whole["size"] == [8, 9]
    assert whole["input"] == "top"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("config.json", "[]", "a mapping of keys"),
        ("config.json", "{", "expected JSON"),
        ("train_config.json", '{"env": {"fps": 0}}', "a rate above 0"),
        ("train_config.json", '{"env": {"fps": "x"}}', "LeRobot"),
        ("config.json", '{"n_action_steps": "x"}', "LeRobot"),
    ],
)
def test_files_that_do_not_follow_the_format(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    folder(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(Refusal, match=expected):
        chunk(tmp_path, [1, 50, 2])
