"""Chunks as trajectories: what the controller interpolates is C1 over every seam."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from policy_runner.core.chunks.rules import ChunkRules
from policy_runner.core.chunks.trajectory import Trajectory, TrajectoryPlanner
from policy_runner.core.model import Array

MS = 1_000_000
DT = 40 * MS
LEAD = 20 * MS


def controllers(t: float, one: Trajectory, k: int) -> list[Array]:
    """Position, velocity and acceleration `t` s after point k, by solving the conditions.

    joint_trajectory_controller/src/trajectory.cpp: a cubic through positions and velocities, and
    with accelerations a quintic.
    """
    d = float(one.times_ns[k + 1] - one.times_ns[k]) * 1e-9
    kinds = [one.positions, one.velocities]
    if one.accelerations is not None:
        kinds.append(one.accelerations)
    size = 2 * len(kinds)

    def row(at: float, order: int) -> list[float]:
        return [math.perm(n, order) * at ** (n - order) if n >= order else 0 for n in range(size)]

    conditions = [row(at, order) for at in (0.0, d) for order in range(len(kinds))]
    values = [kind[k + side] for side in (0, 1) for kind in kinds]
    powers = np.linalg.solve(np.array(conditions), np.array(values))
    return [np.array(row(t, order)) @ powers for order in range(3)]


def follow(sent: list[tuple[int, Trajectory]], now: int) -> list[Array]:
    """The controller with replacement: the newest trajectory whose stamp has come."""
    one = next(one for _, one in reversed(sent) if one.stamp_ns <= now)
    passed = now - one.stamp_ns
    k = int(np.searchsorted(one.times_ns, passed, side="right")) - 1
    assert k < len(one.times_ns) - 1
    return controllers((passed - int(one.times_ns[k])) * 1e-9, one, k)


def sequence(every: int, quintic: bool = False) -> tuple[list[tuple[int, Trajectory]], float]:
    """Jumping chunks of 12 actions, one every `every` ms, 60 ms old; their steepest rate."""
    generator = np.random.default_rng(0)
    planner = TrajectoryPlanner(ChunkRules(12, DT), 2, 10 * MS, LEAD, quintic)
    planner.hold(np.zeros(2))
    sent, steepest = [], 0.0
    for ms in range(0, 2000, every):
        rows = generator.uniform(-0.2, 0.2, 2) + np.cumsum(
            generator.uniform(-0.02, 0.02, (12, 2)), axis=0
        )
        steepest = max(steepest, float(np.abs(np.diff(rows, axis=0)).max()) / (DT / 1e9))
        made = planner.plan(rows, (ms - 60) * MS, ms * MS)
        assert made is not None
        sent.append((ms * MS, made))
    return sent, steepest


@pytest.mark.parametrize("quintic", [False, True])
@pytest.mark.parametrize("every", [50, 130, 290])
def test_the_controllers_motion_is_c1_over_every_point_and_seam(every: int, quintic: bool) -> None:
    sent, steepest = sequence(every, quintic)
    begin, end = sent[0][1].stamp_ns, sent[-1][0]
    edges = [one.stamp_ns for _, one in sent[1:]]
    edges += [one.stamp_ns + int(t) for _, one in sent for t in one.times_ns[1:-1]]
    for edge in edges:
        if begin < edge < end:
            before, after = follow(sent, edge - 10), follow(sent, edge + 10)
            np.testing.assert_allclose(before[0], after[0], atol=1e-6)
            np.testing.assert_allclose(before[1], after[1], atol=1e-5)
            if quintic:
                np.testing.assert_allclose(before[2], after[2], atol=1e-2)
    rates = np.array([follow(sent, now)[1] for now in range(begin, end, 5 * MS)])
    assert np.abs(rates).max() <= 1.5 * (steepest + 1.0)


@pytest.mark.parametrize("quintic", [False, True])
def test_our_interpolation_is_the_controllers(quintic: bool) -> None:
    """Ours decides where the next trajectory begins."""
    sent, _ = sequence(290, quintic)
    one = sent[3][1]
    for k in range(len(one.times_ns) - 1):
        now = one.stamp_ns + int(one.times_ns[k] + one.times_ns[k + 1]) // 2
        found = one.at(now)
        wanted = controllers((now - one.stamp_ns - int(one.times_ns[k])) * 1e-9, one, k)
        for mine, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


def test_messages_obey_the_controllers_rules() -> None:
    sent, _ = sequence(130)
    for now, one in sent:
        assert one.stamp_ns >= now
        assert one.times_ns[0] == 0
        assert np.all(np.diff(one.times_ns) > 0)
        assert not one.velocities[-1].any()
        assert np.isfinite(one.positions).all()
    for (_, one), (later, _) in itertools.pairwise(sent):
        assert later + LEAD < one.stamp_ns + int(one.times_ns[-1])  # before the older one ends


def test_the_first_trajectory_starts_at_rest_from_the_held_command() -> None:
    planner = TrajectoryPlanner(ChunkRules(50, DT), 1, 10 * MS, LEAD)
    planner.hold(np.array([0.1]))
    made = planner.plan(np.full((50, 1), 0.5), 0, 700 * MS)
    assert made is not None
    assert made.positions[0].tolist() == pytest.approx([0.1])
    assert made.velocities[0].tolist() == pytest.approx([0.0])
    assert np.abs(made.velocities).max() <= 1.0 + 1e-9
    assert made.positions[-1].tolist() == pytest.approx([0.5])


def test_the_plan_is_the_chunk_between_fades() -> None:
    rows = np.sin(np.arange(30) / 6.0)[:, None]
    planner = TrajectoryPlanner(ChunkRules(30, DT), 1, 10 * MS, 0)
    made = planner.plan(rows, 0, 3 * DT)
    assert made is not None
    assert made.stamp_ns == 3 * DT
    np.testing.assert_allclose(made.positions[:-1], rows[3:])
    later = planner.plan(rows, 0, 3 * DT + 10 * MS)  # between two actions
    assert later is not None
    np.testing.assert_allclose(
        later.at(3 * DT + 10 * MS).position, made.at(3 * DT + 10 * MS).position
    )
    np.testing.assert_allclose(later.positions[1:-1], rows[4:], atol=1e-9)


def test_the_stop_after_the_last_action_does_not_turn_back() -> None:
    rows = np.linspace(0.0, 1.0, 10)[:, None]
    planner = TrajectoryPlanner(ChunkRules(10, DT), 1, 10 * MS, 0)
    made = planner.plan(rows, 0, 0)
    assert made is not None
    end = made.stamp_ns + int(made.times_ns[-1])
    path = np.array([made.at(now)[0][0] for now in range(end - DT, end + DT, MS)])
    assert np.all(np.diff(path) >= -1e-12)


def test_a_chunk_without_a_rest_gives_no_trajectory() -> None:
    planner = TrajectoryPlanner(ChunkRules(5, DT), 1, 10 * MS, LEAD)
    assert planner.plan(np.zeros((5, 1)), 0, 5 * DT - LEAD) is None
