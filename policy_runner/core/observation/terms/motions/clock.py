"""The clock of a reference motion: where in the table the current inference is."""

from __future__ import annotations

from collections.abc import Callable


class MotionClock:
    """A position in rows: start + speed * (inferences since the start, without the delay).

    Attributes:
        steps: inferences since the reset, or since a topic has started the motion.
    """

    def __init__(
        self,
        start: int,
        rows: int,
        delay: int = 0,
        speed: float = 1.0,
        loop: bool = False,
        asked: Callable[[], bool] | None = None,
        pauses: bool = False,
    ) -> None:
        """Begin at `start`.

        Args:
            start: first row.
            rows: number of rows of the table.
            delay: additional inferences at the first row.
            speed: rows per inference.
            loop: after the last row continue with the first one; otherwise stay.
            asked: whether the newest message lets the motion run; None: always.
            pauses: the motion runs while `asked`; otherwise it starts whenever `asked` becomes
                True, and waits at its first row before that.
        """
        self._start, self._last, self._delay = start, rows - 1, delay
        self._speed, self._loop = speed, loop
        self._asked, self._pauses = asked, pauses
        self.steps = 0
        self._started, self._was_asked = False, False

    def _newly_asked(self) -> bool:
        asked = self._asked is not None and not self._pauses and self._asked()
        return asked and not self._was_asked

    @property
    def first(self) -> bool:
        """Whether the current inference is the first one of the motion, or before it."""
        return self.steps == 0 or self._newly_asked()

    def position(self, ahead: int = 0) -> float:
        """The current row, or the row `ahead` rows later; not whole if the speed is not."""
        steps = 0 if self._newly_asked() else self.steps
        position = self._start + max(0, steps - self._delay) * self._speed + ahead
        if position <= self._last:
            return position
        if not self._loop:
            return float(self._last)
        return self._start + (position - self._start) % (self._last - self._start + 1)

    def after(self, row: int) -> int:
        """The row that follows, for interpolation."""
        if row < self._last:
            return row + 1
        return self._start if self._loop else self._last

    @property
    def ended(self) -> bool:
        """Whether the motion is beyond its last row."""
        if self._newly_asked():
            return False
        return self._start + max(0, self.steps - self._delay) * self._speed > self._last

    def advance(self) -> None:
        """Count one inference."""
        if self._asked is None:
            self.steps += 1
            return
        asked = self._asked()
        if self._pauses:
            self.steps += asked
            return
        if self._newly_asked():
            self.steps, self._started = 0, True
        self.steps += self._started
        self._was_asked = asked

    def reset(self) -> None:
        """Return to the state before the first inference."""
        self.steps = 0
        self._started = self._was_asked = False
