"""Drafts of LeRobot's processors and statistics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from foreign_files import write_processors
from import_rig import facts, unknown

from policy_runner.core.errors import Refusal
from policy_runner.core.files.arrays import read_statistics
from policy_runner.formats.draft import rounded
from policy_runner.formats.lerobot.processors import draft_processors, draft_stats


def test_lerobot_processors_give_formula_and_statistics(tmp_path: Path) -> None:
    write_processors(tmp_path)
    model = facts(
        inputs={"state": [1, 4], "image": [1, 3, 8, 8]}, outputs={"action_chunk": [1, 5, 2]}
    )
    draft = draft_processors(tmp_path, model)
    state = draft.spec["observation"][0]["normalization"]
    assert state["preset"] == "lerobot_mean_std"
    stored = read_statistics(tmp_path / state["statistics"])
    assert np.array_equal(stored[state["keys"]["mean"]], np.arange(4.0))
    action = draft.spec["action"][0]
    assert action["denormalization"]["preset"] == "lerobot_quantiles"
    assert state["statistics"].startswith("policy_preprocessor_")
    assert action["denormalization"]["statistics"].startswith("policy_postprocessor_")
    assert action["denormalization"]["keys"] == {"q01": "action.q01", "q99": "action.q99"}
    assert "slice" not in action["groups"][0]
    assert "chunk.dt" in unknown(draft)
    assert "observation[0].normalization" not in unknown(draft)


def test_lerobot_identity_is_no_normalization(tmp_path: Path) -> None:
    write_processors(tmp_path, "IDENTITY", "IDENTITY")
    draft = draft_processors(tmp_path, facts(inputs={"state": [1, 4]}))
    assert draft.spec["observation"][0]["normalization"] == "none"
    assert "denormalization" not in draft.spec["action"][0]
    write_processors(tmp_path, "ODD")
    with pytest.raises(Refusal, match=r"norm_map\.STATE"):
        draft_processors(tmp_path, facts())


def test_statistics_alone_do_not_say_how_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    stats = {"observation.state": {"mean": [0.0] * 4, "std": [1.0] * 4},
             "action": {"mean": [0.0] * 2, "std": [1.0] * 2}}  # fmt: skip
    path.write_text(json.dumps(stats))
    draft = draft_stats(path, facts(inputs={"state": [1, 4]}))
    assert "observation[0].normalization.preset" in unknown(draft)
    assert unknown(draft).count("action[0].denormalization.preset") == 0  # the same TODO
    assert draft.spec["action"][0]["denormalization"]["group"] == "action"


@pytest.mark.parametrize(
    ("values", "so"),
    [
        ([0.548, 0.351, 0.439], True),
        ([0.548, 0.351, 0.439, 1.0, 0.0], True),
        ([0.125, 0.25, 0.5], False),
        ([0.54754, 0.351, 0.439, 0.123], False),
        ([0.548] * 9, False),
        ([], False),
    ],
)
def test_rounded_numbers_are_recognized(values: list[float], so: bool) -> None:
    assert rounded(values, 3) is so
