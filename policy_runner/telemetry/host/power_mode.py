"""Power mode of a Jetson by its printed name, from the board's files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace

from policy_runner.telemetry.host_files import HostFiles, Unreadable

_STATUS = "var/lib/nvpmodel/status"
_CONF = "etc/nvpmodel.conf"
_MODEL = re.compile(r"<\s*POWER_MODEL\b([^>]*)>")
_DEFAULT = re.compile(r"<\s*PM_CONFIG\b[^>]*\bDEFAULT=(\d+)")
_QUERY = re.compile(r"^NV Power Mode:\s*(\S.*?)\s*$", re.MULTILINE)
_LOOK_AGAIN = 30
# The number in MODE_15W or 40W is in watts; it is not the mode's id.
_WATTS = re.compile(r"(?:^|_)(\d+)W(?:_|$)")


@dataclass(frozen=True)
class PowerMode:
    """One mode: id and printed name."""

    number: int
    name: str

    @property
    def budget(self) -> float | None:
        """Watts in the name; None if it has none (an unlimited mode)."""
        found = _WATTS.search(self.name)
        return float(found[1]) if found else None


@dataclass(frozen=True)
class PowerModes:
    """The board's power modes."""

    modes: tuple[PowerMode, ...]
    current: PowerMode | None
    default: int | None = None  # id
    reason: str = ""  # why `current` is None


def parse_conf(text: str) -> tuple[tuple[PowerMode, ...], int | None]:
    """Return the modes in the order of nvpmodel.conf, and the default mode's id."""
    modes = []
    for match in _MODEL.finditer(text):
        fields = dict(word.split("=", 1) for word in match[1].split() if "=" in word)
        if fields.get("ID", "").isdigit() and "NAME" in fields:
            modes.append(PowerMode(int(fields["ID"]), fields["NAME"]))
    default = _DEFAULT.search(text)
    return tuple(modes), int(default[1]) if default else None


def parse_status(text: str) -> int | None:
    """Return the id in a text such as `pmode:0002 fmode:fanNull`."""
    found = re.search(r"pmode:(\d+)", text)
    return int(found[1]) if found else None


def parse_query(text: str) -> PowerMode | None:
    """Return the mode in the output of `nvpmodel -q`, which may begin with warnings."""
    name = _QUERY.search(text)
    number = re.search(r"^\s*(\d+)\s*$", text, re.MULTILINE)
    return PowerMode(int(number[1]), name[1]) if name and number else None


class PowerModeReader:
    """Reads the present mode every time, and the board's configuration from time to time."""

    def __init__(self, files: HostFiles, query: Callable[[], str] = lambda: "") -> None:
        """Store the arguments.

        Args:
            files: of the machine.
            query: returns the output of `nvpmodel -q`, or ''; may take a second. It is called if
                the status file is missing (containers, some releases).
        """
        self._files = files
        self._query = query
        self._known = PowerModes((), None, reason="not read yet")
        self._reads_left = 0

    def read(self, now_ns: int) -> PowerModes:
        """Take a sample. If the user declined a reboot, the status file has the pending mode."""
        ask = self._reads_left <= 0
        if ask:
            self._known = _read_conf(self._files)
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        number = parse_status(self._files.text_or(_STATUS))
        if number is not None:
            # Without the configuration only the id is known; its meaning differs between boards.
            current = next((mode for mode in self._known.modes if mode.number == number), None)
            reason = "" if current else self._known.reason or f"id {number} not in /{_CONF}"
            return replace(self._known, current=current, reason=reason)
        if ask and (current := parse_query(self._query())):
            self._known = replace(self._known, current=current, reason="")
        if self._known.current is None and not self._known.reason:
            self._known = replace(self._known, reason=f"/{_STATUS} not there")
        return self._known


def nvpmodel_query() -> str:
    """Return the output of `nvpmodel -q` on this machine; '' if it is missing. Needs no root."""
    command = shutil.which("nvpmodel")
    if command is None:
        return ""
    try:
        done = subprocess.run(
            [command, "-q"], capture_output=True, text=True, timeout=5.0, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def read_power_modes(files: HostFiles) -> PowerModes:
    """Read the modes and the present mode once."""
    return PowerModeReader(files).read(0)


def _read_conf(files: HostFiles) -> PowerModes:
    try:
        modes, default = parse_conf(files.text(conf_path(files)))
    except Unreadable as error:
        return PowerModes((), None, None, f"/{_CONF}: {error}")
    return PowerModes(modes, None, default)


def conf_path(files: HostFiles) -> str:
    """Return the configuration's path below the root; on the board it is an absolute link."""
    try:
        target = os.readlink(files.path(_CONF))
    except OSError:
        return _CONF
    return target.lstrip("/") if os.path.isabs(target) else f"etc/{target}"
