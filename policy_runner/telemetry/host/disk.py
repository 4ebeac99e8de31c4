"""Room on file systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from policy_runner.telemetry.host_files import Reading, Tree, missing

_GB = 1e9


@dataclass(frozen=True)
class Volume:
    """One watched path: total and free [GB, 10^9 bytes], used share [%] as `df` counts it."""

    path: str
    total: Reading
    free: Reading
    used_share: Reading


@dataclass(frozen=True)
class DiskReading:
    """The watched paths in the order given."""

    volumes: tuple[Volume, ...]


class DiskReader:
    """Reads the disk group. `paths` are absolute on the machine whose root the tree is."""

    def __init__(
        self,
        tree: Tree,
        paths: Sequence[str],
        statvfs: Callable[[str], Any] = os.statvfs,
    ) -> None:
        self._tree = tree
        self._paths = tuple(paths)
        self._statvfs = statvfs

    def read(self, now_ns: int) -> DiskReading:
        """One sample; a network file system may hang here, the sampler's deadline is for that."""
        return DiskReading(tuple(self._volume(path) for path in self._paths))

    def _volume(self, path: str) -> Volume:
        try:
            info = self._statvfs(self._tree.path(path.lstrip("/")))
        except OSError as error:
            none = missing(os.strerror(error.errno or 0))
            return Volume(path, none, none, none)
        unit = info.f_frsize / _GB
        used = info.f_blocks - info.f_bfree
        room = used + info.f_bavail
        share = Reading(100.0 * used / room) if room else missing("no blocks")
        return Volume(path, Reading(info.f_blocks * unit), Reading(info.f_bavail * unit), share)
