"""Keeps `/diagnostics` in an MCAP file that rosbag2 and Foxglove read, and reads it back.

Needs the library `mcap` (optional); writing needs nothing of ROS but the bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policy_runner.telemetry.recording.diagnostics_cdr import Status, read_diagnostics

_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
_LINE = "=" * 80
# Bytes that a power cut may cost: some seconds of messages.
_CHUNK = 32768
# The definition of the type with all that it holds, as a reader without ROS needs it.
_SCHEMA = f"""\
std_msgs/Header header
diagnostic_msgs/DiagnosticStatus[] status
{_LINE}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{_LINE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
{_LINE}
MSG: diagnostic_msgs/DiagnosticStatus
byte OK=0
byte WARN=1
byte ERROR=2
byte STALE=3
byte level
string name
string message
string hardware_id
diagnostic_msgs/KeyValue[] values
{_LINE}
MSG: diagnostic_msgs/KeyValue
string key
string value
"""


class Unrecordable(OSError):
    """Recording or reading cannot begin; the text is the sentence to show."""


def _need_mcap() -> None:
    if find_spec("mcap") is None:
        raise Unrecordable("recordings need the Python module mcap, found none: pip install mcap")


class Recorder:
    """Appends raw messages; safe to close while another thread adds."""

    def __init__(self, path: Path) -> None:
        """Open `path` for writing (an existing file is refused, it may be the only record)."""
        _need_mcap()
        from mcap.writer import CompressionType, Writer

        try:
            self._stream = path.open("xb")
        except FileExistsError:
            raise Unrecordable(f"{path}: exists already; give another name") from None
        self._writer: Any = Writer(
            self._stream, chunk_size=_CHUNK, compression=CompressionType.NONE
        )
        self._writer.start(profile="ros2", library="policy_runner")
        schema = self._writer.register_schema(_TYPE, "ros2msg", _SCHEMA.encode())
        self._channel = self._writer.register_channel("/diagnostics", "cdr", schema)
        self._lock = threading.Lock()
        self._sequence = 0
        self._closed = False

    def add(self, data: bytes, wall_ns: int) -> None:
        """Keep one message as it came; nothing after `close`."""
        with self._lock:
            if self._closed:
                return
            self._sequence += 1
            self._writer.add_message(self._channel, wall_ns, bytes(data), wall_ns, self._sequence)
            self._stream.flush()

    def close(self) -> None:
        """Write the file's end; without it a reader has to search."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._writer.finish()
                self._stream.close()


def read_recording(path: Path) -> Iterator[tuple[int, list[Status]]]:
    """(wall time in ns, statuses) of every message in the order of time.

    Raises Unrecordable when the file is no recording, a damaged one, or holds no diagnostics.
    """
    _need_mcap()
    from mcap.reader import make_reader

    found = False
    stream = path.open("rb")
    try:
        with stream:
            for _, channel, message in make_reader(stream).iter_messages():
                if channel.topic == "/diagnostics" and channel.message_encoding == "cdr":
                    found = True
                    yield message.log_time, read_diagnostics(message.data)[1]
    except Exception as error:  # noqa: BLE001 -- of mcap, its decompressors, seeking to nowhere
        got = str(error) or type(error).__name__
        raise Unrecordable(f"{path}: expected an MCAP recording, got {got}") from None
    if not found:
        raise Unrecordable(f"{path}: expected messages on /diagnostics, got none")
