"""Power mode of a Jetson by its printed name, from the board's own files."""

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
# The number in MODE_15W or 40W is watts; it is never the id.
_WATTS = re.compile(r"(?:^|_)(\d+)W(?:_|$)")


@dataclass(frozen=True)
class PowerMode:
    """One mode: id, printed name, budget [W] or None for the unlimited ones."""

    number: int
    name: str

    @property
    def budget(self) -> float | None:
        """Watts that the name promises."""
        found = _WATTS.search(self.name)
        return float(found[1]) if found else None


@dataclass(frozen=True)
class PowerModes:
    """The board's modes, the one that is set, and why it is not known when it is None."""

    modes: tuple[PowerMode, ...]
    current: PowerMode | None
    default: int | None = None
    reason: str = ""


def parse_conf(text: str) -> tuple[tuple[PowerMode, ...], int | None]:
    """Modes in the order of nvpmodel.conf, and the id of the default one."""
    modes = []
    for match in _MODEL.finditer(text):
        fields = dict(word.split("=", 1) for word in match[1].split() if "=" in word)
        if fields.get("ID", "").isdigit() and "NAME" in fields:
            modes.append(PowerMode(int(fields["ID"]), fields["NAME"]))
    default = _DEFAULT.search(text)
    return tuple(modes), int(default[1]) if default else None


def parse_status(text: str) -> int | None:
    """Id from `pmode:0002 fmode:fanNull`."""
    found = re.search(r"pmode:(\d+)", text)
    return int(found[1]) if found else None


def parse_query(text: str) -> PowerMode | None:
    """Mode from the output of `nvpmodel -q`, which may begin with warnings."""
    name = _QUERY.search(text)
    number = re.search(r"^\s*(\d+)\s*$", text, re.MULTILINE)
    return PowerMode(int(number[1]), name[1]) if name and number else None


class PowerModeReader:
    """Reads the present mode every time, the board's configuration now and then.

    Where the status file is not there (containers, some releases), `query` is asked: it
    gives the output of `nvpmodel -q` or '' and may take a second.
    """

    def __init__(self, files: HostFiles, query: Callable[[], str] = lambda: "") -> None:
        self._files = files
        self._query = query
        self._known = PowerModes((), None, reason="not read yet")
        self._reads_left = 0

    def read(self, now_ns: int) -> PowerModes:
        """One sample; the status file holds the pending mode if a reboot was declined."""
        ask = self._reads_left <= 0
        if ask:
            self._known = _read_conf(self._files)
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        number = parse_status(self._files.text_or(_STATUS))
        if number is not None:
            # Without the configuration only the id is known; ids mean nothing across boards.
            current = next((mode for mode in self._known.modes if mode.number == number), None)
            reason = "" if current else self._known.reason or f"id {number} not in /{_CONF}"
            return replace(self._known, current=current, reason=reason)
        if ask and (current := parse_query(self._query())):
            self._known = replace(self._known, current=current, reason="")
        if self._known.current is None and not self._known.reason:
            self._known = replace(self._known, reason=f"/{_STATUS} not there")
        return self._known


def nvpmodel_query() -> str:
    """Output of `nvpmodel -q` of this machine, '' where there is none; needs no root."""
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
    """Modes and the present one, once."""
    return PowerModeReader(files).read(0)


def _read_conf(files: HostFiles) -> PowerModes:
    try:
        modes, default = parse_conf(files.text(conf_path(files)))
    except Unreadable as error:
        return PowerModes((), None, None, f"/{_CONF}: {error}")
    return PowerModes(modes, None, default)


def conf_path(files: HostFiles) -> str:
    """The configuration below the root: on the board it is an absolute symbolic link."""
    try:
        target = os.readlink(files.path(_CONF))
    except OSError:
        return _CONF
    return target.lstrip("/") if os.path.isabs(target) else f"etc/{target}"
