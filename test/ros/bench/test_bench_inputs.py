"""What `bench node` publishes is usable, and how it measures the age of an input."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from core_rig import spec_content, term, write_spec
from text_policy import text_spec

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")


def test_a_joy_has_the_axes_and_buttons_that_a_policy_reads(tmp_path: Path) -> None:
    from policy_runner.core.spec import read_spec
    from policy_runner.ros.bench.publisher import example_messages

    joy = term(
        "joy_command", input="stick", elements=[{"name": "x", "axis": 7}, {"name": "y", "plus": 11}]
    )
    content = spec_content(
        inputs={"stick": {"type": "sensor_msgs/msg/Joy", "topic": "joy"}},
        observation=[{"tensor": "obs", "terms": [joy], "normalization": "none"}],
    )
    ((topic, message),) = example_messages(read_spec(write_spec(tmp_path, content)).spec)
    assert topic == "joy"
    assert len(message.axes) > 7
    assert len(message.buttons) > 11
    assert not any(message.axes)


def test_a_text_is_sent_to_the_runners_own_topic() -> None:
    from policy_runner.core.spec import PolicySpec
    from policy_runner.ros.bench.publisher import example_messages

    ((_, _), (topic, message)) = example_messages(PolicySpec.model_validate(text_spec()))
    assert topic == "/policy_runner/prompt"
    assert message.data


def test_the_age_of_an_input_without_a_header_is_that_of_its_arrival() -> None:
    from policy_runner.ros.bench.recorder import oldest_age_ns

    def slot(**values: Any) -> Any:
        return SimpleNamespace(**values)

    with_header = slot(stamped=True, stamp_ns=960, oldest_ns=990)
    without = slot(stamped=False, stamp_ns=0, oldest_ns=970)
    assert oldest_age_ns([with_header, without], 1000) == 40
    assert oldest_age_ns([without], 1000) == 30
