"""Writes and reads plain MCAP files: no chunks, no compression, one record after the other.

Every reader of MCAP reads them. A file that was cut off is readable up to the cut. The format:
https://mcap.dev/spec. `telemetry/recording` needs the library `mcap`; a black box must work
without it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from policy_runner.core.errors import refuse

_MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _METADATA, _DATA_END = 1, 2, 3, 4, 5, 12, 15
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time


class McapWriter:
    """Appends to an open file."""

    def __init__(self, file: BinaryIO, library: str) -> None:
        """Begin the file; `library` names its writer."""
        self._file = file
        self._channels = 0
        self._sequence = 0
        file.write(_MAGIC)
        self._record(_HEADER, _text("ros2") + _text(library))

    def metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Add texts by name."""
        self._record(_METADATA, _text(name) + _texts(values))

    def channel(self, topic: str, schema: tuple[str, str, str] | None, encoding: str) -> int:
        """Add a topic and return its number.

        Args:
            topic: name of the topic.
            schema: name, encoding and text of the message type; None: there is none.
            encoding: of the messages, such as `cdr` or `json`.
        """
        self._channels += 1
        if schema is not None:
            name, kind, text = schema
            data = text.encode()
            content = struct.pack("<H", self._channels) + _text(name) + _text(kind)
            self._record(_SCHEMA, content + struct.pack("<I", len(data)) + data)
        numbers = struct.pack("<HH", self._channels, self._channels if schema is not None else 0)
        self._record(_CHANNEL, numbers + _text(topic) + _text(encoding) + _texts({}))
        return self._channels

    def message(self, channel: int, time_ns: int, data: bytes) -> None:
        """Add a message with this time [ns]."""
        self._sequence += 1
        time_ns = max(0, time_ns)
        head = _MESSAGE_HEAD.pack(channel, self._sequence, time_ns, time_ns)
        self._record(_MESSAGE, head + data)

    def finish(self) -> None:
        """End the file."""
        self._record(_DATA_END, struct.pack("<I", 0))
        self._record(_FOOTER, struct.pack("<QQI", 0, 0, 0))
        self._file.write(_MAGIC)

    def _record(self, kind: int, content: bytes) -> None:
        self._file.write(_RECORD.pack(kind, len(content)) + content)


class McapMessage(NamedTuple):
    """One message of a file."""

    topic: str
    time_ns: int
    data: bytes


def mcap_library(path: Path) -> str:
    """Return the name of the writer of an MCAP file; '' if it is no such file."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return ""
            kind, size = _RECORD.unpack(file.read(_RECORD.size))
            if kind != _HEADER or size > 4096:
                return ""
            content = file.read(size)
            return _read_text(content, _read_text(content, 0)[1])[0]
    except (OSError, struct.error, UnicodeDecodeError):
        return ""


def read_mcap(path: Path) -> Iterator[McapMessage | dict[str, str]]:
    """Return the messages and the metadata of a file of `McapWriter`, in order.

    Raises:
        Refusal: the file is compressed, damaged, or cannot be read.
    """
    topics: dict[int, str] = {}
    try:
        data = path.read_bytes()
        # A cut between two records leaves only whole ones: the end shows it.
        if len(data) < 2 * len(_MAGIC) or not data.endswith(_MAGIC):
            raise refuse(str(path), "", "a whole black box", "a file that was cut off")
        at = len(_MAGIC)
        while at + _RECORD.size <= len(data) and data[at] != _FOOTER:
            kind, size = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            content = data[at : at + size]
            if len(content) < size:
                raise refuse(str(path), "", "a whole black box", "a file that was cut off")
            at += size
            if kind == _CHANNEL:
                topics[struct.unpack_from("<H", content)[0]] = _read_text(content, 4)[0]
            elif kind == _METADATA:
                yield _read_texts(content, _read_text(content, 0)[1])
            elif kind == _MESSAGE:
                channel, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(content)
                yield McapMessage(topics[channel], time_ns, content[_MESSAGE_HEAD.size :])
    except (OSError, struct.error, UnicodeDecodeError, KeyError) as error:
        text = f"{type(error).__name__}: {error}"
        raise refuse(str(path), "", "a black box as the node wrote it", text) from error


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _texts(texts: Mapping[str, str]) -> bytes:
    data = b"".join(_text(key) + _text(value) for key, value in texts.items())
    return struct.pack("<I", len(data)) + data


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 4 + int(struct.unpack_from("<I", data, at)[0])
    return data[at + 4 : end].decode(), end


def _read_texts(data: bytes, at: int) -> dict[str, str]:
    end = at + 4 + int(struct.unpack_from("<I", data, at)[0])
    at += 4
    found = {}
    while at < end:
        key, at = _read_text(data, at)
        found[key], at = _read_text(data, at)
    return found
