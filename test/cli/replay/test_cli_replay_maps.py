"""`replay` of maps from an .npz: the facts of all maps once, the cells of each."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import save, write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")
MAP = {
    "inputs": {"map": {"type": "nav_msgs/msg/OccupancyGrid", "topic": "map"}},
    "observation": [{"tensor": "obs", "terms": [{
        "term": "occupancy_grid", "input": "map", "size": [2, 3], "resolution": 0.5,
        "frame": "base_link", "origin": [-0.75, -0.5], "unknown": 50, "scale": 0.01}],
        "normalization": "none"}],
}  # fmt: skip
CELLS = np.array([[0, 100, -1, 25, 50, 75], [1, 2, 3, 4, 5, 6]], dtype=np.int8)
FACTS = {
    "header.frame_id": "base_link", "info.width": 3, "info.height": 2, "info.resolution": 0.5,
    "info.origin.position.x": -0.75, "info.origin.position.y": -0.5,
    "info.origin.orientation.x": 0.0, "info.origin.orientation.y": 0.0,
    "info.origin.orientation.z": 0.0,
}  # fmt: skip


def _replayed(folder: Path, **changes: Any) -> tuple[int, Any]:
    policy = write_policy(folder / "policy", size=6, **MAP)
    given = {f"map/{path}": np.array(value) for path, value in {**FACTS, **changes}.items()}
    given |= {"map/data": CELLS, "control_dt": np.array(0.02)}
    out = folder / "out.npz"
    status = main(["replay", str(policy), str(save(folder / "in.npz", given)), "-o", str(out)])
    return status, dict(np.load(out)) if status == 0 else None


def test_cells_are_the_observation(tmp_path: Path) -> None:
    status, found = _replayed(tmp_path)
    assert status == 0
    wanted = np.array([[0, 1.0, 0.5, 0.25, 0.5, 0.75], [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]])
    np.testing.assert_allclose(found["observation/obs"], wanted, atol=1e-7)


def test_a_map_of_another_resolution_never_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = _replayed(tmp_path, **{"info.resolution": 0.25})
    assert found is None or not found["inferred"].any()
    told = capsys.readouterr()
    assert "cells of 0.25 m instead of 0.5 m" in " ".join((told.out + told.err).split())
