"""Detects that inference became slower because a governor lowered a clock.

At 100 Hz a small network leaves a GPU idle most of the time. Then the governor lowers the clock,
and every inference takes longer, without heat and without load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policy_runner.telemetry.verdict import WARN, Verdict

_SLOWER = 1.5
_LOWER = 0.75
_IDLE = 50.0  # percent


@dataclass(frozen=True)
class _Best:
    inference_us: float
    clock_mhz: float


class SlowdownWatch:
    """Compares inference and clock with the fastest inference of the present provider."""

    def __init__(self) -> None:
        self._best: _Best | None = None
        self._provider = ""

    def sentence(
        self, provider: str, inference_us: float | None, host: Mapping[str, Verdict]
    ) -> str:
        """Return a sentence about a slowdown; '' if there is none.

        Args:
            provider: of the runner, for example `CPUExecutionProvider`.
            inference_us: median over the runner's window [us].
            host: the host's verdicts by group name.
        """
        unit = "gpu" if _on_gpu(provider) else "cpu"
        clock = _number(host, unit, "clock [MHz]")
        load = _number(host, unit, "load [%]")
        if provider != self._provider:
            self._provider, self._best = provider, None
        if inference_us is None or clock is None or not clock:
            return ""
        best = self._best
        if best is None or inference_us < best.inference_us:
            self._best = _Best(inference_us, clock)
            return ""
        throttling = host.get("throttling")
        held_down = throttling is not None and throttling.level == WARN
        if inference_us < _SLOWER * best.inference_us or clock > _LOWER * best.clock_mhz:
            return ""
        idle = load is not None and load < _IDLE
        why = "by throttling" if held_down else "while idle" if idle else "under load"
        return (
            f"inference slower ({best.inference_us / 1e3:.2f} to {inference_us / 1e3:.2f} ms) "
            f"since the {unit.upper()} clock went from {best.clock_mhz:.0f} "
            f"to {clock:.0f} MHz {why}"
        )


def _on_gpu(provider: str) -> bool:
    return any(word in provider.lower() for word in ("tensorrt", "cuda", "gpu"))


def _number(host: Mapping[str, Verdict], group: str, key: str) -> float | None:
    verdict = host.get(group)
    value = verdict.values.get(key) if verdict else None
    return value if isinstance(value, float) else None
