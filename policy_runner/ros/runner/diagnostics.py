"""The runner's statuses on /diagnostics: formats counters and chooses levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.spec.elements import limit_names
from policy_runner.core.timing import Percentiles
from policy_runner.ros.diagnostics.lane import LaneReport
from policy_runner.ros.diagnostics.source import StatusSource
from policy_runner.ros.diagnostics.status import LEVEL_ERROR, LEVEL_OK, LEVEL_WARN
from policy_runner.ros.process.realtime import Granted
from policy_runner.ros.runner.control_loop import ControlLoop

# Reasons whose detail is a complete sentence: the input's name and its fault.
_TELLING = (Reason.INPUT_MISSING, Reason.INPUT_STALE, Reason.STAMP, Reason.OBSERVATION_NOT_FINITE)


def _us(ns: float) -> float:
    return ns / 1e3


def _percentiles(name: str, figures: Percentiles) -> dict[str, object]:
    of = {
        "p50": figures.p50,
        "p95": figures.p95,
        "p99": figures.p99,
        "p99.9": figures.p999,
        "max": figures.max,
    }
    # The key stays while nothing was measured yet; 0 us would be a figure.
    return {f"{name} {key} [us]": _us(ns) if figures.count else None for key, ns in of.items()}


class RunnerDiagnostics:
    """Builds the runner's statuses; keeps the previous counters to compute rates."""

    def __init__(self, source: StatusSource, granted: Granted) -> None:
        """Store names and grants.

        Args:
            source: node and machine of every status.
            granted: what the operating system granted; its refusals become warnings.
        """
        self._source = source
        self._granted = granted
        self._last: dict[str, tuple[int, int]] = {}
        self._lane = LaneReport()

    def status(self, part: str, level: int, message: str, values: Mapping[str, object]) -> Any:
        """Build one status of this node; `part` is the second part of its name."""
        return self._source.status(part, level, message, values)

    def _per_second(self, key: str, count: int, now_ns: int) -> float:
        """Rate of the counter `key` since the last message [1/s]."""
        before, at = self._last.get(key, (count, now_ns))
        self._last[key] = (count, now_ns)
        return (count - before) / ((now_ns - at) / 1e9) if now_ns > at else 0.0

    def loop(
        self, loop: ControlLoop, now_ns: int, missed_warn: float, black_box: str = "off"
    ) -> Any:
        """Build the status `loop`: how punctual the control loop is.

        Args:
            loop: the loop.
            now_ns: monotonic clock.
            missed_warn: share of missed deadlines above which the status is a warning, 0 to 1.
            black_box: what it does.
        """
        period_ns = loop.pipeline.settings.period_ns
        windows = {
            name: window.percentiles()
            for name, window in loop.windows.items()
            if name != "inference"  # has a status of its own
        }
        known = self._last.get("ticks")
        if known is not None and loop.ticks < known[0]:  # another loop, after a deactivation
            known = None
            for name in ("ticks", "missed"):
                del self._last[name]
        missed_before = self._last.get("missed", (loop.missed, 0))[0]
        ticks_before = self._last.get("ticks", (loop.ticks, 0))[0]
        rate = self._per_second("ticks", loop.ticks, now_ns)
        self._per_second("missed", loop.missed, now_ns)
        missed, ticks = loop.missed - missed_before, loop.ticks - ticks_before
        share = missed / (missed + ticks) if missed + ticks else 0.0
        level, message = LEVEL_OK, f"{rate:.1f} Hz"
        if loop.ticks == 0:
            message = "no tick yet"
        elif known is None:  # a rate needs two counts
            message = f"{loop.ticks} ticks so far"
        if loop.error is not None:
            level = LEVEL_ERROR
            message = f"the control thread ended: {type(loop.error).__name__}: {loop.error}"
        elif known is not None and ticks == 0:
            level = LEVEL_WARN
            message = "no tick since the last message" if loop.ticks else message
        elif share > missed_warn:
            level = LEVEL_WARN
            message = f"{message}, {missed} deadlines missed in the last period"
        elif self._granted.refusals:
            level, message = LEVEL_WARN, f"{message}; {'; '.join(self._granted.refusals)}"
        return self.status(
            "loop",
            level,
            message,
            {
                "rate [Hz]": rate,
                "target rate [Hz]": 1e9 / period_ns,
                "ticks": loop.ticks,
                "missed deadlines": loop.missed,
                **_percentiles("period error", windows["period"]),
                **_percentiles("wake-up error", windows["wake_up"]),
                **_percentiles("observation", windows["observation"]),
                **_percentiles("publish", windows["publish"]),
                **_percentiles("step", windows["step"]),
                **_percentiles("input to action", windows["input_to_action"]),
                "priority": self._granted.priority,
                "cpu affinity": self._granted.cpu_affinity,
                "locked memory": self._granted.lock_memory,
                "black box": black_box,
            },
        )

    def inputs(
        self, pipeline: Pipeline, now_ns: int, age_clock_ns: int, further: Sequence[str]
    ) -> Any:
        """Build the status `inputs`: age and rate of every input.

        Args:
            pipeline: has the inputs.
            now_ns: monotonic clock, for the rates.
            age_clock_ns: now on the loop's clock, for the ages.
            further: more sentences to report as warnings.
        """
        values: dict[str, object] = {}
        sentences: list[str] = list(further)
        worst: float | None = None
        for name, slot in pipeline.slots.items():
            figures = slot.ages.percentiles()
            if figures.count:
                worst = max(worst or 0.0, figures.p99)
            seen = slot.oldest_ns != NEVER
            values[f"{name} age [ms]"] = (age_clock_ns - slot.oldest_ns) / 1e6 if seen else None
            values[f"{name} age p99 [ms]"] = figures.p99 / 1e6 if figures.count else None
            values[f"{name} rate [Hz]"] = self._per_second(name, slot.count, now_ns)
            values[f"{name} refused"] = slot.faults
            values[f"{name} wrong stamps"] = slot.stamp_faults
            why = slot.silence or slot.fault
            if slot.text is not None:
                values[f"{name} text"] = slot.text.shown
                why = slot.missing() or slot.fault
            if not seen and not why and pipeline.settings.inputs[name].on_stale != "zero":
                why = slot.missing()
            # A wrong stamp since the last report counts even if the newest stamp is right: a
            # second publisher with right stamps must not hide the wrong ones.
            stamps = f"{name} wrong stamps"
            wrong = slot.stamp_wrong or slot.stamp_faults > self._last.get(stamps, (0, 0))[0]
            self._last[stamps] = (slot.stamp_faults, now_ns)
            why = why or (slot.stamp_fault if wrong else "")
            if not why and slot.attitude is not None:
                why = slot.attitude.text
            if why:
                sentences.append(f"{name}: {why}")
        values["input age p99 [ms]"] = None if worst is None else worst / 1e6
        level = LEVEL_WARN if sentences else LEVEL_OK
        return self.status("inputs", level, "; ".join(sentences) or "all inputs arrive", values)

    def inference(
        self,
        loop: ControlLoop,
        provider: str,
        now_ns: int,
        live: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """Build the status `inference`: how long inferences take.

        Args:
            loop: the loop.
            provider: what runs the model.
            now_ns: monotonic clock, for the rate of a lane.
            live: the model's own values, see `ModelAbilities.live_facts`.
        """
        laned = loop.pipeline.laned
        if isinstance(laned, ChunkedPolicy):
            level, message, values = self._lane.report(laned, provider, now_ns)
            failure = live.get("newest failure", "none")
            if failure != "none":
                level, message = LEVEL_WARN, f"{failure}; {message}"
            return self.status("inference", level, message, {**values, **live})
        figures = loop.windows["inference"].percentiles()
        late_now = loop.pipeline.late_inferences
        late = late_now - self._last.get("late", (0, 0))[0]
        self._last["late"] = (late_now, 0)
        message = f"{provider}, no inference yet"
        if figures.count:
            message = f"{provider}, p99 {_us(figures.p99):.0f} us"
        policy = loop.pipeline.policy
        if late:
            message = f"{late} inferences took longer than the period"
        return self.status(
            "inference",
            LEVEL_WARN if late else LEVEL_OK,
            message,
            {
                "provider": provider,
                **_percentiles("inference", figures),
                **(
                    {"policy": policy.active, "changes of policy": policy.changes}
                    if policy.active
                    else {}
                ),
                "inferences": loop.pipeline.inferences,
                "above period": late_now,
            },
        )

    def safety(
        self,
        pipeline: Pipeline,
        active: bool,
        dry_run: bool,
        unusable: int | None = None,
        guard: Mapping[str, object] | None = None,
    ) -> Any:
        """Build the status `safety`: the decision and its reason.

        Args:
            pipeline: makes the decision.
            active: whether the loop runs.
            dry_run: whether the commands go to ~/dry_run.
            unusable: number of measurements that gave no effort; None: no efforts are computed.
            guard: the guard's state, as keys and values.
        """
        safety = pipeline.safety
        level = {Decision.RUN: LEVEL_OK, Decision.SAFE_STOP: LEVEL_ERROR}.get(
            safety.decision, LEVEL_WARN
        )
        decision = safety.decision.value if active else "not active"
        message = decision
        if safety.decision is not Decision.RUN:
            why = safety.detail if safety.reason in _TELLING else ""
            why = why or ": ".join(filter(None, (safety.reason.value, safety.detail)))
            message = f"{decision}: {why}"
        if not active:
            level, message = LEVEL_OK, "not active"
        elif dry_run:
            message = f"{message} (dry run: nothing is commanded)"
        hits = pipeline.limit_hits
        efforts = {} if unusable is None else {"efforts not finite": unusable}
        return self.status(
            "safety",
            level,
            message,
            {
                "decision": decision,
                "reason": safety.reason.value,
                "detail": safety.detail,
                "armed": safety.is_armed,
                "emergency stop": pipeline.operator.pressed,
                "holds": safety.holds,
                "safe stops": safety.safe_stops,
                "limit hits": int(hits.sum()),
                "exempt steps": int(pipeline.exempt_steps.sum()),
                **efforts,
                **{
                    f"limit hits {name}": int(n)
                    for name, n in zip(limit_names(pipeline.elements), hits, strict=True)
                },
                **(guard or {}),
                "dry run": dry_run,
            },
        )

    def model(self, description: Mapping[str, object]) -> Any:
        """Build the status `model`: which policy this is."""
        return self.status("model", LEVEL_OK, str(description["policy"]), description)

    def not_configured(self, problems: Sequence[str]) -> Any:
        """Build the only status of a node without a policy."""
        if problems:
            return self.status("model", LEVEL_ERROR, problems[0], {"problems": len(problems)})
        return self.status("model", LEVEL_WARN, "not configured", {"problems": 0})
