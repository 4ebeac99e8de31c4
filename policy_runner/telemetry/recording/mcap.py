"""Writes `/diagnostics` to an MCAP file that rosbag2 and Foxglove read, and reads it back.

A recording also has what shows the robots: their descriptions and transforms. It needs the optional
library `mcap`, and no ROS: messages are serialized bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policy_runner.telemetry.recording.diagnostics_cdr import Status, read_diagnostics
from policy_runner.telemetry.recording.transforms_cdr import (
    HEADER_SCHEMA,
    LINE,
    STRING_SCHEMA,
    STRING_TYPE,
    TF_SCHEMA,
    TF_TYPE,
)

_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
# Bytes that a power cut may lose: some seconds of messages.
_CHUNK = 32768
# The message type with all types in it, for readers without ROS.
_SCHEMA = f"""\
std_msgs/Header header
diagnostic_msgs/DiagnosticStatus[] status
{LINE}
{HEADER_SCHEMA}{LINE}
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
{LINE}
MSG: diagnostic_msgs/KeyValue
string key
string value
"""


SCHEMAS = {_TYPE: _SCHEMA, TF_TYPE: TF_SCHEMA, STRING_TYPE: STRING_SCHEMA}


class Unrecordable(OSError):
    """A file cannot be recorded or read; the text is a sentence for the user."""


def _need_mcap() -> None:
    if find_spec("mcap") is None:
        raise Unrecordable("recordings need the Python module mcap, found none: pip install mcap")


class Recorder:
    """Appends serialized messages. `close` is safe while another thread calls `add`."""

    def __init__(self, path: Path) -> None:
        """Open a new file for writing.

        Raises:
            Unrecordable: the file exists (it may be the only recording), or `mcap` is missing.
        """
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
        self._channels: dict[str, int] = {}  # by topic
        self._add_channel("/diagnostics", _TYPE)
        self._lock = threading.Lock()
        self._sequence = 0
        self._closed = False

    def _add_channel(self, topic: str, kind: str) -> None:
        schema = self._writer.register_schema(kind, "ros2msg", SCHEMAS[kind].encode())
        self._channels[topic] = self._writer.register_channel(topic, "cdr", schema)

    def add(
        self, data: bytes, wall_ns: int, topic: str = "/diagnostics", kind: str = _TYPE
    ) -> None:
        """Write one message; ignored after `close`.

        Args:
            data: the serialized message.
            wall_ns: its time [ns since 1970].
            topic: its topic.
            kind: its type, a key of `SCHEMAS`.
        """
        with self._lock:
            if self._closed:
                return
            if topic not in self._channels:
                self._add_channel(topic, kind)
            self._sequence += 1
            self._writer.add_message(
                self._channels[topic], wall_ns, bytes(data), wall_ns, self._sequence
            )
            self._stream.flush()

    def close(self) -> None:
        """Write the file's index and close it; without the index a reader has to search."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._writer.finish()
                self._stream.close()


def read_recording(path: Path) -> Iterator[tuple[int, list[Status]]]:
    """Yield (wall time [ns since 1970], statuses) of every message, in order of time.

    Raises:
        Unrecordable: the file is not a recording, is damaged, or has no diagnostics.
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
    except Exception as error:  # noqa: BLE001 -- mcap, its decompressors and seek raise any type
        got = str(error) or type(error).__name__
        raise Unrecordable(f"{path}: expected an MCAP recording, got {got}") from None
    if not found:
        raise Unrecordable(f"{path}: expected messages on /diagnostics, got none")
