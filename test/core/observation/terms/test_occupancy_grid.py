"""A map's cells reach the policy, and a map of other facts than those of training does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from core_rig import Rig, make_rig, spec_content, term

from policy_runner.core.errors import Refusal
from policy_runner.core.safety.decision import Decision
from policy_runner.robot.feed import feed

GRID = "nav_msgs/msg/OccupancyGrid"


def _rig(folder: Path, kind: str = GRID, **more: Any) -> Rig:
    content = spec_content(inputs={"map": {"type": kind, "topic": "map"}})
    facts: dict[str, Any] = {"size": [2, 3], "resolution": 0.1, "frame": "base_link"}
    facts |= {"origin": [-0.15, -0.1], "unknown": 50, "scale": 0.01, **more}
    content["observation"][0]["terms"] = [term("occupancy_grid", input="map", **facts)]
    return make_rig(folder, content, size=6)


def _map(**more: Any) -> SimpleNamespace:
    given: dict[str, Any] = {
        "frame": "base_link", "width": 3, "height": 2, "resolution": float(np.float32(0.1)),
        "data": [0, 100, -1, 25, 50, 75], "origin": (-0.15, -0.1), "turned": (0, 0, 0, 1), **more,
    }  # fmt: skip
    position = SimpleNamespace(x=given["origin"][0], y=given["origin"][1], z=0.0)
    orientation = SimpleNamespace(**dict(zip("xyzw", given["turned"], strict=True)))
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=given["frame"]),
        info=SimpleNamespace(
            width=given["width"], height=given["height"], resolution=given["resolution"],
            origin=SimpleNamespace(position=position, orientation=orientation),
        ),
        data=np.array(given["data"], dtype=np.int8),
    )  # fmt: skip


def _decided(rig: Rig, message: SimpleNamespace, now_ns: int = 1) -> tuple[Decision, str]:
    feed(rig.pipeline.slots["map"], {"": message}, now_ns)
    step = rig.pipeline.step(now_ns)
    return step.decision, rig.pipeline.safety.detail


def test_cells_in_the_order_of_the_message_with_a_number_for_unknown(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    assert _decided(rig, _map())[0] is Decision.RUN
    seen = rig.model.inputs["obs"].reshape(-1)
    assert seen == pytest.approx([0.0, 1.0, 0.5, 0.25, 0.5, 0.75])
    # The second step of one map: clip, scale and offset have changed the frame in between.
    rig.pipeline.step(2)
    assert rig.model.inputs["obs"].reshape(-1) == pytest.approx([0.0, 1.0, 0.5, 0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"width": 2, "height": 3}, "a map of 3 x 2 cells instead of 2 x 3"),
        ({"frame": "odom"}, "in the frame 'odom' instead of 'base_link'"),
        ({"resolution": 0.05}, "cells of 0.05 m instead of 0.1 m"),
        ({"resolution": float("nan")}, "cells of nan m"),
        ({"origin": (-0.05, -0.1)}, "at (-0.05, -0.1) m instead of (-0.15, -0.1) m"),
        ({"origin": (float("nan"), -0.1)}, "at (nan, -0.1)"),
        ({"turned": (0, 0, 0.7071, 0.7071)}, "turned in its frame"),
        ({"data": [0, 0, 0, 0, 0]}, "5 cells in a map of 2 x 3"),
        ({"data": [0, 0, 0, 0, 0, 101]}, "a cell of 101"),
        ({"data": [0, 0, 0, 0, 0, -2]}, "a cell of -2"),
    ],
)
def test_a_map_that_differs_from_training_is_unusable(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    rig = _rig(tmp_path)
    decision, detail = _decided(rig, _map(**given))
    assert decision is not Decision.RUN
    assert says in detail


def test_unknown_cells_may_be_refused_and_the_next_map_counts_again(tmp_path: Path) -> None:
    rig = _rig(tmp_path, unknown="refuse")
    decision, detail = _decided(rig, _map())
    assert (decision, "1 unknown cells" in detail) == (Decision.STARTING, True)
    _decided(rig, _map(data=[0] * 6), 2)
    assert _decided(rig, _map(data=[0] * 6), 300_000_000)[0] is Decision.RUN


def test_any_origin_is_said_so(tmp_path: Path) -> None:
    rig = _rig(tmp_path, origin="any")
    assert _decided(rig, _map(origin=(7.0, 7.0), turned=(0, 0, 1, 0)))[0] is Decision.RUN


def test_another_type_and_a_missing_fact_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="an input of type nav_msgs/msg/OccupancyGrid"):
        _rig(tmp_path, kind="geometry_msgs/msg/Twist")
    content = spec_content(inputs={"map": {"type": GRID, "topic": "map"}})
    content["observation"][0]["terms"] = [term("occupancy_grid", input="map", size=[2, 3])]
    with pytest.raises(Refusal) as refusal:
        make_rig(tmp_path, content, size=6)
    text = str(refusal.value)
    assert all(key in text for key in ("resolution", "frame", "origin", "unknown"))
