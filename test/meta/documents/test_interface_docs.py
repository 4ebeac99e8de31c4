"""The pages of topics, services and diagnostics show what the running nodes have."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from interface_tables import MEANINGS, PAGES, STATUSES, general, meaning, tables, with_tables
from running_nodes import Endpoint, Found, found

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("mujoco") is None,
    reason="rclpy or mujoco is not installed",
)


@pytest.fixture(scope="module")
def facts() -> Found:
    """What the running nodes have."""
    return found()


def test_both_pages_are_what_the_nodes_show(facts: Found) -> None:
    made = tables(facts)
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert all(f"<!-- {name}: " in text for name in made)
    for page in PAGES:
        text = page.read_text("utf-8")
        assert with_tables(text, made) == text, "run `python tools/interface_tables.py`"


def test_every_meaning_belongs_to_an_endpoint(facts: Found) -> None:
    used = {(row.node, meaning(row)) for row in facts.endpoints}
    unused = [
        (node, name)
        for node, known in MEANINGS.items()
        for name, text in known.items()
        if (node, text) not in used
    ]
    assert not unused


def test_every_status_of_the_nodes_has_a_meaning(facts: Found) -> None:
    assert not set(facts.statuses) - set(STATUSES)


def test_an_endpoint_without_a_meaning_is_refused() -> None:
    with pytest.raises(KeyError):
        meaning(Endpoint("policy_runner", "publishes", "~/unknown", "std_msgs/msg/Bool", ""))


def test_percentiles_and_names_are_shown_once() -> None:
    keys = ["step p50 [us]", "step p99.9 [us]", "imu age [ms]", "cmd_vel age [ms]", "ticks"]
    assert general(keys) == ["step p50, p99.9 [us]", "<input> age [ms]", "ticks"]
