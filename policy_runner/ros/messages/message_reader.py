"""Messages to numpy: one function per input that writes just the numbers the policy reads."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.core.inputs.slot import InputSlot, ValueKeeper

Reader = Callable[[Any], str]  # '' or why the message is unusable
_ELEMENT = re.compile(r"^(?P<path>[\w.]+)\[(?P<index>\d+)\]$")


def stamp_ns(message: Any) -> int:
    """Header stamp in ns; 0 for a message without a header."""
    header = getattr(message, "header", None)
    if header is None:
        return 0
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def build_reader(slot: InputSlot, message_type: Any) -> Reader:
    """A reader for the fields that the policy's terms asked this slot for.

    Raises:
        Refusal: the message type has no such field.
    """
    if slot.joints is not None:
        return _joint_reader(slot)
    reads: list[Reader] = []
    problems = []
    example = message_type()
    makers: list[tuple[str, Callable[[], Reader]]] = [
        (path, partial(_field_reader, slot, path, leaves, example))
        for path, leaves in slot.paths.items()
    ]
    makers += [
        (path, partial(_keeping_reader, path, keep, example)) for path, keep in slot.keepers.items()
    ]
    for path, make in makers:
        try:
            reads.append(make())
        except AttributeError as error:
            fields = list(message_type.get_fields_and_field_types())
            hint = did_you_mean(path.split(".")[0], fields)
            where = f"inputs.{slot.name}"
            expected = f"a field of {slot.spec.type} ({', '.join(fields)})"
            problems.append(Problem("", where, expected, f"'{path}' ({error})", hint))
    if problems:
        raise Refusal(problems)
    if slot.spec.type == "sensor_msgs/msg/Imu" and "orientation" in slot.paths:
        reads.insert(0, _has_orientation)

    def read(message: Any) -> str:
        for one in reads:
            fault = one(message)
            if fault:
                return fault
        return ""

    return read


def _has_orientation(message: Any) -> str:
    # sensor_msgs/Imu: "If ... no orientation estimate, set element 0 of the matrix to -1".
    if message.orientation_covariance[0] == -1.0:
        return "no orientation (orientation_covariance[0] is -1)"
    return ""


def _field_reader(slot: InputSlot, path: str, leaves: tuple[str, ...], example: Any) -> Reader:
    array = slot.arrays[path]
    match = _ELEMENT.match(leaves[0])
    if match is None:
        get = operator.attrgetter(*leaves)
        get(example)
        if len(leaves) == 1:

            def read_one(message: Any) -> str:
                array[0] = get(message)
                return ""

            return read_one

        def read_many(message: Any) -> str:
            array[:] = get(message)
            return ""

        return read_many
    sequence = operator.attrgetter(match["path"])
    sequence(example)
    first = int(match["index"])
    last = first + len(leaves)

    def read_slice(message: Any) -> str:
        values = sequence(message)
        if len(values) < last:
            return f"{len(values)} elements in {match['path']}, {last} needed"
        array[:] = np.asarray(values[first:last], dtype=np.float64)
        return ""

    return read_slice


def _keeping_reader(path: str, keep: ValueKeeper, example: Any) -> Reader:
    """Hand the value at `path` to its keeper: an image, or a sequence of any length."""
    if not path:
        return keep
    get = operator.attrgetter(path)
    get(example)

    def read_kept(message: Any) -> str:
        return keep(get(message))

    return read_kept


def _joint_reader(slot: InputSlot) -> Reader:
    joints = slot.joints
    assert joints is not None
    kinds = [(kind, operator.attrgetter(kind)) for kind in slot.joint_kinds]

    def read(message: Any) -> str:
        # Whatever polls the topic sets arriving_ns: it knows how long the message waited.
        values = {kind: get(message) for kind, get in kinds}
        return joints.merge(message.name, values, slot.arriving_ns)

    return read
