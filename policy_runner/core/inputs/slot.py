"""The newest values of one input. A keeper holds a value without a fixed size: sequence, image.

The message reader calls every keeper of a slot with the value at its path (the path "" is the
message itself). A keeper only stores the value, and the term that reads it processes it. So a
camera that is faster than the policy costs no extra work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs.attitude import AttitudeCheck
from policy_runner.core.inputs.joints import NEVER, JointSamples, RobotJoint
from policy_runner.core.inputs.message_fields import leaves
from policy_runner.core.inputs.text import TextValues
from policy_runner.core.model import Array
from policy_runner.core.spec import Input
from policy_runner.core.timing import Window


class ValueKeeper(Protocol):
    """Keeps the newest value at its path, of any size."""

    def __call__(self, value: Any) -> str:
        """Keep the value; return '' or why it is unusable."""

    def forget(self) -> None:
        """Return to the state before the first value."""

    def zero(self) -> None:
        """Set all numbers to 0, for an input with `on_stale: zero` that is silent."""


class SequenceKeeper:
    """Keeps the newest sequence of numbers, of any length; None before the first."""

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
        """Return to the state before the first sequence."""
        self.values = None

    def zero(self) -> None:
        """Set all numbers to 0; the length stays."""
        if self.values is not None:
            self.values = np.zeros_like(self.values)


class MessageKeeper:
    """Keeps the newest message unchanged; None before the first."""

    def __init__(self) -> None:
        self.message: Any = None
        self.count = 0  # of messages; a reader compares it to find a newer message

    def __call__(self, value: Any) -> str:
        """Keep this message."""
        self.message = value
        self.count += 1
        return ""

    def forget(self) -> None:
        """Drop the message."""
        self.message = None
        self.count += 1

    def zero(self) -> None:
        """Keep the newest message: an image has no neutral numbers."""


class InputSlot:
    """The newest values of one input, with the newest message's arrival and stamp [ns].

    `arrays` maps a field path to a float64 array of its leaves. `joints` is set for a JointState.
    `keepers` hold sequences and images, by path ("": the message). `text` is set for a text.
    The arrival is on the loop's clock; the time that the message waited in the middleware is
    already included in the age.
    """

    def __init__(self, name: str, spec: Input) -> None:
        self.name = name
        self.spec = spec
        self.arrays: dict[str, Array] = {}
        self.paths: dict[str, tuple[str, ...]] = {}
        self.keepers: dict[str, ValueKeeper] = {}
        self.text: TextValues | None = None
        self.joints: JointSamples | None = None
        self.joint_kinds: list[str] = []
        self._used: dict[str, npt.NDArray[np.intp]] = {}  # kind -> policy joints that terms read
        self.arriving_ns = NEVER  # arrival of the message being read, for its joints
        self.arrived_ns = NEVER
        self.stamp_ns = NEVER
        self.count = 0
        self.most_bytes = 0  # largest size of a usable message; 0 or less: not known
        self.fault = ""
        self.faults = 0
        self.silence = ""  # why no message arrives, from the ROS graph; the executor writes it
        self.ages = Window()
        self.stamped = False  # messages begin with a header
        # How far a stamp may be behind and ahead of the clock [ns].
        self.oldest_stamp_ns = self.newest_stamp_ns = 1 << 62
        # True if a message since the last judgement had a wrong stamp. If no message arrived since
        # then, it keeps its value.
        self.stamp_wrong = False
        self.stamp_judged = True  # `Freshness` sets it: the next message begins a new judgement
        self.stamp_faults = 0
        self._wrong_stamp: tuple[int, int] | None = None  # newest wrong stamp, and its lag [ns]
        self.attitude: AttitudeCheck | None = None  # set for an Imu whose orientation is read

    def field(self, path: str, size: int | None = None) -> Array:
        """The array of the leaves of `path`, created on the first request.

        Args:
            path: of the field.
            size: number of elements, see `message_fields.leaves`.

        Raises:
            KeyError: no such field, see `message_fields.leaves`.
        """
        if path not in self.arrays:
            self.paths[path] = leaves(self.spec.type, path, size)
            self.arrays[path] = np.full(len(self.paths[path]), np.nan)
        return self.arrays[path]

    def sequence(self, path: str) -> SequenceKeeper:
        """The keeper of the sequence at `path`, created on the first request."""
        keeper = self.keepers.setdefault(path, SequenceKeeper())
        assert isinstance(keeper, SequenceKeeper)
        return keeper

    def whole_message(self) -> MessageKeeper:
        """The keeper of the newest message, created on the first request."""
        keeper = self.keepers.setdefault("", MessageKeeper())
        assert isinstance(keeper, MessageKeeper)
        return keeper

    def text_values(self) -> TextValues:
        """The newest text, created on the first request."""
        if self.text is None:
            self.text = TextValues()
        return self.text

    def joint_values(
        self,
        kind: str,
        joint_names: Sequence[str],
        robot: Mapping[str, RobotJoint],
        index: Sequence[int],
    ) -> Array:
        """The array of `kind` for all policy joints [joint_names].

        Args:
            kind: position, velocity or effort.
            joint_names: the policy's joints, in the policy's order.
            robot: by policy joint, the robot's name, sign and offset of the joint.
            index: the joints that the caller will read; their ages are checked.
        """
        if self.joints is None:
            self.joints = JointSamples(joint_names, robot)
        if kind not in self.joint_kinds:
            self.joint_kinds.append(kind)
        used = sorted({*self.used(kind), *index} - self.joints.absent.keys())
        self._used[kind] = np.array(used, dtype=np.intp)
        return self.joints.values[kind]

    def used(self, kind: str) -> list[int]:
        """Indices of the policy joints whose `kind` is read; other joints may never be seen."""
        return [int(k) for k in self._used[kind]] if kind in self._used else []

    def expect_at_most(self, size: int) -> None:
        """Set the largest size of a usable message for one term [bytes].

        0: the term does not know it; then no limit applies to the input.
        """
        known = -1 if not size or self.most_bytes < 0 else max(size, self.most_bytes)
        self.most_bytes = known

    def received(self, arrived_ns: int, stamp_ns: int, clock_ns: int | None = None) -> None:
        """Record one message whose values were just written.

        Args:
            arrived_ns: on the loop's clock.
            stamp_ns: the header stamp.
            clock_ns: the current time on the clock that stamps should come from; None: the stamp
                is not judged.
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
                # A topic may have several publishers: a correct stamp does not excuse a wrong one.
                self.stamp_wrong = False
            self.stamp_judged = False

    @property
    def stamp_fault(self) -> str:
        """The fault of the newest wrong header stamp, in words; '' without one."""
        if self._wrong_stamp is None:
            return ""
        stamp_ns, lag_ns = self._wrong_stamp
        if stamp_ns == 0:
            return "the header stamp is 0"
        lag, side = abs(lag_ns) / 1e9, "behind" if lag_ns > 0 else "ahead of"
        return f"the header stamp is {lag:.3f} s {side} the clock"

    def refused(self, reason: str) -> None:
        """Record one unusable message. The old values stay and become older."""
        self.fault = reason
        self.faults += 1

    @property
    def oldest_ns(self) -> int:
        """Arrival of the oldest value that the policy uses; NEVER if any was never seen."""
        if self.joints is None:
            return self.arrived_ns
        oldest = self.joints.oldest_ns
        ages = [oldest(kind, used) for kind, used in self._used.items() if len(used)]
        return min(ages) if ages else self.arrived_ns

    def forget(self) -> None:
        """Return to the state before the first message (activation, clock jump). A text stays."""
        if self.text is not None:
            return
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
        """Forget values that arrived after `now_ns`: they are from before a clock jump."""
        if self.text is not None:
            self.arrived_ns = min(self.arrived_ns, now_ns)
        elif self.arrived_ns > now_ns:
            self.forget()
        elif self.joints is not None:
            self.joints.forget_later_than(now_ns)

    def missing(self) -> str:
        """The values that were never seen, in words; '' if all were seen."""
        if self.text is not None:
            if self.text.is_given:
                return ""
            why = f"no text, {self.silence}" if self.silence else "no text"
            return f"{self.fault or why}; publish one, or set the parameter prompt"
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
        """The joints whose values arrived before `limit_ns`, as the start of a sentence.

        Empty if all values have one time: then the whole input is silent.
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


Read = Callable[[], str]  # writes one term's numbers into the frame; returns '' or a fault in words
