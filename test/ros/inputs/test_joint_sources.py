"""Finds the joints that two publishers send by the sequence numbers of their messages."""

from __future__ import annotations

import random
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed")
ARMS, LEGS, ALL = ("a", "b"), ("c", "d"), ("d", "c", "b", "a")


def shared(messages: Iterable[tuple[tuple[str, ...], Any]], key: str = "") -> list[str]:
    """Return the joints that two publishers send; messages are (names, number), by arrival."""
    from policy_runner.ros.inputs.joint_sources import JointSources

    sources = JointSources()
    for names, mark in messages:
        sources.add(names, {key or "publication_sequence_number": mark})
    return sources.shared()


def mixed(*streams: list[tuple[tuple[str, ...], int]], seed: int = 1) -> list[Any]:
    """Mix the messages of several publishers at random; each publisher's order is kept."""
    rng, left, found = random.Random(seed), [list(stream) for stream in streams], []
    while any(left):
        found.append(rng.choice([stream for stream in left if stream]).pop(0))
    return found


def stream(names: tuple[str, ...], begin: int, count: int = 50) -> list[Any]:
    return [(names, begin + k) for k in range(count)]


@pytest.mark.parametrize("begin", [1, 30, 40, 5000])
@pytest.mark.parametrize("count", [10, 50])
def test_the_same_joints_from_two_publishers(begin: int, count: int) -> None:
    for seed in range(20):
        messages = mixed(stream(ALL, 1000 + begin), stream(ALL, 1000, count), seed=seed)
        assert shared(messages) == ["a", "b", "c", "d"]


def test_different_joints_from_two_publishers_are_normal() -> None:
    for seed in range(20):
        for begin in (1, 2, 10, 5000):
            assert shared(mixed(stream(ARMS, begin), stream(LEGS, 1), seed=seed)) == []


def test_one_joint_in_two_publishers_lists() -> None:
    messages = mixed(stream(("a", "b", "c"), 700), stream(("c", "d"), 1))
    assert shared(messages) == ["c"]


def test_one_publisher_that_changes_its_list() -> None:
    names = [ALL, ARMS, LEGS]
    assert shared([(names[k % 3], k + 1) for k in range(300)]) == []


def test_losses_and_messages_that_overtake_each_other_are_no_second_publisher() -> None:
    rng = random.Random(3)
    for _ in range(20):
        numbers = [k for k in range(1, 1000) if rng.random() > 0.1]
        at = rng.randrange(len(numbers) - 1)
        numbers[at], numbers[at + 1] = numbers[at + 1], numbers[at]
        assert shared([(ALL, number) for number in numbers]) == []


def test_long_losses_are_no_second_publisher() -> None:
    numbers = [k for k in range(1, 3000) if k % 70 < 30]
    assert shared([(ALL, number) for number in numbers]) == []
    messages = mixed([(ARMS, number) for number in numbers], stream(LEGS, 7, 900))
    assert shared(messages) == []


def test_by_the_publisher_s_id_where_it_is_known() -> None:
    pairs = [(ALL, "one"), (ARMS, "one"), (LEGS, "two"), (ALL, "one")]
    assert shared(pairs, "publisher_gid") == ["c", "d"]
    assert shared([(ALL, "one"), (ALL, "one")], "publisher_gid") == []


def test_without_either_only_lists_that_share_a_joint_are_two() -> None:
    assert shared([(ALL, None)] * 10) == []
    assert shared([(ARMS, None), (LEGS, None)]) == []
    assert shared([(ALL, None), (ARMS, None)]) == ["a", "b"]
