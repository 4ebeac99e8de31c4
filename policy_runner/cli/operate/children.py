"""Child processes of the demo: started from the table of processes, ended by process id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from policy_runner.ros.process.lifetime import end_with_parent, hold_signals_until_heard
from policy_runner.ros.processes import Process


class Children:
    """The nodes of one run, each a child process that ends with this process."""

    def __init__(
        self,
        rows: Sequence[Process],
        folder: Path,
        extra: Sequence[str] = (),
        to_terminal: bool = False,
    ) -> None:
        """Start the processes, in order.

        Args:
            rows: of the process table. A node whose name differs from its executable is remapped.
            folder: gets the parameters of each node, and its log.
            extra: more ROS arguments for every process.
            to_terminal: write the logs to this process's own outputs, not to files.
        """
        self._folder = folder
        self._to_terminal = to_terminal
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.status: dict[str, int] = {}
        try:
            for row in rows:
                self.start(row, extra)
        except BaseException:
            self.end()
            raise

    def start(self, row: Process, extra: Sequence[str] = ()) -> None:
        """Start one more process of the table; see the constructor."""
        # The dictionary goes into a file of its own, like launch does it; JSON is YAML.
        over = self._folder / f"{row.node_name}.yaml"
        section = {f"/**/{row.node_name}": {"ros__parameters": dict(row.parameters)}}
        over.write_text(json.dumps(section), encoding="utf-8")
        files = [word for file in (row.params_file, over) for word in ("--params-file", str(file))]
        name = ["-r", f"__node:={row.node_name}"] if row.node_name != row.executable else []
        self.launch(
            row.node_name,
            [sys.executable, "-m", row.module, "--ros-args", *files, *name, *extra],
            is_node=True,
        )

    def launch(self, name: str, argv: Sequence[str], is_node: bool = False) -> int:
        """Start a program as a child; return its process id.

        Args:
            name: of the child here, and of its log.
            argv: the program and its arguments.
            is_node: it calls `end_on_signal`, so it is started with its signals blocked.
        """
        parent = os.getpid()

        def before_exec() -> None:
            if is_node:
                hold_signals_until_heard()
            end_with_parent(parent)

        with ExitStack() as opened:
            log = None
            if not self._to_terminal:
                log = opened.enter_context(self.log(name).open("wb"))
            child = self._running[name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal must reach this command first, which then decides the
                # order.
                start_new_session=True,
                preexec_fn=before_exec,
            )
        return child.pid

    def log(self, name: str) -> Path:
        """Return the file with a child's output."""
        return self._folder / f"{name}.log"

    def tell_end(self, name: str, what: str) -> None:
        """Print on stderr what happened, and the end of a child's log."""
        print(f"{what}:", file=sys.stderr)
        print(self.log(name).read_text(errors="replace")[-2000:], file=sys.stderr)

    def tell_failures(self) -> bool:
        """Print the end of the log of each child that failed; return whether there are any."""
        failed = {name: code for name, code in self.status.items() if code != 0}
        for name, code in failed.items():
            self.tell_end(name, f"{name} ended with status {code}")
        return bool(failed)

    def poll(self) -> None:
        """Record the children that have ended."""
        for name, child in list(self._running.items()):
            code = child.poll()
            if code is not None:
                self.status[name] = code
                del self._running[name]

    def running(self, name: str) -> bool:
        """Return whether this child is still running."""
        self.poll()
        return name in self._running

    def end(self, *names: str, patience_s: float = 4.0) -> None:
        """End these children (or all): send SIGINT, then SIGTERM, then SIGKILL; wait for each."""
        self.poll()
        ending = {n: c for n, c in self._running.items() if not names or n in names}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for child in ending.values():
                if child.poll() is None:
                    os.kill(child.pid, number)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline and any(c.poll() is None for c in ending.values()):
                time.sleep(0.02)
            if all(child.poll() is not None for child in ending.values()):
                break
        self.poll()
