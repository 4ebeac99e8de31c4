"""The saved state is complete: of several models, after a reload, of arrays with two names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from black_box_rig import Recorded, feed, rig_of
from core_rig import MS, FakeModel, Rig, make_rig, refused, spec_content, term
from image_rig import image_rig
from several_models_rig import chain, switch

from policy_runner.core.black_box.pipeline_recorder import Recorder
from policy_runner.core.black_box.places import Found
from policy_runner.core.black_box.records import NotKept
from policy_runner.core.black_box.records import State as Saved
from policy_runner.core.black_box.ring import Memory
from policy_runner.core.black_box.state import State
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import CommandLimits, StopRule

LIMITS = CommandLimits(np.full(2, -50.0), np.full(2, 50.0), np.full(2, 0.4))


def chained(folder: Path) -> Rig:
    return chain(folder, every=3)


def switched(folder: Path) -> Rig:
    return switch(folder, "carry", "limited", ema=0.5, limits=LIMITS)


def feed_switch(rig: Rig, values: np.ndarray, now_ns: int) -> None:
    rig.feed("cmd", now_ns, linear__x=[4.0 * values[0]])


def moving(folder: Path) -> Rig:
    """Positions and velocities, which move to a start pose, blend in and stop with a ramp."""
    groups = [
        {"kind": "position", "joints": ["a"], "scale": 0.1},
        {"kind": "velocity", "joints": ["b"]},
    ]
    content = spec_content(
        action=[{"tensor": "act", "groups": groups}],
        observation=[
            {
                "tensor": "obs",
                "terms": [term("joint_velocity", input="joints")],
                "normalization": "none",
            }
        ],
        default_joint_pos={"a": 0.3, "b": 0.0},
    )
    model = FakeModel({"obs": (1, 2)}, {"act": (1, 2)}, lambda given: {"act": given["obs"]})
    stops = StopRule(position="default_pose", velocity="zero", ramp_ns=300 * MS)
    return make_rig(
        folder, content, model, stops=stops, limits=LIMITS, recover="auto",
        start_pose_ns=200 * MS, blend_in_ns=100 * MS,
    )  # fmt: skip


def feed_moving(rig: Rig, values: np.ndarray, now_ns: int) -> None:
    rig.joints("joints", now_ns, ["b", "a"], velocity=values, position=values / 9)


KINDS: dict[str, tuple[Callable[[Path], Rig], str, Any]] = {
    "chain": (chained, "joints", feed),
    "switch": (switched, "cmd", feed_switch),
    "moving": (moving, "joints", feed_moving),
    "recurrent": (rig_of, "joints", feed),
}


def recorded(folder: Path, kind: str, seconds: float = 0.2) -> Recorded:
    make, name, feeder = KINDS[kind]
    return Recorded(folder, seconds=seconds, make=make, name=name, feed=feeder)


def events(box: Recorded) -> None:
    """Ticks between which everything happens that changes a pipeline."""
    pipeline = box.rig.pipeline
    box.run(61)
    pipeline.operator.hear_estop(True, 0)
    box.run(9, 62, 1)  # shorter than the ramp
    pipeline.operator.hear_estop(False, 0)
    pipeline.operator.ask_to_arm(lambda accepted, text: True)
    box.run(60, 71, 2)
    # Within 0.1: some positions of `moving` are outside.
    pipeline.settings = replace(pipeline.settings, position_margin=-49.9)
    box.run(33, 131, 3)
    pipeline.operator.ask_to_arm(lambda accepted, text: True)
    pipeline.reset()
    box.run(17, 164, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_policy_is_replayed_from_any_state(tmp_path: Path, kind: str) -> None:
    box = recorded(tmp_path, kind)
    events(box)
    # The segments are short, so the memory holds the end; each of its states begins a replay.
    records = list(box.recorder.read())
    begins = [k for k, one in enumerate(records) if isinstance(one, Saved)]
    assert len(begins) > 3
    for begin in begins[::2]:
        found = box.replay(records[begin:])
        assert found
        assert [one.now_ns for one in found if not one.equal] == []


class Twice:
    """An array with two names, of which one gets another array later."""

    def __init__(self) -> None:
        self.one = np.zeros(2)
        self.other = self.one

    def part(self) -> None:
        self.other = np.ones(2)


def test_an_array_with_two_names_may_become_two_arrays() -> None:
    saved, again = Twice(), Twice()
    state, restored = State(saved, "it"), State(again, "it")

    def copy() -> dict[str, Any]:
        copied, parts = state.take()
        return dict(zip(state.paths, copied.encode(b"".join(parts)), strict=True))

    alike = copy()
    saved.part()
    saved.one[0] = 7.0
    restored.restore(copy(), "file")
    assert again.one.tolist() == [7.0, 0.0]
    assert again.other.tolist() == [1.0, 1.0]
    restored.restore(alike, "file")
    assert again.other is again.one
    assert again.one.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_no_object_with_state_is_replaced_while_it_runs(tmp_path: Path, kind: str) -> None:
    """The places are found once, so each must stay a place of the same object."""
    box = recorded(tmp_path, kind)
    first = {(id(owner), name) for _, owner, name in box.recorder.state._places}
    events(box)
    # A course is made for each move, and saved as a whole.
    skip = ("pipeline.recorder", "pipeline._start_pose._course", *BOUNDS)
    again = Found(box.rig.pipeline, "pipeline", skip).places
    found = [path for path, owner, name in again if (id(owner), name) not in first]
    assert [path for path in found if "model.seen[" not in path] == []  # seen: of the fake model


BOUNDS = tuple(
    f"pipeline._robot_watch.{name}" for name in ("_bounds", "_watched_bounds", "_speeds")
)


def test_a_pipeline_that_continues_from_another_is_replayed(tmp_path: Path) -> None:
    before = rig_of(folder_in(tmp_path, "before"))
    for k in range(1, 30):
        feed(before, np.ones(2), k * 10 * MS)
        before.pipeline.step(k * 10 * MS)
    before.pipeline.refuse(300 * MS, Fault(Decision.SAFE_STOP, Reason.COMMAND_REFUSED, "as asked"))
    box = Recorded(tmp_path)
    pipeline = box.rig.pipeline
    pipeline.settings = replace(pipeline.settings, recover="armed")
    pipeline.continue_from(before.pipeline)
    box.run(20, 31)
    pipeline.operator.ask_to_arm(lambda accepted, text: True)
    box.run(40, 51, 1)
    found = box.replay()
    assert len(found) == 60
    assert all(one.equal for one in found)
    decisions = [one.step.decision for one in found if one.step is not None]
    assert decisions == [Decision.SAFE_STOP] * 20 + [Decision.RUN] * 40


def folder_in(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


# --- large messages ---


def test_ticks_with_large_messages_are_replayed_from_their_tensors(tmp_path: Path) -> None:
    box = recorded(tmp_path, "moving", seconds=10.0)
    box.run(80, size=70_000)
    records = list(box.recorder.read())
    assert box.recorder.partial
    assert sum(isinstance(one, NotKept) for one in records) > 50
    states = [one for one in records if isinstance(one, Saved)]
    assert len(states) < 5  # a large message does not save the whole state
    found = box.replay()
    assert len(found) == 80
    assert all(one.equal for one in found)


def looking(folder: Path) -> Rig:
    """A camera of 60 x 80, seen in its own size."""
    keys: dict[str, Any] = {"color": "rgb", "size": [60, 80], "layout": "hwc", "scale": 1 / 255}
    rig = image_rig(folder, 60 * 80 * 3, **keys)
    rig.model.compute = lambda given: {"act": given["obs"][0, :1, :2, 0]}
    return rig


def feed_image(rig: Rig, values: np.ndarray, now_ns: int) -> None:
    pixels = np.random.default_rng(abs(int(values[0] * 1e6))).integers(0, 256, 14400, np.uint8)
    message = SimpleNamespace(
        height=60, width=80, encoding="rgb8", is_bigendian=0, step=240, data=pixels.tobytes()
    )
    slot = rig.pipeline.slots["camera"]
    assert slot.keepers[""](message) == ""
    slot.received(now_ns, now_ns)


def test_ticks_with_images_are_replayed_from_their_tensors(tmp_path: Path) -> None:
    box = Recorded(tmp_path, 8 << 20, make=looking, name="camera", feed=feed_image)
    box.run(20, size=70_000)
    box.run(15, 30, 1, size=70_000)  # a gap: the image was too old
    assert box.recorder.partial
    records = list(box.recorder.read())
    last = max(k for k, one in enumerate(records) if isinstance(one, Saved))
    for begin in (0, last):
        found = box.replay(records[begin:])
        assert [one.now_ns for one in found if not one.equal] == []
        assert len({one.command.tobytes() for one in found if one.command is not None}) > 5


def test_large_built_tensors_are_not_part_of_the_state_if_they_are_recorded(
    tmp_path: Path,
) -> None:
    size = 20_000
    content = spec_content()
    content["observation"][0]["history"] = {
        "length": size // 2, "stack": "frame", "order": "oldest_first", "fill": "repeat"
    }  # fmt: skip
    model = FakeModel({"obs": (1, size)}, {"act": (1, 2)})
    rig = make_rig(tmp_path, content, model)
    recorder = Recorder(rig.pipeline, Memory(64 << 20), 10.0)
    whole = recorder.state.take()[0].form.size
    recorder.state.leave_out_tensors()
    left = recorder.state.take()[0].form.size
    # The tensor, its history, and where its numbers are computed and normalized.
    assert whole - left >= size * (4 + 8 + 8)


# --- a file that was edited ---


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("pipeline._phase", ["x"], "IndexError"),
        ("pipeline.safety.decision", ["e", "os:path", "RUN"], "no type of a pipeline's state"),
        ("pipeline._command.values", ["a", "<f8", [9], b"123"], "ValueError"),
        ("settings", 7, "settings are int"),
        ("pipeline._command.values", ["@", "elsewhere"], "KeyError"),
    ],
)
def test_an_edited_state_is_refused(tmp_path: Path, path: str, value: Any, says: str) -> None:
    box = Recorded(tmp_path)
    box.run(20)
    records = edited(box, path, value)
    (problem,) = refused(box.replay, records)
    assert "memory: state: expected a state as the node wrote it" in problem
    assert says in problem


def test_an_edited_state_that_only_the_step_notices_is_refused(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.run(20)
    (problem,) = refused(box.replay, edited(box, "pipeline._phase", "none"))
    assert "memory: a tick: expected a record as the node wrote it, got TypeError" in problem


def test_a_state_with_too_few_values_is_refused(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.run(20)
    records = list(box.recorder.read())
    assert isinstance(records[0], Saved)
    records[0] = records[0]._replace(values=list(records[0].values)[:-1])
    (problem,) = refused(box.replay, records)
    assert "memory: state: expected a state as the node wrote it" in problem


def edited(box: Recorded, path: str, value: Any) -> list[Any]:
    records = list(box.recorder.read())
    assert isinstance(records[0], Saved)
    values = list(records[0].values)
    values[box.recorder.state.paths.index(path)] = value
    return [records[0]._replace(values=values), *records[1:]]


# --- the memory ---


def test_a_copy_does_not_change_when_the_pipeline_does(tmp_path: Path) -> None:
    """Another thread encodes a copy later."""
    box = recorded(tmp_path, "switch")
    box.run(20)
    copied, parts = box.recorder.state.take()
    numbers = b"".join(parts)
    at_once = copied.encode(numbers)
    box.run(20, 21, 1)
    assert copied.encode(numbers) == at_once
    assert box.rig.pipeline.safety.decision is Decision.RUN


def test_no_copy_keeps_a_model_alive(tmp_path: Path) -> None:
    """The arrays of a model are freed with it, and may be on a GPU's memory."""
    box = recorded(tmp_path, "recurrent")
    box.run(20)
    copied, _ = box.recorder.state.take()
    assert not [one for one in copied.values if isinstance(one, np.ndarray)]
