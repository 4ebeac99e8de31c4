"""Feeds arrays instead of messages into a policy, for notebooks, servers and scripts. No ROS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.message_fields import leaves
from policy_runner.core.inputs.slot import InputSlot, SequenceKeeper


def feed(slot: InputSlot, fields: Mapping[str, Any], now_ns: int) -> None:
    """Write one message's numbers into an input of a pipeline, as if it arrived now.

    Args:
        slot: the input, `pipeline.slots[name]`.
        fields: numbers by field path, such as `angular_velocity` (3 numbers) or `twist.linear.x`;
            for a JointState `name` and any of `position`, `velocity`, `effort`. The key of a
            sequence that a term reads unchanged is its path; the key of an image message is "";
            the key of a text is `data`.
        now_ns: time of arrival on the clock of `pipeline.step` [ns].

    Raises:
        Refusal: a number that the policy reads is missing, or a field has the wrong size.
    """
    key = f"inputs.{slot.name}"
    if slot.text is not None:
        return _feed_text(slot, fields, key, now_ns)
    # Do all checks before the first write, so that a refused message changes nothing.
    numbers = _by_leaf(slot, fields, key)
    for paths in slot.paths.values():
        missing = [leaf for leaf in paths if leaf not in numbers]
        if missing:
            raise refuse("", key, f"numbers for {', '.join(missing)}", "none")
    for path, keep in slot.keepers.items():
        if path not in fields:
            raise refuse("", key, f"the field '{path}'" if path else "a message under ''", "none")
        if isinstance(keep, SequenceKeeper) and not np.size(fields[path]):
            raise refuse("", f"{key}: {path}", "numbers", "an empty sequence")
    if slot.joints is not None:
        kinds: dict[str, Any] = {
            kind: np.asarray(fields[kind], dtype=np.float64)
            for kind in slot.joints.values
            if kind in fields
        }
        fault = slot.joints.merge(list(fields.get("name", [])), kinds, now_ns)
        if fault:
            raise refuse("", key, "a usable message", fault)
    for path, array in slot.arrays.items():
        array[:] = [numbers[leaf] for leaf in slot.paths[path]]
    for path, keep in slot.keepers.items():
        keep(fields[path])
    slot.received(now_ns, now_ns)


def _feed_text(slot: InputSlot, fields: Mapping[str, Any], key: str, now_ns: int) -> None:
    text = fields.get("data")
    if not isinstance(text, str) or len(fields) != 1 or slot.text is None:
        got = ", ".join(f"'{path}' of {type(value).__name__}" for path, value in fields.items())
        raise refuse("", key, "one text under 'data'", got or "nothing")
    if fault := slot.text(text):
        raise refuse("", f"{key}: data", "a usable text", fault)
    slot.received(now_ns, now_ns)


def _by_leaf(slot: InputSlot, fields: Mapping[str, Any], key: str) -> dict[str, float]:
    """Return every given number by the path of its leaf.

    Joints, and fields without a fixed set of numbers (sequences, images), are left out.
    """
    found: dict[str, float] = {}
    own = {"name", *(slot.joints.values if slot.joints is not None else ())}
    for path, given in fields.items():
        if path in slot.keepers or path in own:
            continue
        flat = np.asarray(given, dtype=np.float64).reshape(-1)
        try:
            names = slot.paths.get(path) or leaves(slot.spec.type, path, flat.size)
        except KeyError as error:
            expected = f"{error.args[0]} of {slot.spec.type}"
            raise refuse("", key, expected, f"'{path}'") from error
        if len(names) != flat.size:
            raise refuse("", f"{key}: {path}", f"{len(names)} numbers", f"{flat.size}")
        found.update(zip(names, flat.tolist(), strict=True))
    return found
