"""Real clients against `policy-runner serve`: `make test-serving`.

openpi-client (numpy < 2) and tritonclient[http] come from PyPI, unchanged, each in an environment
of its own. The server runs in the environment of `make test`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("PYTEST_TIMEOUT", "300")
ROOT = Path(__file__).resolve().parents[1]
RIGS = ROOT / "test" / "rigs"
sys.path[:0] = [str(ROOT), str(RIGS), str(RIGS / "files"), str(RIGS / "serving")]
CLIENTS = {"openpi": "OPENPI_VENV", "triton": "TRITON_VENV"}


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small policy."""
    from cli_rig import write_policy

    return write_policy(tmp_path_factory.mktemp("toy"))


class Server:
    """A server process; `port`, and its process id."""

    def __init__(self, folder: Path, log: Path, words: list[str]) -> None:
        self.log = log
        argv = [sys.executable, "-m", "policy_runner.cli.main", "serve", str(folder), "--port", "0"]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*argv, *words], stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        until = time.monotonic() + 60.0
        while (found := re.search(r" on http\S+:(\d+)", log.read_text())) is None:
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        self.port = int(found[1])

    @property
    def rss_kib(self) -> int:
        """Memory of the process [KiB]."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def end(self) -> None:
        """End it as an operator does; the exit status must be 0."""
        self.process.terminate()
        try:
            assert self.process.wait(20.0) == 0, self.log.read_text()
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def server(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the small policy."""
    running = Server(policy, tmp_path_factory.mktemp("log") / "server.log", [])
    yield running
    running.end()


@pytest.fixture(scope="session")
def run_client() -> Callable[..., Any]:
    """`run_client("openpi", program, port, ...)` returns what the program prints."""

    def run(client: str, program: str, *words: Any, env: dict[str, str] | None = None) -> Any:
        python = Path(os.environ[CLIENTS[client]]) / "bin" / "python"
        plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [str(python), str(ROOT / "test_serving" / "programs" / program), *map(str, words)],
            env={**plain, **(env or {})}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
