"""Runs episodes of one policy on one robot, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.pipeline.pipeline import Step
from policy_runner.sim.evaluate.disturbances import Disturbances
from policy_runner.sim.evaluate.plan import Plan
from policy_runner.sim.evaluate.scoring import Episode, Scorer
from policy_runner.sim.evaluate.subject import NO_CHANGE, Subject, Variant, bind
from policy_runner.sim.loop.policy_in_loop import PolicyInLoop

DIVERGED = "simulation"  # the key of `Plant.advance` for a simulation that diverges
# Called after every tick; for recordings and pictures.
After = Callable[[PolicyInLoop, Step], None]


class Job(NamedTuple):
    """One episode to run."""

    variant: Variant
    plan: Plan
    number: int


class Done(NamedTuple):
    """An episode, and what it cost: never part of a report."""

    episode: Episode
    cpu_s: float


class EpisodeRunner:
    """Runs jobs; loads a policy again only when the variant changes."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._variant = NO_CHANGE
        self._loop: PolicyInLoop | None = None

    def run(self, job: Job, after: After | None = None) -> Done:
        """Run one episode.

        Args:
            job: the episode.
            after: see `After`.

        Raises:
            Refusal: policy and robot do not match. A simulation that diverges is a fall.
        """
        began = cpu_time_s()
        loop = self.loop(job.variant)
        episode = run_episode(loop, job.plan, job.number, after)
        return Done(episode, cpu_time_s() - began)

    def loop(self, variant: Variant = NO_CHANGE) -> PolicyInLoop:
        """The loop of a variant; it is valid until another variant is asked for."""
        if self._loop is None or variant != self._variant:
            self.close()
            self._loop, self._variant = bind(self._subject, variant), variant
        return self._loop

    def close(self) -> None:
        """Release the model."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None


def run_episode(
    loop: PolicyInLoop,
    plan: Plan,
    number: int,
    after: After | None = None,
    begun: Callable[[], None] | None = None,
) -> Episode:
    """Run one episode until its end or a fall.

    After a SAFE_STOP it continues: the stop may be too late for the robot.

    Args:
        loop: policy and robot; reset before.
        plan: what is drawn and how long it lasts.
        number: of the episode.
        after: see `After`.
        begun: called once, after the loop was reset.
    """
    disturbances, scorer = Disturbances(loop, plan), Scorer(loop, plan)
    disturbances.begin(number)
    scorer.begin(number)
    if begun is not None:
        begun()
    for _ in range(round(plan.seconds / loop.period_s)):
        disturbances.before_tick()
        try:
            step = loop.tick()
        except Refusal as refusal:
            # A command that the robot does not take is no fall: it is refused as everywhere.
            problem = refusal.problems[0]
            if not isinstance(problem, Problem) or problem.key != DIVERGED:
                raise
            scorer.episode.ticks += 1
            scorer.episode.fell_s = scorer.episode.simulated_s
            scorer.episode.diverged = problem.got
            break
        fell = scorer.after_tick(step, loop.ticks > disturbances.settled_from)
        if after is not None:
            after(loop, step)
        if fell:
            break
    return scorer.end(disturbances.commands)


def cpu_time_s() -> float:
    """Processor time of this process, all threads [s]."""
    return time.process_time()
