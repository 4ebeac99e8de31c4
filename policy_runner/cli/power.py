"""`policy-runner power`: sets power mode and clocks of a Jetson, as an explicit command with root.

No node ever calls this: only a person may change the power mode while a robot moves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from policy_runner.cli.command_parser import CommandParser
from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.telemetry.host.power_mode import (
    PowerMode,
    PowerModes,
    nvpmodel_query,
    parse_query,
    read_power_modes,
)
from policy_runner.telemetry.host_files import HostFiles

_STORE = Path("var/lib/policy_runner/clocks.conf")


def add_arguments(parser: CommandParser) -> None:
    """Add `list`, `set` and `clocks`."""
    parser.add_commands(dest="action")
    parser.add_command("list", "the board's power modes, and the active one", run=run)
    setting = parser.add_command("set", "set a power mode by its name or its id (root)", run=run)
    setting.add_argument("mode", metavar="MODE", help="name or id, as `power list` prints them")
    clocks = parser.add_command(
        "clocks", "on: hold all clocks at their maximum; off: restore them (root)", run=run
    )
    clocks.add_argument("state", choices=("on", "off"), help="on: at their maximum")
    for sub in (setting, clocks):
        sub.add_argument("--dry-run", action="store_true", help="only print what would be done")
    parser.add_argument("--root", default="/", help="root of the file tree with the configuration")


def run(options: argparse.Namespace) -> int:
    """Run the requested action."""
    if options.action == "list":
        return _list(_modes(options.root))
    if options.action == "set":
        return _set(options)
    return _clocks(options)


def _modes(root: str) -> PowerModes:
    modes = read_power_modes(HostFiles(root))
    if not modes.modes:
        remedy = "run it on the Jetson itself, or mount the file into the container"
        raise refuse("/etc/nvpmodel.conf", "power modes", "POWER_MODEL entries", "none", remedy)
    return modes


def _list(modes: PowerModes) -> int:
    for mode in modes.modes:
        marks = ["set now"] if mode == modes.current else []
        marks += ["the default"] if mode.number == modes.default else []
        budget = "" if mode.budget is None else f"{mode.budget:g} W"
        print(f"{mode.number:3d}  {mode.name:20s} {budget:8s}{', '.join(marks)}".rstrip())
    if modes.current is None:
        print(f"set now: unknown ({modes.reason})")
    return 0


def find_mode(modes: PowerModes, text: str) -> PowerMode:
    """Return the mode with this name (case-insensitive) or id.

    Raises:
        Refusal: the board has no such mode.
    """
    for mode in modes.modes:
        if text.lower() == mode.name.lower() or text == str(mode.number):
            return mode
    names = [mode.name for mode in modes.modes]
    known = ", ".join(f"{mode.number} {mode.name}" for mode in modes.modes)
    near = did_you_mean(text, names)
    raise refuse("/etc/nvpmodel.conf", "power mode", f"one of {known}", text, near)


def _set(options: argparse.Namespace) -> int:
    modes = _modes(options.root)
    mode = find_mode(modes, options.mode)
    if mode == modes.current:
        print(f"{mode.name} (id {mode.number}) is set already")
        return 0
    before = modes.current.name if modes.current else "unknown"
    print(f"power mode {before} -> {mode.name} (id {mode.number})")
    print("some modes need a reboot; this command declines it, and the mode is set at the next one")
    # `no` answers the question whether to reboot now: never reboot under a running robot.
    output = _command(options, ["nvpmodel", "-m", str(mode.number)], answer="no\n")
    if output is None:
        return 0
    if "reboot" in output.lower():
        print(f"{mode.name} is set for the next boot: reboot when the robot is at rest")
        return 0
    after = parse_query(nvpmodel_query())
    if after is not None and after.number != mode.number:
        raise refuse("", "power mode", mode.name, after.name, "see the output above")
    print(f"{mode.name} is set")
    return 0


def _clocks(options: argparse.Namespace) -> int:
    store = Path(options.root) / _STORE
    if options.state == "on":
        print("all clocks to their maximum; the present limits are kept for `clocks off`")
        if not store.exists():  # a second `on` must not overwrite the stored limits with maxima
            if not options.dry_run:
                _need_root("clocks on")
                store.parent.mkdir(parents=True, exist_ok=True)
            _command(options, ["jetson_clocks", "--store", str(store)])
        _command(options, ["jetson_clocks"])
        return 0
    if not store.exists():
        remedy = "a reboot, or setting the power mode again, gives the usual clocks"
        raise refuse(str(store), "stored clocks", "those of `clocks on`", "no file", remedy)
    print("clocks back to the limits from before `clocks on`")
    if _command(options, ["jetson_clocks", "--restore", str(store)]) is not None:
        store.unlink()
    return 0


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        remedy = f"sudo policy-runner power {what}"
        raise refuse("", f"power {what}", "root", f"user id {os.geteuid()}", remedy)


def _command(options: argparse.Namespace, words: list[str], answer: str = "") -> str | None:
    """Run one privileged command and return its output; with --dry-run only print it."""
    print(f"  {'would run' if options.dry_run else 'runs'}: {' '.join(words)}", flush=True)
    if options.dry_run:
        return None
    _need_root(f"{options.action} {getattr(options, 'mode', '') or options.state}")
    program = shutil.which(words[0])
    if program is None:
        raise refuse("", words[0], "the tool of L4T on the PATH", "none", "is this a Jetson?")
    done = subprocess.run(
        [program, *words[1:]],
        input=answer,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60.0,
        check=False,
    )
    if done.stdout.strip():
        print(done.stdout.rstrip())
    asks = "reboot" in done.stdout.lower()  # a declined reboot may give an exit status above 0
    if done.returncode != 0 and not asks:
        raise refuse("", words[0], "exit status 0", f"{done.returncode}", "see the output above")
    return done.stdout
