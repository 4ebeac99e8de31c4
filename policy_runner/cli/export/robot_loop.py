"""The closed loop of `verify` and `optimize` on any simulated robot, by `sim/evaluate`."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policy_runner.backends.sample_inputs import Sample
from policy_runner.cli.evaluate.options import SHIPPED, robot_path
from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.pipeline.pipeline import Step
from policy_runner.core.pipeline.policy import Policy
from policy_runner.core.spec import read_spec
from policy_runner.export.graph.network_export import Progress, no_progress
from policy_runner.export.sources.trained_policy import Truth
from policy_runner.export.verify.agreement import recorded_row
from policy_runner.export.verify.our_side import OurSide
from policy_runner.export.verify.rows import FAILED, PASSED, Row
from policy_runner.sim.evaluate.plan import Conditions, Plan, default_commands
from policy_runner.sim.evaluate.scoring import TRACKED
from policy_runner.sim.evaluate.summary import Figures

SECONDS = 20.0  # of an episode
MOST_SAMPLES = 2048
# More than this of the original's error is no rounding.
MOST_MORE = 0.1
_TRACKED = tuple(f"{axis}_rmse" for axis in TRACKED)


def add_loops(parser: argparse.ArgumentParser, text: str) -> None:
    """Add --robot, and --closed-loop, its word for the robot of this package.

    Args:
        text: what the closed loop is for.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--closed-loop", choices=[SHIPPED], help=f"the same as --robot {SHIPPED}")
    group.add_argument("--robot", metavar="FILE",
                       help=f"{text}, as `policy-runner evaluate` does: robot.yaml, an MJCF, a"
                       f" URDF, or the word {SHIPPED}")  # fmt: skip


class RobotLoop(NamedTuple):
    """A robot, and what its episodes draw."""

    robot: Path
    episodes: int
    seconds: float
    progress: Progress = no_progress
    conditions: Conditions = Conditions()

    @classmethod
    def of(cls, arguments: argparse.Namespace, seconds: float, progress: Progress) -> RobotLoop:
        """That of the command line; without --robot the balancer, which the demo pushes, too."""
        word = arguments.robot or SHIPPED
        path = robot_path(word)
        conditions = Conditions()
        if word == SHIPPED and path != Path(word):
            from policy_runner.sim.scenario import PUSH_FORCE_N

            conditions = Conditions(push=PUSH_FORCE_N)
        return cls(path, arguments.seeds, seconds, progress, conditions)

    def plan(self, folder: Path) -> Plan:
        """The plan for a policy."""
        commands = default_commands(read_spec(folder).spec)
        return Plan(self.episodes, self.seconds, commands=commands, conditions=self.conditions)

    def drive(self, folder: Path, seen: Callable[[Any], None] | None = None) -> Figures:
        """Drive the robot with a policy folder.

        Args:
            folder: the policy.
            seen: called after every inference with the loaded policy.

        Raises:
            Refusal: policy and robot do not match.
        """
        from policy_runner.sim.evaluate.episode import run_episode
        from policy_runner.sim.evaluate.subject import Subject, bind
        from policy_runner.sim.evaluate.summary import summarize

        loop, plan = bind(Subject(folder, self.robot)), self.plan(folder)

        ticks = 0
        every = plan.episodes * round(plan.seconds / loop.period_s)

        def after(_loop: Any, step: Step) -> None:
            nonlocal ticks
            ticks += 1
            self.progress("drive the robot", ticks, every)
            if seen is not None and step.inferred:
                seen(loop.loaded)

        try:
            episodes = [run_episode(loop, plan, k, after) for k in range(plan.episodes)]
            return summarize(episodes, float(loop.plant.model.body_mass.sum()))
        finally:
            loop.close()

    def samples(self, folder: Path) -> list[Sample]:
        """What the network was given in the closed loop: its observation tensors, shuffled."""
        found: list[Sample] = []

        def seen(loaded: Any) -> None:
            names = loaded.pipeline.policy.observations
            found.append({name: loaded.model.inputs[name].copy() for name in names})

        self.drive(folder, seen)
        random.Random(1).shuffle(found)
        return found[:MOST_SAMPLES]

    def rows(self, ours: OurSide, truth: Truth) -> list[Row]:
        """Rows of a verification: the folder's episodes, and the source on what they observed.

        The source does not drive: on the same observations it must give the same actions.
        """
        spec = ours.loaded.spec_file.path  # DIR may name another file than policy.yaml
        given: list[dict[str, Array]] = []
        names = list(ours.sizes)

        def seen(loaded: Any) -> None:
            policy = loaded.pipeline.policy
            assert isinstance(policy, Policy)
            frames = {builder.name: builder.frame for builder, _ in policy.every_tensor}
            given.append({name: frames[name].copy() for name in names})

        if any(tensor.history for tensor in ours.loaded.spec.observation):
            expected = "observations without a history, which the source can be given"
            raise refuse(str(spec), "--robot", expected, "a history", "use --recorded")
        figures = self.drive(spec, seen)
        if not given:
            return [Row("closed loop", FAILED, text=f"{text_of(figures)}; the policy never ran")]
        row = recorded_row(ours, truth, given[:MOST_SAMPLES], "closed loop", self.progress)
        outcome = PASSED if row.outcome == PASSED else FAILED
        return [replace(row, outcome=outcome, text=f"{text_of(figures)}; {row.text}".rstrip("; "))]


def text_of(figures: Figures) -> str:
    """Falls and errors in one line."""
    errors = [f"{name} {figures[name]:.4f}" for name in _TRACKED if figures[name] is not None]
    return ", ".join([f"{figures['falls']} falls of {figures['episodes']}", *errors])


def reason(variant: Figures, original: Figures) -> tuple[str, bool]:
    """What a variant's loop gave, and whether it is worse than the original's."""
    # A robot that stands after a SAFE_STOP does not fall.
    worse = any((variant[one] or 0) > (original[one] or 0) for one in ("falls", "safe_stops"))
    for name in _TRACKED:
        mine, theirs = variant[name], original[name]
        if theirs is not None:
            mine = np.inf if mine is None else mine
            worse = worse or mine > theirs * (1.0 + MOST_MORE) + 1e-3
    return f"{text_of(variant)} for {text_of(original)}", bool(worse)
