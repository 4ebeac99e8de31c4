"""The emergency stop's queue: damaged and lost messages, the time limit, releases."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
from children import wait_until

from policy_runner.core.safety.operator_requests import Operator

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed")
_numbers = itertools.count()


class Ear:
    """A node that subscribes to its emergency stop, and publishers in the same graph."""

    def __init__(self, *topics: str) -> None:
        import rclpy
        from rclpy.context import Context
        from rclpy.signals import SignalHandlerOptions
        from std_msgs.msg import Bool

        from policy_runner.ros.inputs.estop import EstopInput

        self.type = Bool
        self.context = Context()
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        name = f"ear{next(_numbers)}"
        self.node = rclpy.create_node(name, context=self.context)
        self.estop = EstopInput(self.node, topics or ("~/estop",))
        self.operator = Operator(self.estop.sources)
        self.topic = f"/{name}/estop"
        self.sent = 0

    def publisher(self) -> Any:
        made = self.node.create_publisher(self.type, "~/estop", 10)
        wait_until(lambda: made.get_subscription_count() == 1)
        return made

    def fill(self, publisher: Any, *messages: Any) -> None:
        """Publish these messages, and wait until they have arrived."""
        for message in messages:
            publisher.publish(message if isinstance(message, bytes) else self.type(data=message))
        time.sleep(0.2)

    def close(self) -> None:
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def ear() -> Iterator[Ear]:
    made = Ear()
    yield made
    made.close()


def test_a_press_counts_though_it_was_released_before_it_was_heard(ear: Ear) -> None:
    publisher = ear.publisher()
    ear.fill(publisher, True, False)
    ear.estop.drain(ear.operator)
    assert not ear.operator.pressed
    assert ear.operator.latched
    assert ear.operator.fault() is not None
    assert ear.operator.fault() is None


@pytest.mark.parametrize("raw", [b"\x00\x01\x00\x00\x07", b"\x00\x00\x00\x00\x01"])
def test_bytes_that_are_not_zero_are_a_press(ear: Ear, raw: bytes) -> None:
    ear.fill(ear.publisher(), raw)
    ear.estop.drain(ear.operator)
    assert ear.operator.pressed


@pytest.mark.parametrize("loss_is_press", [True, False])
def test_a_queue_that_was_full_counts_as_a_press(ear: Ear, loss_is_press: bool) -> None:
    publisher = ear.publisher()
    ear.estop.loss_is_press = loss_is_press
    ear.fill(publisher, *[False] * 1900)
    ear.estop.drain(ear.operator)
    assert ear.operator.fault() is None
    ear.fill(publisher, True, *[False] * 2100)
    ear.estop.drain(ear.operator)
    fault = ear.operator.fault()
    assert (fault is not None) == loss_is_press
    assert fault is None or "2000 messages waited" in fault.detail


def test_a_drain_is_bounded_in_time_and_the_next_one_continues(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    from policy_runner.ros.inputs import estop

    publisher = ear.publisher()
    monkeypatch.setattr(estop, "_LONGEST_NS", 0)
    clock = [time.monotonic_ns()]
    stand_still = SimpleNamespace(monotonic_ns=lambda: clock[0])
    monkeypatch.setattr(estop, "time", stand_still)
    ear.estop.drain(ear.operator)  # the clock stands still from here on: the time limit is 0
    ear.fill(publisher, *[False] * 500, True, *[False] * 500)
    heard = []
    for _ in range(40):
        ear.estop.drain(ear.operator)
        heard.append(ear.operator.fault() is not None)
    assert heard.count(True) == 1
    assert 2 < heard.index(True) < 20


def test_the_false_of_one_publisher_releases_its_press_and_no_other_s(ear: Ear) -> None:
    first = ear.publisher()
    ear.fill(first, True)
    ear.estop.drain(ear.operator)
    ear.fill(first, False)
    ear.estop.drain(ear.operator)
    assert not ear.operator.pressed
    second = ear.publisher()
    ear.fill(first, True)
    ear.fill(second, False)
    ear.estop.drain(ear.operator)
    ear.fill(first, False)
    ear.estop.drain(ear.operator)
    assert ear.operator.pressed
    assert "has several publishers" in ear.estop.look()[0]


def test_a_publisher_that_joins_or_leaves_while_it_is_pressed(ear: Ear) -> None:
    first = ear.publisher()
    ear.fill(first, True)
    ear.estop.drain(ear.operator)
    ear.node.destroy_publisher(first)
    wait_until(lambda: ear.node.count_publishers(ear.topic) == 0)
    ear.estop.drain(ear.operator)
    assert "its publishers have gone" in ear.estop.look()[0]
    ear.fill(ear.publisher(), False)
    ear.estop.drain(ear.operator)
    assert ear.operator.pressed


def test_where_publishers_cannot_be_counted_the_graph_decides(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ROS 2 Humble cannot count the publishers of a subscription."""
    from policy_runner.ros.inputs.polling import PolledSubscription

    monkeypatch.setattr(PolledSubscription, "publishers", lambda _self: None)
    first, _second = ear.publisher(), ear.publisher()
    ear.fill(first, True)
    ear.estop.drain(ear.operator)
    ear.estop.look()
    ear.fill(first, False)
    ear.estop.drain(ear.operator)
    assert ear.operator.pressed


def test_names_that_are_none_are_problems() -> None:
    ear = Ear("~/odd name", "pendant", "pendant")
    try:
        (problem,) = ear.estop.problems
        assert problem.startswith("parameter estop.topics: expected names of topics, got '~/odd")
        assert [source.name for source in ear.estop.sources] == ["pendant"]
    finally:
        ear.close()
