"""The chunks of a replay: kept as they arrive, and drawn under the commands that were played."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.pipeline.interface import AnyPolicy


class ChunkTrace:
    """Keeps every chunk that the player took."""

    def __init__(self, policy: AnyPolicy, dt: float) -> None:
        """Watch a policy; without chunks nothing is kept.

        Args:
            policy: of the replay.
            dt: time between two actions [s].
        """
        self._policy = policy if isinstance(policy, ChunkedPolicy) else None
        self._dt = dt
        self._taken = 0
        self._observed: list[float] = []
        self._arrived: list[float] = []
        self._rows: list[np.ndarray] = []
        self._gaps: list[float] = []

    def look(self, t_ns: int) -> None:
        """Keep the newest chunk if the tick at `t_ns` has taken it [ns since the first tick]."""
        policy = self._policy
        if policy is None or policy.seen_rows is None:
            return
        report = policy.report
        if report.taken == self._taken:
            return
        self._taken = report.taken
        self._arrived.append(t_ns / 1e9)
        self._observed.append((t_ns - report.age_ns) / 1e9)
        self._rows.append(policy.seen_rows.copy())
        self._gaps.append(report.gap)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the chunks: times of observation and arrival [s], actions [n, T, elements]."""
        if not self._rows:
            return {}
        return {
            "chunk/observed": np.array(self._observed),
            "chunk/arrived": np.array(self._arrived),
            "chunk/gap": np.array(self._gaps),
            "chunk/actions": np.array(self._rows),
            "chunk/dt": np.array(self._dt),
        }


def draw_chunks(axes: Any, result: Mapping[str, np.ndarray], element: int, color: Any) -> None:
    """Draw every chunk of one element as a thin line from its observation on."""
    if "chunk/actions" not in result:
        return
    actions, dt = result["chunk/actions"][:, :, element], float(result["chunk/dt"])
    times = np.arange(actions.shape[1]) * dt
    for observed, values in zip(result["chunk/observed"], actions, strict=True):
        axes.plot(observed + times, values, color=color, linewidth=0.5, alpha=0.4)


def draw_seams(axes: Any, result: Mapping[str, np.ndarray]) -> None:
    """Draw a line at every seam: the tick that took the next chunk."""
    for arrived in result.get("chunk/arrived", ()):
        axes.axvline(arrived, color="gray", linewidth=0.4, linestyle=":")
