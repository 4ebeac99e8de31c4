"""The phase of gait clocks: how it advances, stands, restarts, and what it shows meanwhile.

Reading never moves a clock. The policy calls `advance` once per inference, with the inputs of
that inference still in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class HoldRule:
    """What a clock does while it is held.

    Attributes:
        held: whether the clocks are held now.
        at: shown phase of every clock while held [cycles]; None: the clock's own phase.
        clock: freeze, run or restart.
        from_at: with restart, the clocks continue from `at` instead of from their start.
        first_step: with restart, the first released inference shows one step more.
    """

    held: Callable[[], bool] = _never
    at: Sequence[float] | None = None
    clock: str = "freeze"
    from_at: bool = False
    first_step: bool = False


NEVER_HELD = HoldRule()


class PhaseClock:
    """Phase in cycles of several clocks: base + steps since the base.

    The base is `start` + offset. A restart from `at` changes the base to `at`.
    """

    def __init__(
        self,
        step: float | Callable[[], float],
        start: float,
        offsets: Sequence[float],
        hold: HoldRule = NEVER_HELD,
        *,
        before: bool = False,
        restarted: Callable[[], bool] | None = None,
    ) -> None:
        """Start at phase `start`.

        Args:
            step: cycles per inference, or a function that returns them for the current inputs.
            start: phase at reset [cycles].
            offsets: one clock each [cycles].
            hold: when the clocks are held, and what they do then.
            before: the clocks advance before each inference, not after it.
            restarted: whether the current inputs ask for a restart; the clocks restart when the
                answer becomes True. None: never.
        """
        # With one step for all inferences, count them: multiplying does not add up rounding.
        self._unit = 1.0 if callable(step) else step
        self._increment: Callable[[], float] = step if callable(step) else lambda: 1.0
        self._base = self._start = [start + offset for offset in offsets]
        self._hold, self._before, self._restarted = hold, before, restarted
        self._passed = 0.0  # in units, since the base
        self._released = False  # the previous inference held the clocks, with restart
        self._was_asked = False

    def phases(self) -> list[float]:
        """The phase of every clock to show now, cycles in [0, 1)."""
        hold = self._hold
        held = hold is not NEVER_HELD and hold.held()
        if held and hold.at is not None:
            return [at % 1.0 for at in hold.at]
        base, passed = self._now(held)
        cycles = passed * self._unit
        return [(one + cycles) % 1.0 for one in base]

    @property
    def held(self) -> bool:
        """Whether the clocks are held now."""
        return self._hold.held()

    def _asked(self) -> bool:
        return self._restarted is not None and not self._was_asked and self._restarted()

    def _now(self, held: bool) -> tuple[list[float], float]:
        """The base and the passed units of the present inference."""
        hold = self._hold
        if held and hold.clock == "restart":
            return self._start, 0.0
        if self._restarted is not None and self._asked():
            return self._start, self._increment() if self._before and not held else 0.0
        if self._released:
            return self._base, self._increment() if hold.first_step else 0.0
        moves = self._before and (not held or hold.clock == "run")
        return self._base, self._passed + (self._increment() if moves else 0.0)

    def advance(self) -> None:
        """Count one inference."""
        hold = self._hold
        held = hold is not NEVER_HELD and hold.held()
        base, passed = self._now(held)
        if held and hold.clock == "restart":
            at = hold.at if hold.from_at else None
            self._base = list(at) if at is not None else self._start
            self._passed, self._released = 0.0, True
        else:
            moves = not self._before and (not held or hold.clock == "run")
            self._base, self._passed = base, passed + (self._increment() if moves else 0.0)
            self._released = False
        if self._restarted is not None:
            self._was_asked = self._restarted()

    def reset(self) -> None:
        """Return to the state before the first inference."""
        self._base, self._passed = self._start, 0.0
        self._released = self._was_asked = False
