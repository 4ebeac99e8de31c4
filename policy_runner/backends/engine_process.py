"""Builds an engine in its own process, which reports in lines of JSON.

A build takes seconds to minutes, uses all available memory, and cannot be interrupted from
Python. The process that controls a robot must not do that itself. The child process ends with
its parent. It runs with ordinary scheduling, even if the parent is a real-time process.

    python -m policy_runner.backends.engine_process < request.json
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from policy_runner.backends.child_process import end_with, leave_realtime, protocol_stdout
from policy_runner.backends.interface import BackendChoice
from policy_runner.core.errors import Refusal


class EngineBuild:
    """A build in a child process. Call `poll` until it returns True, or call `cancel`."""

    def __init__(
        self,
        choice: BackendChoice,
        spec_path: Path,
        log: Callable[[str], None],
        rebuild: bool = False,
    ) -> None:
        """Start the child process; for the arguments see `engine_build.build_into_cache`."""
        request = {"choice": asdict(choice), "spec": str(spec_path.absolute()), "rebuild": rebuild}
        self._log = log
        self._begun = time.monotonic()
        self._rest = b""
        self.phase, self.share, self.estimate_s = "starting", 0.0, 0.0
        self.problems: list[str] = []
        self.result: dict[str, Any] = {}
        # Other output of libraries, outside the protocol; shown if the child process fails.
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "policy_runner.backends.engine_process",
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            start_new_session=True,  # Ctrl-C reaches only the parent, which then calls `cancel`
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the child ended already; `poll` says why
            self._child.stdin.write(json.dumps(request).encode())
            self._child.stdin.close()
        os.set_blocking(self._child.stdout.fileno(), False)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    @property
    def seconds(self) -> float:
        """Time since the start [s]."""
        return time.monotonic() - self._begun

    def text(self) -> str:
        """The build's progress in one line."""
        share = self.share
        if not share and self.estimate_s:
            share = min(0.95, self.seconds / self.estimate_s)
        shown = f"{100 * share:.0f} %, " if share else ""
        total = f" of about {self.estimate_s:.0f} s" if self.estimate_s else ""
        return f"building the engine: {shown}{self.seconds:.0f} s{total}, {self.phase}"

    def poll(self) -> bool:
        """Read the child's reports; True once it has ended. Does not wait.

        After the end either `problems` has the refusal, or `result` has the engine's path, size
        and facts.
        """
        code = self._child.poll()  # before reading, so that the last report is not missed
        self._read()
        if code is None:
            return False
        if not self.problems and not self.result:
            self.problems = [self._how_it_died(code)]
        self._close()
        return True

    def cancel(self) -> None:
        """End the child now; the cache keeps nothing of the build."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        if not self.result and not self.problems:
            self.problems = ["the build was cancelled"]
        self._close()

    def _close(self) -> None:
        assert self._child.stdout is not None
        self._child.stdout.close()
        self._noise.close()

    def _read(self) -> None:
        stdout = self._child.stdout
        assert stdout is not None
        while not stdout.closed:
            try:
                piece = os.read(stdout.fileno(), 65536)
            except BlockingIOError:
                return
            if not piece:
                return
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                try:
                    said = json.loads(line)
                    self._take(said if isinstance(said, dict) else {"log": said})
                except ValueError:  # printed before `main` redirected the other output
                    self._log(line.decode(errors="replace"))

    def _take(self, said: Mapping[str, Any]) -> None:
        if "log" in said:
            self._log(str(said["log"]))
        elif "phase" in said:
            self.phase, self.share = str(said["phase"]), float(said["share"])
        elif "estimate" in said:
            self.estimate_s = float(said["estimate"])
        elif "problems" in said:
            self.problems = [str(one) for one in said["problems"]]
        elif "built" in said:
            self.result = dict(said["built"])

    def _how_it_died(self, code: int) -> str:
        self._noise.seek(0, os.SEEK_END)
        self._noise.seek(max(0, self._noise.tell() - 500))
        last = " ".join(self._noise.read().decode(errors="replace").split())
        how = f"status {code}"
        if code < 0:
            how = signal.Signals(-code).name
            if -code == signal.SIGKILL:
                how += ", which is also what the system sends when memory runs out"
        said = f"; it said last: {last}" if last else ""
        return f"engine build: expected an engine, got a process that ended with {how}{said}"


def main() -> int:
    """Read the request from stdin, build, report on stdout; 0 if the engine is stored."""
    leave_realtime("engine build")
    end_with(int(sys.argv[1]))
    with protocol_stdout() as out:
        lock = threading.Lock()  # TensorRT logs from its own threads

        def say(**said: Any) -> None:
            with lock:
                print(json.dumps(said), file=out, flush=True)

        return _build(json.load(sys.stdin), say)


def _build(request: Mapping[str, Any], say: Callable[..., None]) -> int:
    from policy_runner.backends.engine_build import build_into_cache

    choice = BackendChoice(**request["choice"])
    told: list[tuple[str, int]] = [("", 0)]

    def progress(phase: str, share: float) -> None:
        percent = (phase, int(100 * share))
        if told[0] != percent:  # TensorRT reports every step, up to about 100 000
            told[0] = percent
            say(phase=phase, share=share)

    try:
        entries = build_into_cache(
            choice,
            Path(request["spec"]),
            lambda line: say(log=line),
            progress,
            lambda seconds: say(estimate=seconds),
            bool(request["rebuild"]),
        )
    except Refusal as refusal:
        say(problems=[str(problem) for problem in refusal.problems])
        return 1
    except Exception as error:  # noqa: BLE001 - the parent must get a report of any exception
        say(problems=[f"engine build: {type(error).__name__}: {error}"])
        return 1
    built = [{"path": str(one.path), "size": one.size, "facts": dict(one.facts)} for one in entries]
    say(built={**built[-1], "engines": built})
    return 0


if __name__ == "__main__":
    sys.exit(main())
