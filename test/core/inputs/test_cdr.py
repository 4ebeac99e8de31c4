"""Every length in a serialized message is checked against its end, in both byte orders."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from policy_runner.core.inputs.cdr import Unreadable, read_layout

TYPES = {
    "x/Point": {"x": "double", "y": "double"},
    "x/Odd": {"flag": "boolean", "at": "x/Point"},
    "x/Named": {"name": "string", "value": "float"},
    "x/Numbers": {"small": "uint8", "data": "sequence<double>"},
    "x/Points": {"tag": "uint8", "points": "sequence<x/Odd>", "end": "int32"},
    "x/Names": {"names": "sequence<string>", "end": "int32"},
    "x/Both": {"all": "sequence<x/Named>"},
    "x/Bounded": {"few": "sequence<int16, 3>", "short": "string<4>"},
    "x/Wide": {"front": "double", "text": "wstring", "back": "double"},
    "x/Empty": {},
    "x/Deep": {"rows": "x/Points[2]"},
}


def layout(raw: bytes, kind: str, **how: Any) -> Any:
    return read_layout(raw, kind, TYPES.__getitem__, **how)


class Writer:
    """Writes a message in one byte order."""

    def __init__(self, order: str) -> None:
        self.order, self.raw = order, bytearray(b"\0\1\0\0" if order == "<" else b"\0\0\0\0")

    def put(self, code: str, *values: Any) -> Writer:
        size = struct.calcsize(code)
        for value in values:
            self.raw += bytes(-(len(self.raw) - 4) % size)
            self.raw += struct.pack(self.order + code, value)
        return self

    def text(self, text: str) -> Writer:
        data = text.encode() + b"\0"
        self.put("I", len(data))
        self.raw += data
        return self


def points(order: str, count: int) -> bytes:
    made = Writer(order).put("B", 7).put("I", count)
    for k in range(count):
        made.put("?", True).put("d", k, -k)
    return bytes(made.put("i", 99).raw)


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_are_read_in_both_byte_orders(order: str) -> None:
    raw = bytes(Writer(order).put("B", 1).put("I", 2).put("d", 0.5, -3.0).raw)
    place = layout(raw, "x/Numbers").places["data"]
    assert np.frombuffer(raw, place.dtype, place.count, place.offset).tolist() == [0.5, -3.0]


def test_a_layout_fits_only_its_own_encapsulation() -> None:
    little = bytes(Writer("<").put("B", 1).put("I", 0).raw)
    found = layout(little, "x/Numbers")
    assert found.fits(little)
    for head in (b"\0\0\0\0", b"\0\7\0\0", b"\1\1\0\0", b"\0\1\0\1"):
        assert not found.fits(head + little[4:])


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"\0\7\0\0", r"00 07 00 00 \(PLAIN_CDR2, little endian\)"),
        (b"\0\6\0\0", "PLAIN_CDR2, big endian"),
        (b"\0\3\0\0", "PL_CDR, little endian"),
        (b"\0\x09\0\0", "DELIMITED_CDR2, little endian"),
        (b"\0\x0b\0\0", "PL_CDR2, little endian"),
        (b"\x55\1\0\0", "encapsulation 55 01 00 00, only plain CDR"),
        (b"\0\1\x80\0", "encapsulation 00 01 80 00"),
        (b"\0\1\0\4", "encapsulation 00 01 00 04"),
        (b"\0\1", "2 bytes, too few"),
        (b"", "0 bytes, too few"),
    ],
)
def test_another_encapsulation_is_refused_by_name(head: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        layout(head + (bytes(40) if len(head) == 4 else b""), "x/Numbers")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 40])
def test_an_array_of_messages_is_measured_without_walking_it(order: str, count: int) -> None:
    raw = points(order, count)
    walked, measured = layout(raw, "x/Points"), layout(raw, "x/Points", wanted={})
    assert walked.places["end"] == measured.places["end"]
    for found in (walked, measured, layout(raw, "x/Points", wanted={"points": 2})):
        place = found.places["end"]
        assert np.frombuffer(raw, place.dtype, 1, place.offset).tolist() == [99]
    if count > 1:
        place = layout(raw, "x/Points", wanted={"points": 2}).places["points[1].at.y"]
        assert np.frombuffer(raw, place.dtype, 1, place.offset).tolist() == [-1.0]
    assert "points[0].at.x" not in measured.places


@pytest.mark.parametrize("order", ["<", ">"])
def test_no_cut_message_is_read(order: str) -> None:
    for kind, raw in (("x/Points", points(order, 9)), ("x/Deep", _deep(order))):
        assert layout(raw, kind, wanted={})
        for length in range(len(raw)):
            with pytest.raises(Unreadable):
                layout(raw[:length], kind)
            with pytest.raises(Unreadable):
                layout(raw[:length], kind, wanted={})


def _deep(order: str) -> bytes:
    made = Writer(order)
    for count in (1, 3):
        made.put("B", 7).put("I", count)
        for k in range(count):
            made.put("?", True).put("d", k, -k)
        made.put("i", 99)
    return bytes(made.raw)


def test_a_count_beyond_the_message_is_found_at_once() -> None:
    for count in (10, 2**31, 2**32 - 1):
        raw = bytes(Writer("<").put("B", 7).put("I", count).put("d", 1.0).raw)
        for kind in ("x/Numbers", "x/Points"):
            with pytest.raises(Unreadable, match="ends behind the message"):
                layout(raw, kind, wanted={})


def test_more_than_padding_behind_the_end_is_refused() -> None:
    raw = bytes(Writer("<").put("B", 1).put("I", 1).put("d", 0.5).raw)
    assert layout(raw + bytes(3), "x/Numbers")
    with pytest.raises(Unreadable, match="8 bytes behind the end"):
        layout(raw + bytes(8), "x/Numbers")


def test_padding_that_the_encapsulation_tells_of_is_no_part_of_the_message() -> None:
    """The fuzzer found this on Kilted, whose deserializer removes the padding from the end."""
    raw = bytes(Writer("<").put("B", 1).put("I", 1).put("d", 0.5).raw)
    assert layout(b"\0\1\0\3" + raw[4:] + bytes(3), "x/Numbers")
    with pytest.raises(Unreadable, match="data ends behind the message"):
        layout(b"\0\1\0\3" + raw[4:], "x/Numbers")
    with pytest.raises(Unreadable, match="bytes are too few"):
        layout(b"\0\1\0\2" + bytes(4), "x/Names")


def test_a_string_must_have_its_end_inside_the_message() -> None:
    good = bytes(Writer("<").put("I", 1).text("hip").put("i", 5).raw)
    assert layout(good, "x/Names").strings["names"] == ["hip"]
    no_end = good.replace(b"hip\0", b"hipp")
    with pytest.raises(Unreadable, match="without its end"):
        layout(no_end, "x/Names")
    with pytest.raises(Unreadable, match="a string of names ends behind"):
        layout(good.replace(struct.pack("<I", 4), struct.pack("<I", 400)), "x/Names")


@pytest.mark.parametrize("kind", ["x/Names", "x/Both"])
def test_more_names_than_allowed_are_refused_before_they_are_decoded(kind: str) -> None:
    made = Writer("<").put("I", 4)
    for _ in range(4):
        made.text("abc")
        if kind == "x/Both":
            made.put("f", 1.0)
    raw = bytes(made.put("i", 5).raw)
    assert layout(raw, kind, most_items=4)
    with pytest.raises(Unreadable, match=r"4 elements in \w+, at most 3 are read"):
        layout(raw, kind, most_items=3)
    # Only the count decides: the elements after it may be missing.
    with pytest.raises(Unreadable, match="at most 512"):
        layout(bytes(Writer("<").put("I", 2**32 - 1).raw), kind)


def test_bounds_of_the_type_hold() -> None:
    def bounded(count: int, text: str) -> bytes:
        return bytes(Writer("<").put("I", count).put("h", *range(count)).text(text).raw)

    assert layout(bounded(3, "four"), "x/Bounded")
    with pytest.raises(Unreadable, match="4 elements in few, at most 3"):
        layout(bounded(4, ""), "x/Bounded")
    with pytest.raises(Unreadable, match="5 bytes in short, at most 4"):
        layout(bounded(0, "fives"), "x/Bounded")


def test_a_boolean_is_0_or_1() -> None:
    raw = bytearray(points("<", 2))
    found = layout(bytes(raw), "x/Points")
    found.check_flags(bytes(raw))
    raw[found.flags[1][0]] = 2
    with pytest.raises(Unreadable, match="neither 0 nor 1"):
        found.check_flags(bytes(raw))


def test_what_lies_behind_an_unknown_field_has_no_place() -> None:
    raw = bytes(Writer("<").put("d", 0.5).put("I", 0).put("d", 1.0).raw)
    assert list(layout(raw, "x/Wide").places) == ["front"]


def test_a_type_without_fields_is_one_byte() -> None:
    assert layout(b"\0\1\0\0\0\0\0\0", "x/Empty")
