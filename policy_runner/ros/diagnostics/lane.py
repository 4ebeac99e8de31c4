"""What the status `inference` says about a policy whose inferences run in a lane."""

from __future__ import annotations

from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.ros.diagnostics.status import LEVEL_OK, LEVEL_WARN

_WARNED = ("starved ticks", "refused results", "unusable results", "lane failures")


class LaneReport:
    """Computes rates and levels from the counters; keeps those of the report before."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._before_ns = 0

    def report(
        self, policy: ChunkedPolicy, provider: str, now_ns: int
    ) -> tuple[int, str, dict[str, object]]:
        """Return level, message and values.

        Args:
            policy: the policy.
            provider: what runs its model.
            now_ns: monotonic clock.
        """
        player, requests = policy.report, policy.requests
        lane = requests.lane.kind
        latencies, durations = requests.latencies.percentiles(), requests.durations.percentiles()
        counts = {
            "inferences": policy.inferences,
            "starved ticks": player.starved,
            "limited ticks": policy.limited,
            "refused results": player.refused,
            "unusable results": policy.unusable,
            "lane failures": requests.failures,
        }
        since = {name: count - self._before.get(name, count) for name, count in counts.items()}
        elapsed_s = (now_ns - self._before_ns) / 1e9
        rate = since["inferences"] / elapsed_s if self._before_ns and elapsed_s > 0 else 0.0
        self._before, self._before_ns = counts, now_ns
        message = f"{provider} in a {lane}" if lane != "control" else f"{provider} in the tick"
        message += f", {rate:.1f} inferences/s"
        if latencies.count:
            message += f", latency p99 {latencies.p99 / 1e6:.0f} ms"
        worse = [
            f"{since[name]} {name}" for name in counts if name != "inferences" and since[name] > 0
        ]
        if worse:
            message = f"{', '.join(worse)} since the last message; {message}"
        works = requests.state in ("infers", "free")
        if not works:
            message = f"the inference {requests.state}; {message}"
        if player.slow_ensemble:
            message += "; the temporal ensemble needs an inference in every step of the chunk"
        bad = any(since[name] > 0 for name in _WARNED) or player.slow_ensemble or not works
        known = player.at_index >= 0
        return (
            LEVEL_WARN if bad else LEVEL_OK,
            message,
            {
                "provider": provider,
                "lane": lane,
                "lane state": requests.state,
                "lane process": getattr(requests.lane, "pid", None),
                "inference rate [Hz]": rate,
                "latency p50 [ms]": latencies.p50 / 1e6 if latencies.count else None,
                "latency p99 [ms]": latencies.p99 / 1e6 if latencies.count else None,
                "latency max [ms]": latencies.max / 1e6 if latencies.count else None,
                # As of a policy without a lane, so that monitor and reports find them.
                "inference p50 [us]": durations.p50 / 1e3 if durations.count else None,
                "inference p99 [us]": durations.p99 / 1e3 if durations.count else None,
                "queue age [ms]": player.age_ns / 1e6 if known else None,
                "queue left [ms]": player.left_ns / 1e6 if known else None,
                "chunk index": player.at_index if known else None,
                "seam gap": player.gap,
                "fading": player.fading,
                "inputs too far apart": requests.apart,
                **counts,
            },
        )
