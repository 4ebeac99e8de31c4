"""Reads files of a machine below a root path, without exceptions for unusual boards.

The root is `/` on the machine itself, a mount such as `/host` in a container, or a folder with a
few files in a test. A figure that cannot be read is a `Reading` without a value and with the
reason, never a 0.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable
from dataclasses import dataclass

_CHUNK = 65536


class Unreadable(Exception):
    """A file could not be read; the text has the reason in a few words."""


@dataclass(frozen=True)
class Reading:
    """One number in its field's unit, or None and the reason why it is missing."""

    value: float | None
    reason: str = ""

    @property
    def shown(self) -> object:
        """The number, or `n/a: reason`, for a diagnostics value."""
        if self.value is not None:
            return self.value
        return f"n/a: {self.reason}" if self.reason else "n/a"

    def text(self, pattern: str) -> str:
        """Return the number in a format such as `{:.0f} MB`; `n/a` without a number."""
        return "n/a" if self.value is None else pattern.format(self.value)


def missing(reason: str) -> Reading:
    """Return a reading without a value."""
    return Reading(None, reason)


def read_bytes(path: str) -> bytes:
    """Read a whole file with `os.read`.

    A read of a power-gated sensor fails with EAGAIN. `open(path).read()` raises TypeError then,
    and its binary form returns None. This function raises BlockingIOError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, _CHUNK):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


_REASONS = {
    errno.ENOENT: "not there",
    errno.ENOTDIR: "not there",
    errno.EISDIR: "is a folder",
    errno.EACCES: "needs root",
    errno.EPERM: "needs root",
    errno.EAGAIN: "switched off",
    errno.ENODEV: "device gone",
    errno.ENXIO: "device gone",
    errno.EINVAL: "refused by the driver",
    errno.EIO: "input/output error",
    errno.ETIMEDOUT: "no answer from the device",
}


class HostFiles:
    """The files below `root`. Paths are relative to it, without a leading slash."""

    def __init__(self, root: str = "/", read: Callable[[str], bytes] = read_bytes) -> None:
        self.root = root
        self._read = read

    def path(self, relative: str) -> str:
        """Return the path to open."""
        return os.path.join(self.root, relative)

    def text(self, relative: str) -> str:
        """Return a file's content without trailing white space and NUL.

        Raises:
            Unreadable: with the reason.
        """
        try:
            content = self._read(self.path(relative))
        except OSError as error:
            known = _REASONS.get(error.errno or 0, "") or os.strerror(error.errno or 0)
            raise Unreadable(known) from None
        except (TypeError, ValueError):
            raise Unreadable("switched off") from None
        return content.decode("utf-8", "replace").rstrip("\0 \t\r\n")

    def text_or(self, relative: str, default: str = "") -> str:
        """Return a file's content, or `default` if it cannot be read."""
        try:
            return self.text(relative)
        except Unreadable:
            return default

    def number(self, relative: str, scale: float = 1.0) -> Reading:
        """Return a file's first word as a number, times `scale`; ignores a unit (`32760 ma`)."""
        try:
            text = self.text(relative)
        except Unreadable as error:
            return missing(str(error))
        try:
            return Reading(float(text.split()[0]) * scale)
        except (ValueError, IndexError):
            return missing(f"not a number: {text[:20]!r}")

    def glob(self, pattern: str) -> list[str]:
        """Return relative paths that match, in natural order of numbers (`hwmon2` < `hwmon10`)."""
        return sorted(glob.glob(pattern, root_dir=self.root), key=_natural)

    def exists(self, relative: str) -> bool:
        """Return whether the path exists."""
        return os.path.exists(self.path(relative))


def _natural(path: str) -> list[tuple[int, int, str]]:
    parts: list[tuple[int, int, str]] = []
    word = ""
    for char in path + "\0":
        if word and char.isdigit() != word[-1].isdigit():
            parts.append((0, int(word), "") if word.isdigit() else (1, 0, word))
            word = ""
        word += char
    return parts
