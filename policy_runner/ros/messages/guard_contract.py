"""The contract between the runner and its guard: the outputs, their stop messages, the limits.

The runner publishes it, latched, on `~/outputs` as JSON in a std_msgs/String. It publishes a new
contract after every *configure* and every reload. The stop of an output is a complete serialized
message, so the guard needs no knowledge of joints, kinds of command and gains.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OUTPUTS_TOPIC = "~/outputs"
GUARD_SUFFIX = "_guard"  # the guard's node name is the runner's name plus this
_STAMP = struct.Struct("<iI")


@dataclass(frozen=True)
class GuardedOutput:
    """One topic that the runner commands.

    `stop` is the serialized message that stops this output. It is None if no message is needed,
    because a held position is safe. `stamps_at` are the offsets of the headers' stamps in `stop`
    [bytes].
    """

    topic: str  # fully resolved
    type: str  # as pkg/msg/Name
    size: int  # number of commanded values
    stop: bytes | None
    stamps_at: tuple[int, ...] = ()

    def stop_at(self, stamp_ns: int) -> bytes:
        """Return the stop message with this stamp; b"" if no message is needed."""
        if self.stop is None or not self.stamps_at:
            return self.stop or b""
        message = bytearray(self.stop)
        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        # A stamp that does not fit must never prevent a stop. Most receivers read 0 as "now".
        if not -(1 << 31) <= seconds < 1 << 31:
            seconds, rest = 0, 0
        for at in self.stamps_at:
            _STAMP.pack_into(message, at, seconds, rest)
        return bytes(message)


@dataclass(frozen=True)
class GuardContract:
    """Everything that the guard must know about one configuration of the runner.

    Args:
        session: identifies the runner's process; heartbeats carry it.
        silence_ns: the longest time without a heartbeat that is not a fault [ns].
        reaction_ns: the runner must stop within this time after an emergency stop is pressed [ns].
        guarded: False in a dry run and in lockstep, where the guard must not act.
        estop_topics: topics of the emergency stop, fully resolved.
        outputs: topics that the runner commands.
    """

    session: str
    silence_ns: int
    reaction_ns: int
    guarded: bool
    estop_topics: tuple[str, ...]
    outputs: tuple[GuardedOutput, ...]

    def to_json(self) -> str:
        """Return the contract as text, for `~/outputs`."""
        return json.dumps(
            {
                "session": self.session,
                "silence_ns": self.silence_ns,
                "reaction_ns": self.reaction_ns,
                "guarded": self.guarded,
                "estop_topics": list(self.estop_topics),
                "outputs": [
                    {
                        "topic": one.topic,
                        "type": one.type,
                        "size": one.size,
                        "stop": None if one.stop is None else base64.b64encode(one.stop).decode(),
                        "stamps_at": list(one.stamps_at),
                    }
                    for one in self.outputs
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> GuardContract:
        """Read the text that `to_json` wrote.

        Raises:
            ValueError: the text is not such a contract.
        """
        try:
            given = json.loads(text)
            return cls(
                session=str(given["session"]),
                silence_ns=int(given["silence_ns"]),
                reaction_ns=int(given["reaction_ns"]),
                guarded=bool(given["guarded"]),
                estop_topics=tuple(str(topic) for topic in given["estop_topics"]),
                outputs=tuple(_output(one) for one in given["outputs"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def read_text(raw: bytes) -> str:
    """Return the text of a serialized std_msgs/String, little or big endian.

    Raises:
        ValueError: the bytes are not such a message.
    """
    order = "<" if raw[1:2] == b"\x01" else ">"
    try:
        (length,) = struct.unpack_from(f"{order}I", raw, 4)
    except struct.error as error:
        raise ValueError(f"a String of {len(raw)} bytes") from error
    if not 0 < length <= len(raw) - 8:
        raise ValueError(f"a text of {length} in {len(raw)} bytes")
    return raw[8 : 8 + length - 1].decode("utf-8", "replace")  # NUL at the end


def _output(given: dict[str, Any]) -> GuardedOutput:
    stop = given["stop"]
    stamps_at = tuple(int(at) for at in given["stamps_at"])
    content = None if stop is None else base64.b64decode(stop, validate=True)
    for at in stamps_at:
        if content is None or not 4 <= at <= len(content) - 8:
            raise ValueError(f"stamps_at {at} lies outside of the message")
    return GuardedOutput(
        str(given["topic"]), str(given["type"]), int(given["size"]), content, stamps_at
    )


def merged(
    before: Sequence[GuardedOutput], after: Sequence[GuardedOutput]
) -> tuple[GuardedOutput, ...]:
    """Merge the outputs of two contracts: one output for each topic and type.

    If both contracts have an output, the result uses the one from `after`.
    """
    found = {(one.topic, one.type): one for one in (*before, *after)}
    return tuple(found.values())


def reaction_limit_ns(control_period_ns: int) -> int:
    """Return how long the runner may take to react to a press of the emergency stop [ns]."""
    return max(50_000_000, 2 * control_period_ns)
