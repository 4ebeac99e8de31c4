"""Child processes of the demo: started from the table of processes, ended by process id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from policy_runner.ros.process.lifetime import hold_signals_until_heard
from policy_runner.ros.processes import Process


class Children:
    """The nodes of one run; the output of each node goes to its own file in `folder`."""

    def __init__(self, rows: Sequence[Process], folder: Path, extra: Sequence[str] = ()) -> None:
        """Start all processes; if one cannot be started, end the others.

        Args:
            rows: the processes.
            folder: gets their parameter files and output.
            extra: more arguments after `--ros-args`, for each process.
        """
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.status: dict[str, int] = {}
        try:
            for row in rows:
                self._start(row, extra)
        except BaseException:
            self.end()
            raise

    def _start(self, row: Process, extra: Sequence[str]) -> None:
        # Write the dictionary to its own parameter file, like launch does; JSON is valid YAML.
        over = self._folder / f"{row.node_name}.yaml"
        section = {f"/**/{row.node_name}": {"ros__parameters": dict(row.parameters)}}
        over.write_text(json.dumps(section), encoding="utf-8")
        files = [word for file in (row.params_file, over) for word in ("--params-file", str(file))]
        argv = [sys.executable, "-m", row.module, "--ros-args", *files, *extra]
        with self.log(row.node_name).open("wb") as log:
            self._running[row.node_name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal must reach only the demo, which ends its children in
                # order.
                start_new_session=True,
                preexec_fn=hold_signals_until_heard,
            )

    def log(self, name: str) -> Path:
        """Return the file with a child's output."""
        return self._folder / f"{name}.log"

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
