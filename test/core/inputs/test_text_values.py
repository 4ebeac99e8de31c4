"""Texts as numbers: what is kept, what is refused, and the bytes of a String."""

from __future__ import annotations

import numpy as np
import pytest

from policy_runner.core.inputs.cdr import Unreadable
from policy_runner.core.inputs.text import TextValues, string_data, string_message, text_of

TEXTS = ("a", "pick up the cup", "Öffne die Tür ✓", "x" * 32, "two\nlines")


def _values(*sizes: int) -> TextValues:
    values = TextValues()
    for size in sizes:
        values.array(size)
    return values


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_becomes_its_bytes_and_zeros(text: str) -> None:
    values, data = _values(32, 40), text.encode()
    assert values(text) == ""
    for size in (32, 40):
        array = values.array(size)
        assert array.tolist() == [*data, *[0] * (size - len(data))]
        assert text_of(array) == data
    assert values.data == data


@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_a_string_are_read_as_they_were_written(text: str) -> None:
    assert string_data(string_message(text)) == text.encode()


def test_a_shorter_text_leaves_nothing_of_the_longer_one() -> None:
    values = _values(8)
    assert values("longer") == values("abc") == ""
    assert values.array(8).tolist() == [97, 98, 99, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("x" * 33, "33 bytes in UTF-8, at most 32"),
        ("ü" * 17, "34 bytes in UTF-8, at most 32"),
        ("a\0b", "NUL"),
        (b"\xff\xfe", "not UTF-8"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_an_unusable_text_leaves_the_old_one(bad: str | bytes, why: str) -> None:
    values = _values(40, 32)
    assert values("old") == ""
    assert why in values(bad)
    assert values.data == b"old"


def test_an_empty_text_is_no_text() -> None:
    values = _values(4)
    assert not values.is_given
    assert values("go") == ""
    assert values.is_given
    assert values("") == ""
    assert not values.is_given
    assert np.isnan(values.array(4)).all()
    assert values.data == b""


def test_a_restart_returns_to_the_first_text() -> None:
    values = _values(8)
    assert values.begin_with("first") == ""
    assert values("later") == ""
    values.restart()
    assert values.data == b"first"


def test_a_report_has_no_control_characters() -> None:
    values = _values(400)
    assert values("go\x1b[31m" + 300 * "y") == ""
    assert values.shown.startswith("go [31myyy")
    assert values.shown.endswith("...")


def test_damaged_strings_are_refused() -> None:
    random = np.random.default_rng(1)
    whole = string_message("pick up")
    for cut in range(len(whole)):
        with pytest.raises(Unreadable):
            string_data(whole[:cut])
    for _ in range(500):
        raw = bytearray(whole)
        raw[random.integers(len(raw))] = random.integers(256)
        try:
            data = string_data(bytes(raw))
        except Unreadable:
            continue
        assert len(data) <= len(whole)
