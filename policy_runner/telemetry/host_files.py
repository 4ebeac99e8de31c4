"""Files of a machine below a root path, read so that nothing odd on a board can raise.

The root is `/` on the machine itself, a mount such as `/host` in a container, or a folder
with a few files in a test. What cannot be read is a `Reading` without a value and with the
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
    """A file gave no content; the text says why in a few words."""


@dataclass(frozen=True)
class Reading:
    """One number in the unit that its field's name says, or None and why there is none."""

    value: float | None
    reason: str = ""

    @property
    def shown(self) -> object:
        """The number, or `n/a: reason`, as a diagnostics value."""
        if self.value is not None:
            return self.value
        return f"n/a: {self.reason}" if self.reason else "n/a"

    def text(self, pattern: str) -> str:
        """The number in a format such as `{:.0f} MB`; `n/a` without a number."""
        return "n/a" if self.value is None else pattern.format(self.value)


def missing(reason: str) -> Reading:
    """A reading without a value."""
    return Reading(None, reason)


def read_bytes(path: str) -> bytes:
    """Whole content of one file by `os.read`.

    Not `open(path).read()`: for a power-gated sensor, whose read fails with EAGAIN, that
    raises TypeError and the binary form returns None. Here it is BlockingIOError.
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
    """The files below `root`; paths are given relative to it, without a leading slash."""

    def __init__(self, root: str = "/", read: Callable[[str], bytes] = read_bytes) -> None:
        self.root = root
        self._read = read

    def path(self, relative: str) -> str:
        """The path to open."""
        return os.path.join(self.root, relative)

    def text(self, relative: str) -> str:
        """Content without trailing white space and NUL; raises Unreadable with the reason."""
        try:
            content = self._read(self.path(relative))
        except OSError as error:
            known = _REASONS.get(error.errno or 0, "") or os.strerror(error.errno or 0)
            raise Unreadable(known) from None
        except (TypeError, ValueError):
            raise Unreadable("switched off") from None
        return content.decode("utf-8", "replace").rstrip("\0 \t\r\n")

    def text_or(self, relative: str, default: str = "") -> str:
        """Content, or `default` where there is none."""
        try:
            return self.text(relative)
        except Unreadable:
            return default

    def number(self, relative: str, scale: float = 1.0) -> Reading:
        """The file's one number times `scale`; a unit behind it (`32760 ma`) is passed over."""
        try:
            text = self.text(relative)
        except Unreadable as error:
            return missing(str(error))
        try:
            return Reading(float(text.split()[0]) * scale)
        except (ValueError, IndexError):
            return missing(f"not a number: {text[:20]!r}")

    def glob(self, pattern: str) -> list[str]:
        """Relative paths matching `pattern`, numbers in natural order (`hwmon2` < `hwmon10`)."""
        return sorted(glob.glob(pattern, root_dir=self.root), key=_natural)

    def exists(self, relative: str) -> bool:
        """Whether something is at that path."""
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
