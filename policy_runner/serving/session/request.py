"""A request for one tick: inputs by key, such as `imu/angular_velocity`, and controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from policy_runner.backends.remote.protocols.bounds import shown
from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.slot import InputSlot

CONTROL = {
    "reset": "forget histories, states, inputs and a latched stop before this tick",
    "time": "of this tick [s]; default: one period after the last one",
    "details": "also answer with observations, raw action and target",
    "id": "a text or a whole number that the answer repeats",
}
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
# (type of the pixels, channels) -> encoding of sensor_msgs/Image, as `policy-runner replay` has it.
_ENCODINGS = {("uint8", 1): "mono8", ("uint8", 3): "rgb8", ("uint8", 4): "rgba8",
              ("uint16", 1): "16UC1", ("float32", 1): "32FC1"}  # fmt: skip
_IMAGE_FIELDS = ("", "data", "encoding", "format")
_LONGEST_ID = 200
_LATEST_S = 10**9
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class TickRequest:
    """The numbers and controls of one tick.

    Attributes:
        inputs: by input name, its fields as `robot.feed.feed` takes them.
        reset: see CONTROL.
        time_ns: see CONTROL; None: not given.
        details: see CONTROL.
        id: see CONTROL; None: not given.
    """

    inputs: Mapping[str, Fields] = field(default_factory=dict)
    reset: bool = False
    time_ns: int | None = None
    details: bool = False
    id: str | int | None = None


@dataclass(frozen=True)
class KeyRule:
    """How keys of a client become inputs of the policy.

    Attributes:
        renamed: key of the client -> INPUT/FIELD.
        ignored: keys of the client that are dropped, such as `prompt`.
        joint_names: the robot's names of the policy's joints, in the policy's order.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    joint_names: tuple[str, ...] = ()


def flat(given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested maps as one map: `{"images": {"top": x}}` becomes `{"images/top": x}`."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        path = f"{prefix}/{key}" if prefix else str(key)
        nested = isinstance(value, Mapping) and value
        found.update(flat(value, path) if nested else {path: value})
    return found


def read_request(
    given: Mapping[str, Any], slots: Mapping[str, InputSlot], rule: KeyRule
) -> TickRequest:
    """Sort the keys of a request by input.

    Args:
        given: `INPUT/FIELD` -> numbers, an array of pixels or a text; and the keys of CONTROL.
        slots: the policy's inputs.
        rule: see `KeyRule`.

    Raises:
        Refusal: a key belongs to no input, or a control has the wrong type.
    """
    inputs: dict[str, dict[str, Any]] = {}
    control: dict[str, Any] = {}
    for key, value in flat(given).items():
        name, slash, path = rule.renamed.get(key, key).partition("/")
        if key in rule.ignored:
            continue
        if name in slots and not path and slots[name].text is not None:
            slash, path = "/", "data"  # openpi's clients say `prompt`
        if slash and name in slots:
            inputs.setdefault(name, {})[path] = _usable(value, key)
        elif key in CONTROL:
            control[key] = value
        else:
            known = [*(f"{one}/..." for one in slots), *CONTROL]
            hint = did_you_mean(name, slots) or "`/schema` lists the fields; --rename and --ignore"
            raise refuse("", "the request", f"keys {', '.join(known)}", f"'{shown(key)}'", hint)
    return TickRequest(
        {name: _message(slots[name], fields, rule) for name, fields in inputs.items()},
        _flag(control, "reset"),
        _time(control),
        _flag(control, "details"),
        _id(control),
    )


def _usable(value: Any, key: str) -> Any:
    """Numbers as an array; texts, lists of texts and bytes unchanged.

    Raises:
        Refusal: it is something else.
    """
    if isinstance(value, (str, bytes)):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return value
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError):  # ragged lists
        found = np.array(None)
    if found.dtype.kind not in "biuf":
        expected = "numbers, an array of them, or texts"
        raise refuse("", f"the request: {shown(key)}", expected, "something else")
    return found


def _flag(control: Mapping[str, Any], key: str) -> bool:
    value = control.get(key, False)
    if not isinstance(value, (bool, np.bool_)):
        raise refuse("", f"the request: {key}", "true or false", type(value).__name__)
    return bool(value)


def _time(control: Mapping[str, Any]) -> int | None:
    if "time" not in control:
        return None
    value = control["time"]
    number = isinstance(value, (int, float, np.integer, np.floating))
    if not number or isinstance(value, bool) or not 0 <= value < _LATEST_S:
        raise refuse("", "the request: time", "seconds from 0 to 1e9", shown(str(value)[:20]))
    return round(float(value) * 1e9)


def _id(control: Mapping[str, Any]) -> str | int | None:
    value = control.get("id")
    if value is None or (type(value) is int and abs(value) < 1 << 63):
        return value
    if not isinstance(value, str) or len(value) > _LONGEST_ID:
        expected = f"a text of at most {_LONGEST_ID} characters, or a whole number"
        raise refuse("", "the request: id", expected, type(value).__name__)
    return value


def _message(slot: InputSlot, fields: dict[str, Any], rule: KeyRule) -> Fields:
    """The fields as `feed` takes them: joints with names, an image as a message."""
    if slot.joints is not None and "name" not in fields:
        given = [np.size(fields[kind]) for kind in slot.joints.values if kind in fields]
        names = list(rule.joint_names)
        if any(count != len(names) for count in given):
            expected = f"the names of the joints, or {len(names)} numbers in the policy's order"
            raise refuse("", f"inputs.{slot.name}: name", expected, f"{given} numbers, no names")
        return {**fields, "name": names}
    if slot.joints is not None:
        given_names = fields["name"]
        if not isinstance(given_names, list) or not all(isinstance(n, str) for n in given_names):
            expected = "a list of texts"
            raise refuse("", f"inputs.{slot.name}: name", expected, type(given_names).__name__)
        return fields
    if slot.spec.type in (_IMAGE, _COMPRESSED) and "" in slot.keepers:
        rest = {path: value for path, value in fields.items() if path not in _IMAGE_FIELDS}
        return {**rest, "": _image(slot, fields)}
    return fields


def _image(slot: InputSlot, fields: dict[str, Any]) -> SimpleNamespace:
    """A message of pixels [height, width(, channels)], or of the bytes of a compressed file."""
    key = f"inputs.{slot.name}: data"
    pixels = fields.get("data", fields.get(""))
    if slot.spec.type == _COMPRESSED:
        data = pixels.tobytes() if isinstance(pixels, np.ndarray) else pixels
        if not isinstance(data, (bytes, bytearray)) or not data:
            raise refuse("", key, "the bytes of a JPEG, PNG or WebP", type(pixels).__name__)
        return SimpleNamespace(format=str(fields.get("format", "")), data=data)
    if not isinstance(pixels, np.ndarray) or pixels.ndim not in (2, 3) or not pixels.size:
        got = f"shape {np.shape(pixels)}" if isinstance(pixels, np.ndarray) else "no array"
        raise refuse("", key, "pixels [height, width] or [height, width, channels]", got)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    encoding = fields.get("encoding", _ENCODINGS.get((pixels.dtype.name, channels)))
    if not isinstance(encoding, str):
        got = f"{pixels.dtype.name} with {channels} channels"
        raise refuse("", key, f"pixels of {_kinds()}, or a field 'encoding'", got)
    little = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        step=pixels.shape[1] * channels * pixels.dtype.itemsize,
        encoding=encoding,
        is_bigendian=0,
        data=little.reshape(-1).view(np.uint8),
    )


def _kinds() -> str:
    return ", ".join(f"{dtype} with {count} channels" for dtype, count in _ENCODINGS)
