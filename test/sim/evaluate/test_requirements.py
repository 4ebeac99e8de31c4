"""The grammar of --require, --sweep, --with and --command, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.errors import Refusal
from policy_runner.sim.evaluate.plan import read_commands, read_conditions
from policy_runner.sim.evaluate.requirement import OPERATORS, Requirement, read_requirements
from policy_runner.sim.evaluate.sweep import read_sweep

NAMES = ("falls", "vx_rmse", "first_fall_s")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.sampled_from(list(OPERATORS)),
            st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: float(f"{x:g}")),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([", ", ",", " and "]),
)
def test_what_is_written_is_read_back(rows: list[tuple[str, str, float]], between: str) -> None:
    wanted = [Requirement(*row) for row in rows]
    assert read_requirements(between.join(map(str, wanted)), NAMES) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fall == 0", "got 'fall'; did you mean 'falls'?"),
        ("falls = 0", "expected NAME OPERATOR NUMBER"),
        ("falls == 0 or vx_rmse < 1", "expected NAME OPERATOR NUMBER"),
        ("falls == __import__('os').getpid()", "expected NAME OPERATOR NUMBER"),
        ("falls == 1 + 1", "expected NAME OPERATOR NUMBER"),
        ("falls < nan", "expected NAME OPERATOR NUMBER"),
        ("falls == 0,", "got ''"),
    ],
)
def test_anything_else_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_requirements(text, NAMES)
    assert sentence in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(Refusal) as caught:
        read_requirements("fall == 0, vx_rmse, falls < 1", NAMES)
    assert len(caught.value.problems) == 2


def test_a_figure_that_was_not_measured_fulfils_nothing() -> None:
    for operator in OPERATORS:
        assert not Requirement("first_fall_s", operator, 0.0).fulfilled({"first_fall_s": None})
    assert Requirement("falls", "<=", 1.0).fulfilled({"falls": 1})
    assert not Requirement("falls", "<", 1.0).fulfilled({"falls": 1})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("commad_delay=0:1:0.1", "did you mean 'command_delay'?"),
        ("mass=0.5:1.5", "expected NAME=START:STOP:STEP"),
        ("mass=1.5:0.5:0.1", "expected STOP at least START"),
        ("mass=0.5:1.5:0", "expected STOP at least START"),
        ("mass=0:1:0.5", "--sweep mass: expected 0.05 or more, got 0"),
        ("packet_loss=0:1.5:0.5", "expected 0 to 1, got 1.5"),
        ("mass=a:b:c", "expected numbers"),
    ],
)
def test_a_sweep_that_gives_no_values_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_sweep(text)
    assert sentence in str(caught.value)


def test_a_sweep_has_both_ends_and_the_numbers_that_were_meant() -> None:
    assert read_sweep("command_delay=0:0.3:0.1").values == (0.0, 0.1, 0.2, 0.3)
    assert read_sweep("rate=50:100:25").values == (50.0, 75.0, 100.0)


def test_conditions_and_commands_are_read() -> None:
    conditions = read_conditions(["mass=0.8:1.2", "push=15"])
    assert (conditions.mass, conditions.push) == ((0.8, 1.2), (15.0, 15.0))
    assert read_commands(["vx=-1:1", "angular.z=0.5"]) == {"vx": (-1.0, 1.0), "wz": (0.5, 0.5)}
    for read, text, sentence in (
        (read_conditions, "masss=1", "did you mean 'mass'?"),
        (read_conditions, "friction=2:1", "LOW at most HIGH"),
        (read_conditions, "packet_loss=2", "expected 0 to 1"),
        (read_conditions, "packet_loss=0:1.5", "expected 0 to 1, got 1.5"),
        (read_commands, "vxx=1", "did you mean 'vx'?"),
    ):
        with pytest.raises(Refusal) as caught:
            read([text])
        assert sentence in str(caught.value)
