"""Every output that was ever commanded gets a last command, even if a reload removes it."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from output_rig import FakeTopics, elements_of, make_commands, numbers_of

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")


def swap(
    before: dict[str, str], after: dict[str, str], damped: bool = False, **how: Any
) -> tuple[FakeTopics, Any]:
    """A policy has commanded -4 everywhere; the next one has taken over, but not yet published."""
    topics = FakeTopics()
    old = make_commands(topics, elements_of(**before), **how)
    assert old.publish(np.full(len(before), -4.0), 1) == ""
    new = make_commands(topics, elements_of(**after), **how)
    new.continue_from(old, damped)
    topics.heard.clear()
    return topics, new


def said(topics: FakeTopics) -> list[tuple[str, dict[tuple[str, str], float]]]:
    return [(topic, numbers_of(message)) for topic, message in topics.heard]


def test_a_joint_that_is_dropped_stops_while_the_other_goes_on() -> None:
    topics, new = swap({"a": "velocity", "b": "velocity"}, {"b": "velocity"})
    assert new.publish(np.array([-3.0]), 7) == ""
    assert said(topics) == [("cmd", {("velocity", "a"): 0.0, ("velocity", "b"): -3.0})]
    assert topics.heard[0][1].header.stamp.nanosec == 7
    assert new.publish(np.array([-2.0]), 8) == ""
    assert said(topics)[1:] == [("cmd", {("velocity", "b"): -2.0})]


def test_topics_that_are_left_get_their_stop_and_the_new_ones_their_command() -> None:
    topics, new = swap({"a": "velocity"}, {"a": "velocity", "b": "position"})
    new.publish(np.array([-3.0, 0.5]), 7)
    assert said(topics) == [
        ("cmd", {("velocity", "a"): 0.0}),
        ("cmd/velocity", {("velocity", "a"): -3.0}),
        ("cmd/position", {("position", "b"): 0.5}),
    ]


def test_another_kind_on_the_same_topic_is_another_output() -> None:
    topics, new = swap({"a": "velocity"}, {"a": "effort"})
    new.publish(np.array([0.5]), 7)
    new.publish(np.array([0.5]), 8)
    assert said(topics) == [
        ("cmd", {("velocity", "a"): 0.0}),
        ("cmd", {("effort", "a"): 0.5}),
    ]


def test_another_message_on_the_same_topic_is_another_output() -> None:
    topics, new = swap({"linear__x": "twist"}, {"a": "velocity"})
    new.publish(np.array([0.5]), 7)
    stopped, following = said(topics)
    assert stopped[1]["twist", "linear.x"] == 0.0
    assert following == ("cmd", {("velocity", "a"): 0.5})


def test_a_position_stays_where_it_was() -> None:
    topics, new = swap({"a": "position", "b": "position"}, {"b": "position"})
    new.publish(np.array([0.5]), 7)
    assert said(topics) == [("cmd", {("position", "a"): -4.0, ("position", "b"): 0.5})]


def test_a_position_is_damped_where_its_stop_is() -> None:
    from policy_runner.ros.outputs.command_messages import CommandFormat

    gains = {name: {"stiffness": 20.0, "damping": 1.0} for name in "ab"}
    layout = ("position", "stiffness", "damping")
    form = CommandFormat("float64_multi_array", layout=layout, gains=gains)
    before = {"a": "position", "b": "position"}
    topics, new = swap(before, {"b": "position"}, damped=True, form=form)
    new.publish(np.array([0.5]), 7)
    new.publish(np.array([0.5]), 7)
    first, second = (list(message.data) for _, message in topics.heard)
    assert first == [-4.0, 0.0, 1.0, 0.5, 20.0, 1.0]
    assert second == [0.5, 20.0, 1.0]


def test_one_float_per_joint_stops_on_the_topic_that_is_left() -> None:
    from policy_runner.ros.outputs.command_messages import CommandFormat

    form = CommandFormat("float64")
    topics, new = swap({"a": "velocity", "b": "velocity"}, {"b": "velocity"}, form=form)
    new.publish(np.array([-3.0]), 7)
    assert [(topic, message.data) for topic, message in topics.heard] == [
        ("cmd/a", 0.0),
        ("cmd/b", -3.0),
    ]


def test_a_held_joint_that_is_left_stops() -> None:
    from policy_runner.ros.outputs.command_messages import CommandFormat

    topics = FakeTopics()
    form = CommandFormat("joint_state", held={"caster": 3.0})
    old = make_commands(topics, elements_of(a="velocity"), form)
    old.publish(np.array([1.0]), 0)
    new = make_commands(topics, elements_of(a="position"), form)
    new.continue_from(old)
    new.publish(np.array([0.5]), 0)
    assert said(topics)[1][1] == {("velocity", "a"): 0.0, ("velocity", "caster"): 0.0}


def test_what_is_owed_leaves_also_without_a_command_and_at_the_end() -> None:
    for leave in ("owed", "end", "refused"):
        topics, new = swap({"a": "velocity", "b": "velocity"}, {"b": "velocity"})
        if leave == "owed":
            new.publish_owed(7)
            assert said(topics) == [("cmd", {("velocity", "a"): 0.0, ("velocity", "b"): -4.0})]
            continue
        if leave == "refused":
            assert new.publish(np.array([math.nan]), 7)
            assert topics.heard == []
        new.end(None, 7)
        assert said(topics) == [
            ("cmd", {("velocity", "a"): 0.0, ("velocity", "b"): 0.0}),
            ("cmd", {("velocity", "b"): 0.0}),
        ]


def test_what_two_reloads_in_a_row_leave_is_owed_together() -> None:
    topics, second = swap({"a": "velocity", "b": "velocity"}, {"b": "velocity"})
    third = make_commands(topics, elements_of(c="velocity"))
    third.continue_from(second)
    third.publish(np.array([1.0]), 7)
    for name in "ab":
        heard = [numbers.get(("velocity", name)) for _, numbers in said(topics)]
        assert [value for value in heard if value is not None][-1] == 0.0


def test_nothing_is_owed_where_nothing_was_commanded() -> None:
    topics = FakeTopics()
    old = make_commands(topics, elements_of(a="velocity"))
    new = make_commands(topics, elements_of(b="velocity"))
    new.continue_from(old)
    new.publish_owed(7)
    new.end(None, 7)
    assert topics.heard == []


def test_topics_may_go_once_their_receivers_confirmed_or_a_second_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from policy_runner.ros.runner import kept_topics

    clock = [10.0]
    monkeypatch.setattr(kept_topics.time, "monotonic", lambda: clock[0])
    sent, confirmed = [False], [False]
    left = kept_topics.Left(lambda: sent[0], lambda: confirmed[0])
    confirmed[0] = True
    assert not left()  # the control thread has not sent it yet
    sent[0], confirmed[0] = True, False
    assert not left()
    clock[0] += 0.9
    assert not left()
    confirmed[0] = True
    assert left()
    confirmed[0] = False
    clock[0] += 0.2
    assert left()


def test_only_the_topics_that_are_left_are_waited_for() -> None:
    _, new = swap({"a": "velocity"}, {"a": "velocity"})
    (publisher,) = new.publishers
    publisher.acknowledged = False
    assert not new.wait_for_acknowledgement(0.0)
    assert new.wait_for_acknowledgement(0.0, but=[publisher])
