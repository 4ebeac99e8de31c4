"""The entry point: episodes, sweeps and what-ifs of one policy on one robot, and their report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from policy_runner.core.errors import Refusal, refuse
from policy_runner.robot.reload_gate import SCHEMA, policy_files
from policy_runner.sim.evaluate.episode import Done, Job
from policy_runner.sim.evaluate.episodes import no_progress, run_jobs
from policy_runner.sim.evaluate.plan import RATE, Plan
from policy_runner.sim.evaluate.requirement import Requirement
from policy_runner.sim.evaluate.scoring import Episode
from policy_runner.sim.evaluate.subject import NO_CHANGE, Subject, Variant, bind, identity
from policy_runner.sim.evaluate.summary import Figures, summarize
from policy_runner.sim.evaluate.sweep import Margin, Sweep, margin_of, nominal_of
from policy_runner.sim.evaluate.what_if import Mutant, WhatIf, judge, mutants, refused

_VERSIONS = ("policy_runner", "mujoco", "numpy", "onnxruntime")


@dataclass
class SweepResult:
    """Figures of every value of a sweep, and the margins."""

    sweep: Sweep
    figures: list[Figures]
    margin: Margin


@dataclass
class Evaluation:
    """What an evaluation found.

    Attributes:
        subject: names and checksums, see `subject.identity`.
        plan: what was drawn.
        figures: of the episodes without sweeps and what-ifs.
        episodes: them.
        sweeps: in the order of the request.
        what_ifs: in the order of `what_if.mutants`.
        requirements: each with whether it is fulfilled.
        comparisons: margins against a robot's figures, see `measured.comparisons`.
        cpu_s: processor time of all episodes [s]; not in the report.
        simulated_s: simulated time of all episodes [s].
    """

    subject: dict[str, Any]
    plan: Plan
    figures: Figures
    episodes: list[Episode]
    sweeps: list[SweepResult] = field(default_factory=list)
    what_ifs: list[WhatIf] = field(default_factory=list)
    requirements: list[tuple[Requirement, bool]] = field(default_factory=list)
    comparisons: list[tuple[str, bool]] = field(default_factory=list)
    cpu_s: float = 0.0
    simulated_s: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every requirement is fulfilled."""
        return all(fulfilled for _, fulfilled in self.requirements)

    def as_json(self) -> dict[str, Any]:
        """The report: the same for the same seed, machine and versions; no time and no path."""
        return {
            "schema": SCHEMA,
            **self.subject,
            "versions": _versions(),
            "plan": self.plan.as_json(),
            "figures": self.figures,
            "requirements": [
                {"requirement": str(one), "fulfilled": fulfilled}
                for one, fulfilled in self.requirements
            ],
            "sweeps": [
                {
                    "condition": one.sweep.name,
                    "margin": one.margin.as_json(),
                    "values": [
                        {"value": value, **figures}
                        for value, figures in zip(one.sweep.values, one.figures)
                    ],
                }
                for one in self.sweeps
            ],
            "measured": [{"text": text, "too_small": small} for text, small in self.comparisons],
            "what_ifs": [asdict(one) for one in self.what_ifs],
            "episodes": [asdict(one) for one in self.episodes],
        }


class Evaluator:
    """Prepares the jobs of an evaluation, so that their number is known before they run.

    Attributes:
        jobs: all episodes.
    """

    def __init__(
        self,
        subject: Subject,
        plan: Plan,
        sweeps: Sequence[Sweep] = (),
        what_if: bool = False,
    ) -> None:
        """Load policy and robot once, to refuse what does not fit before anything runs.

        Args:
            subject: policy and robot.
            plan: the episodes.
            sweeps: further conditions.
            what_if: make the faults of `what_if.mutants`, too.

        Raises:
            Refusal: policy and robot have problems, do not match, or a rate of a sweep is none.
        """
        self._subject, self._plan = subject, plan
        loop = bind(subject)
        try:
            self.mass = float(loop.plant.model.body_mass.sum())
            self.rate_hz = 1.0 / loop.period_s
            self._identity = identity(subject, loop)
            self._spec_file = loop.loaded.spec_file
        finally:
            loop.close()
        self.jobs = [Job(NO_CHANGE, plan, k) for k in range(plan.episodes)]
        self._sweeps = [(sweep, sweep_jobs(sweep, plan)) for sweep in sweeps]
        for _, rows in self._sweeps:
            for row in rows:
                if row[0].variant != NO_CHANGE:
                    bind(subject, row[0].variant).close()
                self.jobs += row
        self._mutants: list[Mutant] = []
        self._refused: dict[int, WhatIf] = {}
        if what_if:
            self._mutants = mutants(self._spec_file.spec, self.rate_hz)
        for k, mutant in enumerate(self._mutants):
            try:
                if mutant.variant != NO_CHANGE:
                    bind(subject, mutant.variant).close()
            except Refusal as refusal:
                self._refused[k] = refused(mutant, refusal, plan.episodes)
                continue
            own = mutant.plan(plan)
            self.jobs += [Job(mutant.variant, own, k) for k in range(plan.episodes)]

    def run(self, processes: int = 1, progress: Callable[[], None] = no_progress) -> Evaluation:
        """Run all jobs.

        Args:
            processes: see `episodes.run_jobs`.
            progress: called after every episode.

        Raises:
            Refusal: a process ended, or a file of the policy has changed meanwhile.
        """
        done = run_jobs(self._subject, self.jobs, processes, progress)
        self._check_files()
        rest = iter(done)
        nominal = self._next(rest)
        figures = summarize(nominal, self.mass)
        found = Evaluation(self._identity, self._plan, figures, nominal)
        for sweep, rows in self._sweeps:
            each = [summarize(self._next(rest), self.mass) for _ in rows]
            margin = margin_of(sweep, each, nominal_of(sweep.name, self.rate_hz))
            found.sweeps.append(SweepResult(sweep, each, margin))
        for k, mutant in enumerate(self._mutants):
            if k in self._refused:
                found.what_ifs.append(self._refused[k])
                continue
            episodes = self._next(rest)
            given = summarize(episodes, self.mass)
            found.what_ifs.append(judge(mutant, episodes, given, nominal, figures))
        found.cpu_s = sum(one.cpu_s for one in done)
        found.simulated_s = sum(one.episode.simulated_s for one in done)
        return found

    def _check_files(self) -> None:
        """Refuse figures of other files than those whose checksums the report has."""
        begun, now = self._identity["policy"]["files"], policy_files(self._spec_file)
        changed = [name for name, digest in begun.items() if now.get(name) != digest]
        if changed:
            where, expected = str(self._spec_file.path), "the same files until the last episode"
            got = f"another {', '.join(changed)}"
            raise refuse(where, "", expected, got, "evaluate a copy of the folder")

    def _next(self, rest: Iterator[Done]) -> list[Episode]:
        return [next(rest).episode for _ in range(self._plan.episodes)]


def sweep_jobs(sweep: Sweep, plan: Plan) -> list[list[Job]]:
    """The episodes of every value.

    The draws of all other conditions are the same for every value.
    """
    found = []
    for value in sweep.values:
        variant, own = NO_CHANGE, plan
        if sweep.name == RATE:
            settings = (("rate", value), ("allow_rate_mismatch", True))
            variant = Variant(f"{RATE} {value:g} Hz", settings)
        else:
            span = (value, value)
            own = replace(plan, conditions=plan.conditions.with_value(sweep.name, span))
        found.append([Job(variant, own, k) for k in range(plan.episodes)])
    return found


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
