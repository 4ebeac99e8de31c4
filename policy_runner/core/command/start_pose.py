"""The move to the default pose before the policy starts, if the settings ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policy_runner.core.command.command import Command
from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.model import Array
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import Settings


@dataclass
class _Course:
    """A move that has begun: its first position, and its ticks so far."""

    begin: Array
    ticks: int = 0


class StartPoseMove:
    """Moves the positions from their start to the default pose within `start_pose.duration`.

    The path is s(t) = t^3 (10 - 15 t + 6 t^2), the minimum-jerk path; it starts and ends at rest.
    The move ends when the time has passed and every joint is measured within the tolerance of its
    goal. After twice the time it fails.
    """

    def __init__(self, pose: Array, measured: MeasuredPositions, command: Command) -> None:
        """Start without a move.

        Args:
            pose: the default pose of positions, float64 [elements].
            measured: measured positions, and the elements of the command.
            command: gives the start of the move.
        """
        self.target = pose.copy()  # target of this tick, float64 [elements]; non-positions are 0
        self._pose = pose
        self._measured = measured
        self._command = command
        self._position = np.array([e.kind == "position" for e in measured.elements], dtype=bool)
        self._now = np.zeros(len(pose))
        self._course: _Course | None = None
        self._done = False

    def restart(self) -> None:
        """Let the next start begin with the move."""
        self._course, self._done = None, False

    def continue_from(self, before: StartPoseMove) -> None:
        """Take over from another policy: a finished move stays finished, an unfinished restarts."""
        self._done = before._done

    def interrupt(self) -> None:
        """Interrupt the move in this tick; it restarts later from the position at that time."""
        if self._course is not None:
            self._course.ticks = -1

    def fault(self, settings: Settings) -> Fault | None:
        """Compute one tick of the move; None: it is finished, or the settings do not ask for it."""
        if self._done or not settings.start_pose_ns:
            self._done = True
            return None
        goal = np.where(
            self._position, np.clip(self._pose, settings.limits.low, settings.limits.high), 0.0
        )
        if self._course is None or self._course.ticks < 0:
            begin = self._command.stand(self._pose, settings)
            self._course = _Course(np.where(self._position, begin, 0.0))
        course = self._course
        course.ticks += 1
        count = max(1, settings.start_pose_ns // settings.period_ns)
        share = min(1.0, course.ticks / count)
        smooth = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
        self.target = course.begin + smooth * (goal - course.begin)
        seconds = course.ticks * settings.period_ns / 1e9
        away = np.abs(self._measured.read(self._now) - goal)
        away[~self._position] = 0.0
        if course.ticks > count and bool(np.all(away <= settings.start_pose_tolerance)):
            self._done = True
            return None
        worst = int(np.argmax(away))  # the first NaN, if there is one
        text = f"{self._measured.elements[worst].joint}: {away[worst]:.3g} away, {seconds:.1f} s"
        late = course.ticks > 2 * count
        decision = Decision.SAFE_STOP if late else Decision.STARTING
        if late:
            self.restart()
        return Fault(decision, Reason.MOVING, text)
