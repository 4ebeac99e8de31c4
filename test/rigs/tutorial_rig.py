"""Runs a tutorial: its fenced commands in order, and the output that it shows.

What the harness reads of a page, from top to bottom:

    ```bash             commands, one a line (a line that ends in \\ continues), from the root
                        of the repository, with a HOME of the test's own
    ```text             output of the command before: these lines, in this order; other lines may
                        lie between, "…" stands for anything within a line
    ```yaml             a file, where the first line is a comment with its path: # ~/robot.yaml
    <!-- exit: 1 -->    before commands: exit status of the last one; else 0, as of the others
    <!-- terminal: X -->    before a command: it runs in the background
    <!-- ctrl-c: X -->      ends it
    <!-- output: X -->      before output: it is X's
    <!-- at the end: X -->  before output: it is X's, once that has ended
    <!-- numbers vary -->   before output: a number stands for any number
    <!-- repeat -->         before a command that only looks: until its output is as shown, since
                        a person repeats it, too; any exit status
    <!-- not run: WHY -->   before commands: they are left out
    <!-- needs: PATH -->    before commands: they are left out where PATH is absent

`ros2` is a substitute (`programs/ros2_substitute.py`) where that command is absent; `pgrep` finds
processes of this session only.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import leftovers
from children import Child, wait_until

from policy_runner.ros.processes import Arguments, processes

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$|^<!-- (.*?) -->$", re.MULTILINE | re.DOTALL)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(r"[\u2500-\u257f]")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
# Keys of the comments that this harness reads; any other comment is for people.
_KEYS = (
    "exit", "terminal", "ctrl-c", "output", "at the end", "numbers vary", "repeat", "needs",
    "not run",
)  # fmt: skip
_TIMES = 8  # that a command is repeated


@dataclass
class Step:
    """One fenced block, or a Ctrl-C, with what the comments before it say."""

    language: str  # bash, text, yaml, or ctrl-c
    body: str
    said: dict[str, str] = field(default_factory=dict)


def steps(text: str) -> list[Step]:
    """The blocks of a page in order."""
    found: list[Step] = []
    said: dict[str, str] = {}
    for match in _FENCE.finditer(text):
        language, body, comment = match.groups()
        if comment is not None:
            key, _, value = comment.partition(":")
            if key == "ctrl-c":
                found.append(Step("ctrl-c", value.strip()))
            elif key in _KEYS:
                said[key] = value.strip()
            continue
        found.append(Step(language, body, said))
        said = {}
    return found


def commands(body: str) -> list[str]:
    """Command lines of a block, without comments; continued lines are one."""
    joined = body.replace("\\\n", " ")
    lines = (line.strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def plain(text: str, numbers: bool = False) -> list[str]:
    """Lines without colours, frames of tables and runs of spaces; numbers=True: without numbers."""
    lines = []
    for line in _ANSI.sub("", text).splitlines():
        line = " ".join(_FRAME.sub(" ", line).split())
        lines.append(_NUMBER.sub("#", line) if numbers else line)
    return lines


def missing_line(expected: str, got: str, numbers: bool = False) -> str:
    """First line of `expected` that does not come in `got` after the ones before; '' if all do."""
    rest = iter(plain(got, numbers))
    for line in plain(expected, numbers):
        if line.strip("… "):
            parts = (re.escape(part.strip()) for part in line.split("…"))
            pattern = re.compile(".*?".join(parts))
            if not any(pattern.fullmatch(one) for one in rest):
                return line
    return ""


class Tutorial:
    """Runs the steps of one page in a folder of its own."""

    def __init__(self, page: Path, folder: Path, spawn: Any) -> None:
        self.page, self._folder, self._spawn = page, folder, spawn
        self.home = folder / "home"
        self.home.mkdir()
        self._env = {"HOME": str(self.home), "COLUMNS": "200", "PATH": self._programs()}
        self._terminals: dict[str, Child] = {}
        self._last: Child | None = None
        self._later: list[Step] = []
        self._repeated = ""  # the command line that is run again until it shows what it should
        self.run_lines: list[str] = []
        self.left_out: list[str] = []

    def run(self) -> None:
        """Every step; AssertionError with what went wrong where."""
        for step in steps(self.page.read_text("utf-8")):
            {"bash": self._bash, "text": self._text, "yaml": self._file}.get(
                step.language, self._other
            )(step)
        still = [name for name, child in self._terminals.items() if child.poll() is None]
        assert not still, f"{self.page.name}: no Ctrl-C for the terminals {still}"

    def _bash(self, step: Step) -> None:
        needed = step.said.get("needs", "")
        self._repeated = ""
        if "not run" in step.said or (needed and not (ROOT / needed).exists()):
            self.left_out += commands(step.body)
            self._last = None
            return
        lines = commands(step.body)
        for line in lines:
            self.run_lines.append(line)
            name = step.said.get("terminal")
            if name:
                self._last = self._spawn(["bash", "-c", f"exec {line}"], env=self._env)
                self._terminals[name] = self._last
                continue
            self._last = child = self._spawn(["bash", "-c", line], env=self._env)
            code = child.wait(90.0)
            if "repeat" in step.said:
                self._repeated = line
                continue
            expected = int(step.said.get("exit", 0)) if line is lines[-1] else 0
            assert code == expected, (
                f"{self.page.name}: `{line}`: exit status {code}, expected {expected}\n"
                + child.quote()
            )

    def _text(self, step: Step) -> None:
        if "at the end" in step.said:
            self._later.append(step)
            return
        name = step.said.get("output")
        child = self._terminals[name] if name else self._last
        if child is None:
            return  # left out
        for _ in range(_TIMES if self._repeated else 0):
            if not self._missing(step, child):
                break
            child = self._spawn(["bash", "-c", self._repeated], env=self._env)
            child.wait(90.0)
        if child.poll() is None:
            running = child
            what = f"{self.page.name}: {self._missing(step, child)!r}"
            wait_until(lambda: not self._missing(step, running), 30.0, what)
        self._compare(step, child)

    def _missing(self, step: Step, child: Child) -> str:
        got = (child.stdout + child.stderr).replace(str(self.home), "~").replace(f"{ROOT}/", "")
        return missing_line(step.body, got, "numbers vary" in step.said)

    def _compare(self, step: Step, child: Child) -> None:
        missing = self._missing(step, child)
        assert not missing, f"{self.page.name}: no line {missing!r}\n{child.quote()}"

    def _file(self, step: Step) -> None:
        first = step.body.splitlines()[0]
        if not first.startswith("# ~/"):
            return  # a fragment for people
        path = self.home / first.removeprefix("# ~/").split()[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.body, "utf-8")

    def _other(self, step: Step) -> None:
        if step.language != "ctrl-c":
            return
        child = self._terminals[step.body]
        child.send(signal.SIGINT)
        assert child.wait(15.0) in (0, -signal.SIGINT), child.quote()
        for later in [one for one in self._later if one.said["at the end"] == step.body]:
            self._compare(later, child)

    def _programs(self) -> str:
        """A PATH that begins with what the page calls, as this checkout has it."""
        folder = self._folder / "bin"
        folder.mkdir()

        def program(name: str, *words: str) -> None:
            path = folder / name
            path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', "utf-8")
            path.chmod(0o755)

        rows = processes(Arguments(simulated_robot=True))
        modules = {row.executable: row.module for row in rows}
        modules["policy-runner"] = "policy_runner.cli.main"
        scripts = re.findall(r'"([\w-]+) = policy_runner', (ROOT / "setup.py").read_text("utf-8"))
        assert set(modules) == set(scripts)
        for name, module in modules.items():
            program(name, sys.executable, "-m", module)
        program("python", sys.executable)
        program("make", sys.executable, str(PROGRAMS / "make_substitute.py"))
        program("pgrep", sys.executable, str(PROGRAMS / "pgrep_of_session.py"), leftovers.MARK)
        if shutil.which("ros2") is None:
            program("ros2", sys.executable, str(PROGRAMS / "ros2_substitute.py"))
        return f"{folder}{os.pathsep}{os.environ['PATH']}"
