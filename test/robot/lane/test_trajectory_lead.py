"""`command.trajectory_lead`: where chunks can become trajectories, and where they cannot."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from lane_policy import bound, write_policy

from policy_runner.core.errors import Refusal
from policy_runner.core.pipeline.chunked import ChunkedPolicy

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="needs onnx")
LEAD = {"command.type": "joint_trajectory", "command.trajectory_lead": 0.03}


def laned(folder: Path, **values: Any) -> ChunkedPolicy:
    loaded = bound(folder, "control", **values)
    found = loaded.pipeline.laned
    loaded.close()
    assert isinstance(found, ChunkedPolicy)
    return found


def test_chunks_become_trajectories(tmp_path: Path) -> None:
    folder = write_policy(tmp_path)
    found = laned(folder, **LEAD).trajectories
    assert found is not None
    assert found.steps == 4
    assert laned(folder, **{"command.type": "joint_trajectory"}).trajectories is None


def without_chunk(spec: dict[str, Any]) -> None:
    del spec["chunk"]
    spec["action"][0]["groups"][0]["slice"] = [0, 2]


def velocities(spec: dict[str, Any]) -> None:
    spec["action"][0]["groups"][0] = {"kind": "velocity", "joints": ["a", "b"]}


@pytest.mark.parametrize(
    ("edit", "values", "expected"),
    [
        (None, {"command.type": "joint_state"}, "only command.type joint_trajectory reads it"),
        (without_chunk, {}, "expected 0.0, since this policy has no chunks, got 0.03"),
        (velocities, {}, "only positions that the policy commands become trajectories"),
        (None, {"command.stamp": "zero"}, "the stamp of a trajectory is ahead"),
        (None, {"lockstep": True}, "lockstep needs an answer in every tick"),
    ],
)
def test_where_they_cannot_the_lead_is_refused(
    tmp_path: Path, edit: Any, values: dict[str, Any], expected: str
) -> None:
    folder = write_policy(tmp_path)
    if edit is not None:
        path = folder / "policy.yaml"
        spec = yaml.safe_load(path.read_text())
        edit(spec)
        path.write_text(yaml.safe_dump(spec))
    with pytest.raises(Refusal) as caught:
        bound(folder, "control", simulated="lockstep" in values, **{**LEAD, **values})
    assert expected in str(caught.value)
