"""What-ifs: integration faults that are made on purpose, and whether the closed loop notices them.

Each fault is made where a person makes it: in the parameters (names, signs, mounting, rate) or in
the spec (order of terms, normalization). The pipeline is the node's, so its own checks may notice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.spec import (
    FieldTerm,
    Normalization,
    ObservationTensor,
    PerTermNormalization,
    PolicySpec,
    ProjectedGravityTerm,
)
from policy_runner.sim.evaluate.disturbances import IMU
from policy_runner.sim.evaluate.plan import Plan
from policy_runner.sim.evaluate.scoring import Episode
from policy_runner.sim.evaluate.subject import NO_CHANGE, Variant, joint_pairs
from policy_runner.sim.evaluate.summary import Figures

FALLS, STOPS, REFUSED, FIGURES_ONLY, UNNOTICED = (
    "falls", "the runner stops", "refused", "worse figures", "not noticed",
)  # fmt: skip
_DELAYS_S = (0.02, 0.05, 0.1, 0.2)
_MOST_SIGNS = 4
# A figure is worse if it exceeds this multiple of the nominal one, and this much more than it.
_WORSE_FACTOR, _WORSE_MORE = 2.0, 0.05
_COMPARED = ("vx_rmse", "vy_rmse", "wz_rmse", "power", "command_shake", "at_limit_share")


@dataclass(frozen=True)
class Mutant:
    """One deliberate fault.

    Attributes:
        text: what is wrong, for a report.
        variant: the difference in parameters or spec.
        delay_s: further delay of commands [s].
    """

    text: str
    variant: Variant = NO_CHANGE
    delay_s: float = 0.0

    def plan(self, plan: Plan) -> Plan:
        """The plan with this fault's delay."""
        if not self.delay_s:
            return plan
        low, high = plan.conditions.command_delay
        span = (low + self.delay_s, high + self.delay_s)
        return replace(plan, conditions=plan.conditions.with_value("command_delay", span))


@dataclass(frozen=True)
class WhatIf:
    """What the closed loop made of a fault.

    Attributes:
        text: the fault.
        outcome: how it shows: `FALLS`, `STOPS`, `REFUSED`, `FIGURES_ONLY` or `UNNOTICED`.
        noticed: episodes in which the robot fell or the runner stopped or held, and not as early
            without the fault.
        episodes: number of episodes.
        median_s: median time until then over those episodes [s]; None: never.
        slowest_s: longest time until then [s]; None: never.
        detail: the figures that became worse, or the reason of the stop or of the refusal.
    """

    text: str
    outcome: str
    noticed: int
    episodes: int
    median_s: float | None
    slowest_s: float | None
    detail: str


def mutants(spec: PolicySpec, rate_hz: float) -> list[Mutant]:
    """The faults that a policy can have.

    Args:
        spec: the policy's spec.
        rate_hz: its control rate [Hz].
    """
    found = [_exchanged(*pair) for pair in joint_pairs(spec)]
    for name in spec.joint_names[:_MOST_SIGNS]:
        values = ((f"joints.{name}.sign", -1),)
        found.append(Mutant(f"sign of {name} reversed", Variant(f"sign {name}", values)))
    for k, tensor in enumerate(spec.observation):
        if _gyro_and_gravity(tensor) is not None:
            variant = Variant(f"exchange {k}", edit=with_exchanged_terms, given=(k,))
            found.append(Mutant(f"{tensor.tensor}: gyro and gravity exchanged", variant))
        if isinstance(tensor.normalization, (Normalization, PerTermNormalization)):
            variant = Variant(f"raw {k}", edit=without_normalization, given=(k,))
            found.append(Mutant(f"{tensor.tensor}: not normalized", variant))
    if _relative(spec):
        variant = Variant("absolute", edit=with_absolute_positions)
        found.append(Mutant("joint positions not relative to the default pose", variant))
    for name, one in spec.inputs.items():
        if one.type == IMU:
            found += [_turned(name, axis, degrees) for axis, degrees in (("x", 180), ("z", 90))]
    found += [Mutant(f"commands {1e3 * delay:g} ms later", delay_s=delay) for delay in _DELAYS_S]
    half = (("rate", rate_hz / 2), ("allow_rate_mismatch", True))
    found.append(Mutant(f"{rate_hz / 2:g} Hz in place of {rate_hz:g} Hz", Variant("half", half)))
    return found


def _exchanged(first: str, second: str) -> Mutant:
    values = ((f"joints.{first}.name", second), (f"joints.{second}.name", first))
    return Mutant(f"{first} and {second} exchanged", Variant(f"swap {first}", values))


