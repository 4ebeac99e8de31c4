"""A reload keeps the newest text, or leaves the next policy without one."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from policy_runner.core.inputs.text import TextValues, string_data

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")


def text_input(size: int, parameter: str, topic: str | None = None) -> Any:
    """An input with a text of at most `size` bytes, by parameter, then by topic."""
    text = TextValues()
    text.array(size)
    text.begin_with(parameter)
    slot = SimpleNamespace(text=text, arrived_ns=5)

    def hear(raw: bytes, _now_ns: int) -> None:
        text(string_data(raw))

    made = SimpleNamespace(slot=slot, hear=hear)
    if topic is not None:
        text(topic)
    return made


@pytest.mark.parametrize(
    ("now", "kept"),
    [
        ("go left", b"go left"),
        ("", b""),  # the task has ended
        ("a text of the large policy", b""),  # not the parameter's, which is another task
    ],
)
def test_the_next_policy_never_falls_back_to_the_parameter(now: str, kept: bytes) -> None:
    from policy_runner.ros.inputs.texts import keep_texts

    before = text_input(64, "the parameter", now)
    following = text_input(16, "the parameter")
    keep_texts([(before, following)])()
    assert following.slot.text.data == kept


def test_a_new_input_begins_with_the_parameter() -> None:
    from policy_runner.ros.inputs.texts import keep_texts

    following = text_input(16, "the parameter")
    keep_texts([(None, following)])()
    assert following.slot.text.data == b"the parameter"
