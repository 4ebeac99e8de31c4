"""An error in the recorder ends the record. It never ends the loop, and changes no command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from black_box_rig import Recorded
from core_rig import MS

from policy_runner.core.black_box.records import Tick
from policy_runner.core.safety.decision import Decision, Fault, Reason

REFUSED = Fault(Decision.SAFE_STOP, Reason.COMMAND_REFUSED, "as asked")


def broken(*_given: Any, **_more: Any) -> Any:
    raise MemoryError("as asked")


BREAKS: dict[str, Any] = {
    "state": lambda box, patch: patch.setattr(box.recorder.state, "take", broken),
    "put": lambda box, patch: patch.setattr(box.recorder._memory, "put", broken),
    "add": lambda box, patch: patch.setattr(box.recorder._memory, "add", broken),
    "begin": lambda box, patch: patch.setattr(box.recorder._memory, "begin", broken),
    "room": lambda box, patch: patch.setattr(box.recorder._memory, "has_room", broken),
    "record": lambda box, patch: patch.setattr(box.recorder, "_record", broken),
    "slots": lambda box, patch: patch.setattr(box.recorder._slots["joints"], "take", broken),
    "rare": lambda box, patch: patch.setattr(box.recorder, "_rare_facts", broken),
    "partial": lambda box, patch: patch.setattr(box.recorder, "_keep_observed", broken),
}


def walk(box: Recorded) -> None:
    pipeline = box.rig.pipeline
    box.run(10, 21, 1)
    box.run(10, 31, 2, size=70_000)
    pipeline.operator.hear_estop(True, 0)
    box.run(5, 41, 3)
    pipeline.operator.hear_estop(False, 0)
    pipeline.operator.ask_to_arm(lambda accepted, text: True)
    box.run(10, 46, 4)
    pipeline.refuse(555 * MS, REFUSED)
    pipeline.reset()
    box.run(10, 300, 5)  # the segment is over
    box.commands.append(pipeline.stop_command())


@pytest.mark.parametrize("what", BREAKS)
def test_an_error_ends_the_record_and_changes_no_command(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    box, plain = Recorded(tmp_path / "with", seconds=1.0), Recorded(tmp_path / "without")
    plain.rig.pipeline.recorder = None
    for one in (box, plain):
        one.run(20)
    BREAKS[what](box, monkeypatch)
    for one in (box, plain):
        walk(one)
    assert isinstance(box.recorder.error, MemoryError)
    assert box.rig.pipeline.recorder is None  # the next ticks pay nothing
    assert len(box.commands) == len(plain.commands)
    for one, other in zip(box.commands, plain.commands, strict=True):
        assert one is other is None or one.tobytes() == other.tobytes()
    monkeypatch.undo()
    assert sum(isinstance(one, Tick) for one in box.recorder.read()) >= 20
    assert all(one.equal for one in box.replay())


def test_an_error_of_the_pipeline_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Recorded(tmp_path)
    box.run(5)
    monkeypatch.setattr(box.rig.pipeline, "_decide", broken)
    with pytest.raises(MemoryError):
        box.run(1, 6)
    assert box.recorder.error is None