def _turned(name: str, axis: str, degrees: int) -> Mutant:
    angles = [0.0, 0.0, 0.0]
    angles["xyz".index(axis)] = math.radians(degrees)
    variant = Variant(f"turn {name} {axis}", ((f"inputs.{name}.mounting", tuple(angles)),))
    return Mutant(f"{name} turned by {degrees} degrees about {axis}", variant)


def _gyro_and_gravity(tensor: ObservationTensor) -> tuple[int, int] | None:
    """Where the angular velocity and the gravity are among the terms."""
    gyro = gravity = None
    for k, term in enumerate(tensor.terms or []):
        if isinstance(term, FieldTerm) and term.field == "angular_velocity":
            gyro = k
        elif isinstance(term, ProjectedGravityTerm):
            gravity = k
    return None if gyro is None or gravity is None else (gyro, gravity)


def _relative(spec: PolicySpec) -> bool:
    return any(
        getattr(term, "relative_to", None) == "default_joint_pos"
        for tensor in spec.observation
        for term in tensor.terms or []
    )


def with_exchanged_terms(spec: PolicySpec, k: int) -> PolicySpec:
    """The spec with gyro and gravity of observation tensor `k` in each other's place."""
    places = _gyro_and_gravity(spec.observation[k])
    assert places is not None
    terms = list(spec.observation[k].terms or [])
    one, other = places
    terms[one], terms[other] = terms[other], terms[one]
    return _with_tensor(spec, k, {"terms": terms})


def without_normalization(spec: PolicySpec, k: int) -> PolicySpec:
    """The spec with observation tensor `k` as it is before its normalization."""
    return _with_tensor(spec, k, {"normalization": "none"})


def with_absolute_positions(spec: PolicySpec) -> PolicySpec:
    """The spec with joint positions that are not relative to the default pose."""
    for k, tensor in enumerate(spec.observation):
        if tensor.terms is None:
            continue
        terms = [
            term.model_copy(update={"relative_to": "zero"})
            if getattr(term, "relative_to", None) == "default_joint_pos"
            else term
            for term in tensor.terms
        ]
        spec = _with_tensor(spec, k, {"terms": terms})
    return spec


def _with_tensor(spec: PolicySpec, k: int, update: dict[str, object]) -> PolicySpec:
    tensors = list(spec.observation)
    tensors[k] = tensors[k].model_copy(update=update)
    return spec.model_copy(update={"observation": tensors})


def judge(
    mutant: Mutant,
    episodes: Sequence[Episode],
    figures: Figures,
    without: Sequence[Episode],
    nominal: Figures,
) -> WhatIf:
    """Decide how a fault shows.

    Args:
        mutant: the fault.
        episodes: with the fault.
        figures: of them.
        without: the same episodes without it.
        nominal: figures of those.
    """
    pairs = list(zip(episodes, without, strict=True))
    times = sorted(time for pair in pairs if (time := _noticed_s(*pair)) is not None)
    if times:
        median, slowest = times[(len(times) - 1) // 2], times[-1]
        falls = any(_earlier(one.fell_s, other.fell_s) for one, other in pairs)
        reasons = sorted({one.stop_reason for one in episodes if one.stop_reason})
        outcome = FALLS if falls else STOPS
        detail = ", ".join(reasons)
        return WhatIf(mutant.text, outcome, len(times), len(episodes), median, slowest, detail)
    if not any(one.ran for one in episodes):
        return WhatIf(mutant.text, STOPS, 0, len(episodes), None, None, "it never runs")
    worse = [name for name in _COMPARED if _is_worse(figures[name], nominal[name])]
    outcome = FIGURES_ONLY if worse else UNNOTICED
    detail = ", ".join(f"{one} {_text(nominal[one])} to {_text(figures[one])}" for one in worse)
    return WhatIf(mutant.text, outcome, 0, len(episodes), None, None, detail)


def refused(mutant: Mutant, refusal: Refusal, episodes: int) -> WhatIf:
    """A fault that the policy's own checks refuse, before anything runs."""
    first = refusal.problems[0]
    detail = first.key if isinstance(first, Problem) else str(first)
    return WhatIf(mutant.text, REFUSED, episodes, episodes, 0.0, 0.0, detail)


def _noticed_s(episode: Episode, without: Episode) -> float | None:
    """When the fault first showed: what also happens without it, as early, does not count."""
    events = (
        (episode.fell_s, without.fell_s),
        (episode.stopped_s, without.stopped_s),
        (episode.held_s, without.held_s),
    )
    found = (time for time, other in events if time is not None and _earlier(time, other))
    return min(found, default=None)


def _earlier(time: float | None, other: float | None) -> bool:
    return time is not None and (other is None or time < other)


def _is_worse(value: float | None, nominal: float | None) -> bool:
    if value is None or nominal is None:
        return False
    return value > nominal * _WORSE_FACTOR and value > nominal + _WORSE_MORE


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
