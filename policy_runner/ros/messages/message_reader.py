"""Reads message objects of recordings into numpy: only the numbers that the policy reads.

The node reads the serialized bytes instead (`raw_reader.py`). Both readers refuse the same
messages, and a refused message changes nothing in its input slot.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.core.inputs.field_runs import Run
from policy_runner.core.inputs.message_fields import runs
from policy_runner.core.inputs.slot import InputSlot, SequenceKeeper
from policy_runner.ros.messages.raw_reader import UNKNOWN_PARTS

Reader = Callable[[Any], str]  # returns '' or the reason why the message is unusable
_Numbers = npt.NDArray[np.float64]


class _Unusable(Exception):
    """A message cannot be used; the text is the reason."""


def stamp_ns(message: Any) -> int:
    """Return the header stamp [ns]; 0 for a message without a header."""
    # Signals of an .npz may name a frame and no stamp.
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None:
        return 0
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def build_reader(slot: InputSlot, message_type: Any) -> Reader:
    """Build a reader for the fields of this slot that the policy's terms use.

    Args:
        slot: gets the values; it lists the fields.
        message_type: class of the messages.

    Raises:
        Refusal: the message type has no such field.
    """
    if slot.joints is not None:
        return _joint_reader(slot)
    if slot.text is not None:
        keep_text = slot.text
        return lambda message: keep_text(str(message.data))
    example = message_type()
    reads: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = []  # (take, write)
    problems = []
    paths = {path: _fields_taker(path, leaves) for path, leaves in slot.paths.items()}
    for path, (take, bases) in paths.items():
        reads.append((take, _writer(slot.arrays[path])))
        problems += _missing(slot, message_type, example, path, bases)
    for path, keep in slot.keepers.items():
        if path:
            problems += _missing(slot, message_type, example, path, [path])
        takes_numbers = isinstance(keep, SequenceKeeper)
        reads.append((_sequence_taker(path) if takes_numbers else _value_taker(path), keep))
    if problems:
        raise Refusal(problems)
    unknown = _unknown_parts(slot)

    def read(message: Any) -> str:
        for name, why in unknown:
            covariance = getattr(message, name, None)  # arrays from .npz have no such field
            if covariance is not None and covariance[0] == -1.0:
                return why
        try:
            taken = [take(message) for take, _ in reads]
        except _Unusable as error:
            return str(error)
        for value, (_, write) in zip(taken, reads, strict=True):
            write(value)
        return ""

    return read


def _unknown_parts(slot: InputSlot) -> list[tuple[str, str]]:
    if slot.spec.type != "sensor_msgs/msg/Imu":
        return []
    read = {re.split(r"[.\[]", path)[0] for path in slot.paths}
    return [(f"{part}_covariance", why) for part, why in UNKNOWN_PARTS.items() if part in read]


def _missing(
    slot: InputSlot, message_type: Any, example: Any, path: str, bases: list[str]
) -> list[Problem]:
    for base in bases:
        try:
            _get(example, base)
        except IndexError:
            continue  # sequences are empty in an example; each message's length is checked later
        except AttributeError as error:
            fields = list(message_type.get_fields_and_field_types())
            hint = did_you_mean(path.split(".")[0], fields)
            expected = f"a field of {slot.spec.type} ({', '.join(fields)})"
            return [Problem("", f"inputs.{slot.name}", expected, f"'{path}' ({error})", hint)]
    return []


def _get(message: Any, path: str) -> Any:
    value = message
    for part in path.split("."):
        name, bracket, index = part.partition("[")
        value = getattr(value, name)
        if bracket:
            value = value[int(index.removesuffix("]"))]
    return value


def _fields_taker(
    path: str, leaves: tuple[str, ...]
) -> tuple[Callable[[Any], _Numbers], list[str]]:
    """Build a function that takes a path's numbers from a message.

    Returns:
        That function, and the paths that the message type must have.
    """
    found: list[Run] = []
    start = 0
    for base, first, count in runs(leaves):
        found.append(Run(base, first, count, start, base == path))
        start += count

    def take(message: Any) -> _Numbers:
        numbers = np.empty(len(leaves))
        for run in found:
            try:
                value = _get(message, run.path)
            except IndexError as error:
                raise _Unusable(f"no {run.path} in a message with fewer elements") from error
            given = _flat(value)
            if run.first is None and given.size != 1:
                raise _Unusable(f"{given.size} elements in {run.path}, 1 expected")
            fault = run.wrong_length(given.size) if run.first is not None else ""
            if fault:
                raise _Unusable(fault)
            at = run.first or 0
            numbers[run.start : run.start + run.count] = given[at : at + run.count]
        return numbers

    return take, [run.path for run in found]


def _flat(value: Any) -> _Numbers:
    """Return all numbers of a value in order.

    The value may be a number, bytes (octets), an array, or a message.
    """
    if isinstance(value, bytes):
        return np.frombuffer(value, np.uint8).astype(np.float64)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], bytes):
        return np.frombuffer(b"".join(value), np.uint8).astype(np.float64)
    names: list[str] = []
    if hasattr(value, "get_fields_and_field_types"):
        names = list(value.get_fields_and_field_types())
    elif dataclasses.is_dataclass(value):  # rosbags' messages
        names = [one.name for one in dataclasses.fields(value) if not one.name.startswith("_")]
    if names:
        return np.concatenate([_flat(getattr(value, name)) for name in names])
    return np.asarray(value, dtype=np.float64).reshape(-1)


def _writer(array: _Numbers) -> Callable[[_Numbers], None]:
    def write(numbers: _Numbers) -> None:
        array[:] = numbers

    return write


def _sequence_taker(path: str) -> Callable[[Any], _Numbers]:
    def take(message: Any) -> _Numbers:
        numbers = _flat(_get(message, path))
        if not numbers.size:
            raise _Unusable(f"an empty sequence in {path}")
        return numbers

    return take


def _value_taker(path: str) -> Callable[[Any], Any]:
    return (lambda message: _get(message, path)) if path else (lambda message: message)


def _joint_reader(slot: InputSlot) -> Reader:
    joints = slot.joints
    assert joints is not None

    def read(message: Any) -> str:
        # The code that polls the topic sets `arriving_ns`: it knows how long the message waited.
        values: dict[str, Any] = {
            kind: np.asarray(getattr(message, kind), dtype=np.float64) for kind in slot.joint_kinds
        }
        return joints.merge(list(message.name), values, slot.arriving_ns)

    return read
