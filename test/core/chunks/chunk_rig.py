"""A spec with a chunk, bound to a fake model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core_rig import FakeModel, spec_content, term, write_spec

from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.pipeline.bind_policy import BoundChunk, BoundPolicy, Robot, bind_policy
from policy_runner.core.spec import read_spec
from policy_runner.core.spec.parts import policies


def content(chunk: dict[str, Any] | None = None, **group: Any) -> dict[str, Any]:
    """A spec of two joints, a joint_position term and a chunk; the group has these keys."""
    given = spec_content()
    given["observation"][0]["terms"] = [term("joint_position", input="joints")]
    one = {"kind": "position", "joints": ["a", "b"], **group}
    given["action"] = [{"tensor": "act", "groups": [one]}]
    given["chunk"] = {"dt": 0.05, **(chunk or {})}
    return given


def bind(
    folder: Path, given: dict[str, Any], model: FakeModel
) -> tuple[BoundPolicy, InputSlot, list[str]]:
    """The bound policy, the slot of its joints, and what does not fit."""
    spec_file = read_spec(write_spec(folder, given))
    slots = {name: InputSlot(name, one) for name, one in spec_file.spec.inputs.items()}
    problems: list[Any] = []
    robot = Robot(slots, {}, {})
    one = bind_policy(policies(spec_file.spec)[0], spec_file, model, robot, problems)
    return one, slots["joints"], [str(problem) for problem in problems]


def bound(folder: Path, given: dict[str, Any], model: FakeModel) -> tuple[BoundChunk, InputSlot]:
    """The chunk's model and decoder, and the slot of the joints. All must fit."""
    one, slot, problems = bind(folder, given, model)
    assert problems == []
    assert one.chunk is not None
    assert one.decoder is not None
    return one.chunk, slot


def measure(slot: InputSlot, *positions: float) -> None:
    """Receive positions of the two joints."""
    assert slot.joints is not None
    assert slot.joints.merge(["a", "b"], {"position": list(positions)}, 1) == ""
