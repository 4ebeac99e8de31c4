"""The simulator's side of lockstep: publishes one time until an answer with that stamp arrives."""

from __future__ import annotations

import threading
import time

from policy_runner.ros.messages.topics import COMMAND_TOPIC
from policy_runner.ros.simulated_robot.command_reader import NS_PER_S, SentCommand
from policy_runner.ros.simulated_robot.topics import STATUS_TOPIC, RobotTopics

LONGEST_WAIT_S = 0.1  # short, so that a stop is noticed


class LockstepAnswers:
    """Waits for answers; `problem` is a sentence about a missing answer."""

    def __init__(self, topics: RobotTopics, repeat_after_s: float, stop: threading.Event) -> None:
        """Wait for answers on these topics.

        Args:
            topics: publishes the state and receives the answers.
            repeat_after_s: publish an unanswered state again after this time [s].
            stop: ends a wait when it is set.
        """
        self._topics = topics
        self._repeat_after_s = repeat_after_s
        self._stop = stop
        self._other_stamps = 0
        self.statuses_only = 0
        self.problem = ""

    def wait(self, stamp_ns: int, timeout_s: float) -> tuple[bool, list[SentCommand] | None]:
        """Wait for the answer to one time; repeat the published state until then.

        A command has priority over a status with the same stamp. Answers to other times are
        ignored.

        Args:
            stamp_ns: the published time [ns].
            timeout_s: longest time to wait [s].

        Returns:
            (True, commands) for a command of every kind, (True, None) for a status,
            (False, None) for no answer.
        """
        # By kind and time in a trajectory: a repeated answer counts once.
        answers: dict[str, dict[int, SentCommand]] = {}
        now = time.monotonic()
        ends, repeat_at = now + timeout_s, now + self._repeat_after_s
        while not self._stop.is_set():
            for command in self._topics.take_commands():
                if command.stamp_ns == stamp_ns:
                    answers.setdefault(command.kind, {})[command.after_ns] = command
                else:
                    self._other_stamps += 1
            if len(answers) >= self._topics.kinds:
                return True, [one for kind in answers.values() for one in kind.values()]
            for stamp in self._topics.take_statuses():
                if stamp == stamp_ns:
                    self.statuses_only += 1
                    return True, None
            now = time.monotonic()
            if now >= ends:
                self.problem = self._unanswered(stamp_ns, timeout_s)
                return False, None
            if now >= repeat_at:
                self._topics.publish_state()
                repeat_at = now + self._repeat_after_s
            self._topics.wait(min(ends - now, repeat_at - now, LONGEST_WAIT_S))
        return False, None

    def _unanswered(self, stamp_ns: int, timeout_s: float) -> str:
        commanders, reporters = self._topics.publisher_counts()
        commands = self._topics.commands
        return (
            f"lockstep: no answer to simulated time {stamp_ns / NS_PER_S:.3f} s within "
            f"{timeout_s:g} s; expected a command stamped so on {COMMAND_TOPIC} "
            f"({commanders} publishers) or a status stamped so on {STATUS_TOPIC} "
            f"({reporters} publishers), got {self._other_stamps} commands with other stamps"
            + (
                f"; {commands.ignored} ignored, last: {commands.problem}"
                if commands.ignored
                else ""
            )
        )
