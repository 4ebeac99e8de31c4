"""The newest values of one input; a keeper holds a sequence or an image, which has no fixed size.

The message reader calls every keeper of a slot with the value at its path (the path "" is the
message itself). A keeper only keeps the value; the term that reads it does the work, so that a
camera faster than the policy costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs.attitude import AttitudeCheck
from policy_runner.core.inputs.joints import NEVER, JointSamples, RobotJoint
from policy_runner.core.inputs.message_fields import leaves
from policy_runner.core.model import Array
from policy_runner.core.spec import Input
from policy_runner.core.timing import Window


class ValueKeeper(Protocol):
    """Keeps the newest value at its path, of any size."""

    def __call__(self, value: Any) -> str:
        """Keep it; '' or why it is unusable."""

    def forget(self) -> None:
        """As if nothing had ever come."""

    def zero(self) -> None:
        """All numbers 0, for an input whose absence means that."""


class SequenceKeeper:
    """The newest sequence of numbers, whatever its length; None before the first."""

    def __init__(self) -> None:
        self.values: Array | None = None

    def __call__(self, value: Any) -> str:
        """Keep these numbers."""
        values = np.asarray(value, dtype=np.float64).reshape(-1)
        if values.size == 0:
            return "an empty sequence"
        self.values = values
        return ""

    def forget(self) -> None:
        """As if nothing had ever come."""
        self.values = None

    def zero(self) -> None:
        """Zeros, as many as there were."""
        if self.values is not None:
            self.values = np.zeros_like(self.values)


class MessageKeeper:
    """The newest message as it is; None before the first."""

    def __init__(self) -> None:
        self.message: Any = None
        self.count = 0  # of messages, so that a reader sees whether there is a newer one

    def __call__(self, value: Any) -> str:
        """Keep this message."""
        self.message = value
        self.count += 1
        return ""

    def forget(self) -> None:
        """As if nothing had ever come."""
        self.message = None
        self.count += 1

    def zero(self) -> None:
        """A picture has no numbers that mean nothing: the newest one stays."""


class InputSlot:
    """Newest values of one input, their arrival and stamp on their clocks [ns].

    `arrays` maps a field path to a float64 array of its leaves; `joints` is there for a
    JointState; `keepers` hold sequences and images, by path ("": the message).
    Arrival is on the loop's clock and already counts the time that the message waited in the
    middleware.
    """

    def __init__(self, name: str, spec: Input) -> None:
        self.name = name
        self.spec = spec
        self.arrays: dict[str, Array] = {}
        self.paths: dict[str, tuple[str, ...]] = {}
        self.keepers: dict[str, ValueKeeper] = {}
        self.joints: JointSamples | None = None
        self.joint_kinds: list[str] = []
        self._used: dict[str, npt.NDArray[np.intp]] = {}  # kind -> policy joints that terms read
        self.arriving_ns = NEVER  # of the message being read, for joints merged one by one
        self.arrived_ns = NEVER
        self.stamp_ns = NEVER
        self.count = 0
        self.most_bytes = 0  # of a usable message, where the spec tells; 0 or less: it does not
        self.fault = ""
        self.faults = 0
        self.silence = ""  # why nothing comes, from the graph; written by the executor
        self.ages = Window()
        self.stamped = False  # messages begin with a header
        self.oldest_stamp_ns = self.newest_stamp_ns = 1 << 62  # a stamp may lag and lead so far
        self.stamp_wrong = False  # of some message since the last judgement, or at it
        self.stamp_judged = True  # set by who judges: the next message begins a new verdict
        self.stamp_faults = 0
        self._wrong_stamp: tuple[int, int] | None = None  # the newest wrong one, and its lag [ns]
        self.attitude: AttitudeCheck | None = None  # of an Imu whose orientation is read

    def field(self, path: str, size: int | None = None) -> Array:
        """The array that holds the leaves of `path`, made on first request.

        Raises:
            KeyError: no such field, see `message_fields.leaves`.
        """
        if path not in self.arrays:
            self.paths[path] = leaves(self.spec.type, path, size)
            self.arrays[path] = np.full(len(self.paths[path]), np.nan)
        return self.arrays[path]

    def sequence(self, path: str) -> SequenceKeeper:
        """The keeper of the sequence at `path`, made on first request."""
        keeper = self.keepers.setdefault(path, SequenceKeeper())
        assert isinstance(keeper, SequenceKeeper)
        return keeper

    def whole_message(self) -> MessageKeeper:
        """The keeper of the newest message, made on first request."""
        keeper = self.keepers.setdefault("", MessageKeeper())
        assert isinstance(keeper, MessageKeeper)
        return keeper

    def joint_values(
        self,
        kind: str,
        joint_names: Sequence[str],
        robot: Mapping[str, RobotJoint],
        index: Sequence[int],
    ) -> Array:
        """The array of `kind` of all policy joints, of which those at `index` will be read."""
        if self.joints is None:
            self.joints = JointSamples(joint_names, robot)
        if kind not in self.joint_kinds:
            self.joint_kinds.append(kind)
        used = sorted({*self.used(kind), *index})
        self._used[kind] = np.array(used, dtype=np.intp)
        return self.joints.values[kind]

    def used(self, kind: str) -> list[int]:
        """The policy joints whose `kind` some term reads; others may never be seen."""
        return [int(k) for k in self._used[kind]] if kind in self._used else []

    def expect_at_most(self, size: int) -> None:
        """A reader knows that no usable message is longer [bytes]; 0: one does not know."""
        known = -1 if not size or self.most_bytes < 0 else max(size, self.most_bytes)
        self.most_bytes = known

    def received(self, arrived_ns: int, stamp_ns: int, clock_ns: int | None = None) -> None:
        """Account for one message whose values were just written.

        `clock_ns`: now, on the clock that stamps should be from; None: they are not judged.
        """
        self.arrived_ns = arrived_ns
        self.stamp_ns = stamp_ns
        self.count += 1
        self.fault = ""
        if clock_ns is not None and self.stamped:
            lag = clock_ns - stamp_ns
            if not -self.newest_stamp_ns <= lag <= self.oldest_stamp_ns:
                self.stamp_wrong = True
                self.stamp_faults += 1
                self._wrong_stamp = (stamp_ns, lag)
            elif self.stamp_judged:
                # A topic may have several publishers: one right stamp excuses no wrong one.
                self.stamp_wrong = False
            self.stamp_judged = False

    @property
    def stamp_fault(self) -> str:
        """What was wrong with the newest wrong header stamp, in words; '' when none was."""
        if self._wrong_stamp is None:
            return ""
        stamp_ns, lag_ns = self._wrong_stamp
        if stamp_ns == 0:
            return "the header stamp is 0"
        lag, side = abs(lag_ns) / 1e9, "behind" if lag_ns > 0 else "ahead of"
        return f"the header stamp is {lag:.3f} s {side} the clock"

    def refused(self, reason: str) -> None:
        """Account for one message that could not be used; the old values stay, and age."""
        self.fault = reason
        self.faults += 1

    @property
    def oldest_ns(self) -> int:
        """Arrival of the oldest value the policy uses; NEVER while one was never seen."""
        if self.joints is None:
            return self.arrived_ns
        oldest = self.joints.oldest_ns
        return min([oldest(kind, used) for kind, used in self._used.items()])

    def forget(self) -> None:
        """As if nothing had ever arrived (activation, a jump of the clock)."""
        self.arrived_ns = self.stamp_ns = NEVER
        self.fault = ""
        self.stamp_wrong, self.stamp_judged, self._wrong_stamp = False, True, None
        if self.attitude is not None:
            self.attitude.forget()
        for array in self.arrays.values():
            array.fill(np.nan)
        for keeper in self.keepers.values():
            keeper.forget()
        if self.joints is not None:
            self.joints.forget()

    def forget_later_than(self, now_ns: int) -> None:
        """Forget what arrived after `now_ns`: it is from before a jump of the clock."""
        if self.arrived_ns > now_ns:
            self.forget()
        elif self.joints is not None:
            self.joints.forget_later_than(now_ns)

    def missing(self) -> str:
        """What was never seen, in words: '' when all is there."""
        if self.joints is not None and self.arrived_ns != NEVER:
            names = [
                f"{kind} of {self.joints.joint_names[k]}"
                for kind, used in self._used.items()
                for k in used
                if self.joints.seen_ns[kind][k] == NEVER
            ]
            return ", ".join(names[:4]) + (" and others" if len(names) > 4 else "")
        if self.arrived_ns != NEVER:
            return ""
        return self.fault or self.silence or "no message yet"

    def older_than(self, limit_ns: int) -> str:
        """Which joints' values arrived before `limit_ns`, as the start of a sentence.

        Empty where all of them did: then the whole input is silent.
        """
        if self.joints is None:
            return ""
        seen, names = self.joints.seen_ns, self.joints.joint_names
        parts, times = [], set()
        for kind, used in self._used.items():
            times.update(seen[kind][used].tolist())
            old = [names[k] for k in used if seen[kind][k] < limit_ns]
            if old:
                several = ", ".join(old[:4]) + (" and others" if len(old) > 4 else "")
                every = len(old) == len(used) > 1
                parts.append(f"every {kind}" if every else f"{kind} of {several}")
        return f"{', '.join(parts)}: " if len(times) > 1 else ""


Read = Callable[[], str]  # writes one term's numbers into the frame; '' or a fault in words
