"""The term `text`: when the policy has a text, and what the model gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, refused, spec_content, term

from policy_runner.core.lane.snapshot import Snapshot, SnapshotLayout
from policy_runner.core.safety.decision import Decision, Reason

STRING = "std_msgs/msg/String"
SIZE = 8


def _content(**changes: Any) -> dict[str, Any]:
    inputs = {
        "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
        "prompt": {"type": changes.pop("type", STRING), "topic": "~/prompt"},
    }
    content = spec_content(inputs=inputs)
    tensor = {"tensor": "text", "whole": term("text", input="prompt", size=SIZE)}
    content["observation"].append(tensor)
    content["observation"] += changes.pop("more", [])
    return content


def _rig(folder: Path, dtype: type = np.uint8, **changes: Any) -> Rig:
    tensors = {"obs": (1, 2), "text": np.zeros((1, SIZE), dtype)}
    tensors |= changes.pop("tensors", {})
    return make_rig(folder, _content(**changes), FakeModel(tensors, {"act": (1, 2)}))


def _step(rig: Rig, now_ns: int) -> Decision:
    rig.joints("joints", now_ns, ["a", "b"], velocity=[1.0, 2.0])
    return rig.pipeline.step(now_ns).decision


def _say(rig: Rig, text: str, now_ns: int) -> str:
    slot = rig.pipeline.slots["prompt"]
    assert slot.text is not None
    fault = slot.text(text)
    if fault:
        slot.refused(fault)
    else:
        slot.received(now_ns, 0)
    return fault


def test_the_policy_waits_for_a_text_which_then_has_no_age(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    safety = rig.pipeline.safety
    assert _step(rig, 10 * MS) is Decision.STARTING
    assert safety.reason is Reason.INPUT_MISSING
    assert safety.detail == "prompt: no text; publish one, or set the parameter prompt"
    _say(rig, "Tür", 20 * MS)
    assert _step(rig, 20 * MS) is Decision.RUN
    assert rig.model.inputs["text"].tolist() == [[84, 195, 188, 114, 0, 0, 0, 0]]
    later = 3_600_000 * MS
    assert _step(rig, later) is Decision.RUN
    assert rig.pipeline.worst_age_ns == 0  # the joints': a text has no age


def test_an_empty_text_holds_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    _say(rig, "go", 10 * MS)
    assert _step(rig, 10 * MS) is Decision.RUN
    assert "at most 8" in _say(rig, "much too long", 20 * MS)
    assert _step(rig, 20 * MS) is Decision.RUN
    assert rig.model.inputs["text"].tobytes() == b"go" + bytes(6)
    _say(rig, "", 30 * MS)
    assert _step(rig, 30 * MS) is Decision.HOLD
    _say(rig, "on", 40 * MS)
    assert _step(rig, 40 * MS) is Decision.RUN


def test_a_text_survives_activation_and_a_jump_of_the_clock(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    _say(rig, "go", 900 * MS)
    rig.pipeline.activate()
    assert _step(rig, 910 * MS) is Decision.RUN
    rig.pipeline.time_jumped(forget_inputs=True)
    rig.pipeline.slots["prompt"].forget_later_than(10 * MS)
    assert _step(rig, 10 * MS) is Decision.RUN


def test_a_snapshot_has_the_text(tmp_path: Path) -> None:
    """A lane gets it as it gets every other number."""
    given, taken = _rig(tmp_path), _rig(tmp_path)
    _say(given, "lane", 10 * MS)
    layout = SnapshotLayout(given.pipeline.slots, {}, 1024)
    snapshot = Snapshot(layout, bytearray(layout.size), 0)
    layout.take(snapshot)
    SnapshotLayout(taken.pipeline.slots, {}, 1024).give(snapshot)
    _step(taken, 10 * MS)
    assert taken.model.inputs["text"].tobytes() == b"lane" + bytes(4)


def test_two_tensors_of_different_sizes_take_what_both_can_read(tmp_path: Path) -> None:
    more = [{"tensor": "short", "whole": term("text", input="prompt", size=4)}]
    rig = _rig(tmp_path, more=more, tensors={"short": np.zeros(4, np.int32)})
    assert "at most 4" in _say(rig, "five5", 10 * MS)
    assert _say(rig, "four", 10 * MS) == ""
    assert _step(rig, 10 * MS) is Decision.RUN
    assert rig.model.inputs["short"].tolist() == [102, 111, 117, 114]
    assert rig.model.inputs["text"].tolist() == [[102, 111, 117, 114, 0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.int8, np.bool_])
def test_a_type_that_cannot_hold_bytes_is_refused(tmp_path: Path, dtype: type) -> None:
    (said,) = refused(_rig, tmp_path, dtype)
    assert "such as uint8" in said
    assert np.dtype(dtype).name in said


def test_an_input_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (said,) = refused(_rig, tmp_path, type="sensor_msgs/msg/Imu")
    assert said.endswith("expected an input of type std_msgs/msg/String, got sensor_msgs/msg/Imu")
