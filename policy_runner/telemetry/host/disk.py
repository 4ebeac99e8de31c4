"""Free space of file systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from policy_runner.telemetry.host_files import HostFiles, Reading, missing
from policy_runner.telemetry.verdict import OK, WARN, Hysteresis, Verdict

_GB = 1e9


@dataclass(frozen=True)
class Volume:
    """One watched path: total and free [GB, 10^9 bytes], used share [%] as in `df`."""

    path: str
    total: Reading
    free: Reading
    used_share: Reading


@dataclass(frozen=True)
class DiskReading:
    """One sample of the watched paths, in the given order."""

    volumes: tuple[Volume, ...]


class DiskReader:
    """Reads the disk group."""

    def __init__(
        self,
        files: HostFiles,
        paths: Sequence[str],
        statvfs: Callable[[str], Any] = os.statvfs,
    ) -> None:
        """Store the arguments; `paths` are absolute on the machine of `files`."""
        self._files = files
        self._paths = tuple(paths)
        self._statvfs = statvfs

    def read(self, now_ns: int) -> DiskReading:
        """Take a sample. A network file system may hang here; `Sampler` handles that."""
        return DiskReading(tuple(self._volume(path) for path in self._paths))

    def _volume(self, path: str) -> Volume:
        try:
            info = self._statvfs(self._files.path(path.lstrip("/")))
        except OSError as error:
            none = missing(os.strerror(error.errno or 0))
            return Volume(path, none, none, none)
        unit = info.f_frsize / _GB
        used = info.f_blocks - info.f_bfree
        room = used + info.f_bavail
        share = Reading(100.0 * used / room) if room else missing("no blocks")
        return Volume(path, Reading(info.f_blocks * unit), Reading(info.f_bavail * unit), share)


class DiskVerdict:
    """The watched file system with the worst level decides."""

    def __init__(self) -> None:
        self._by_path: dict[str, Hysteresis] = {}

    def judge(self, reading: DiskReading, warn: float, error: float, clear: float) -> Verdict:
        """Return the verdict for a sample; the thresholds are shares of used space [%]."""
        values: dict[str, object] = {}
        worst, words = OK, []
        for volume in reading.volumes:
            values[f"{volume.path} used [%]"] = volume.used_share.shown
            values[f"{volume.path} free [GB]"] = volume.free.shown
            values[f"{volume.path} total [GB]"] = volume.total.shown
            used = volume.used_share.value
            if used is None:
                worst = max(worst, WARN)
                words.append(f"{volume.path}: {volume.used_share.reason}")
                continue
            level = self._by_path.setdefault(volume.path, Hysteresis()).update(
                used, warn, error, clear
            )
            worst = max(worst, level)
            words.append(f"{volume.path} {used:.0f} % used" + (" (full soon)" if level else ""))
        return Verdict(worst, "; ".join(words) or "no path watched", values)
