"""The demo `--remote`: the policy's model behind the network, in a server process on loopback."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from policy_runner.cli.operate.children import Children
from policy_runner.cli.serve.command import NEEDED
from policy_runner.core.errors import refuse
from policy_runner.ros.process.lifetime import EndRequest
from policy_runner.ros.processes import PACKAGE, Process

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.listener import Watch

NAME = "policy_server"
_MODEL = re.compile(r"protocol v2 (http://\S+)")
STARTED_WITHIN_S = 60.0


@dataclass(frozen=True)
class Server:
    """The running server of the demo."""

    url: str  # of the model
    policy: str
    pid: int

    @property
    def hint(self) -> str:
        """What the user may try, in one sentence."""
        port = self.url.split(":")[2].partition("/")[0]
        again = f"policy-runner serve {shlex.quote(self.policy)} --port {port}"
        return f"model server: process {self.pid}; end it, and the robot holds until `{again}`"


def check_possible(backend: str) -> None:
    """Refuse what contradicts `--remote`.

    Raises:
        Refusal: another backend is asked for, or the extra [serve] is not installed.
    """
    if backend not in ("", "remote"):
        raise refuse("", "--backend", "nothing, or remote, next to --remote", backend)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        remedy = "pip install 'policy_runner[serve]', or use `make demo`"
        expected = "the packages of the extra [serve]"
        raise refuse("", "--remote", expected, f"no {', '.join(missing)}", remedy)


def start_server(children: Children, policy: str, ended: EndRequest) -> Server | None:
    """Start the server and wait until it listens.

    Args:
        children: get the process.
        policy: policy.yaml or its folder.
        ended: Ctrl-C.

    Returns:
        None: it has ended, or takes too long, or the user ends the demo.
    """
    argv = [sys.executable, "-m", "policy_runner.cli.main", "serve", policy, "--port", "0"]
    pid = children.launch(NAME, argv)
    until_s = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < until_s and children.running(NAME) and not ended.is_set():
        found = _MODEL.search(children.log(NAME).read_text(errors="replace"))
        if found:
            return Server(found[1], policy, pid)
        ended.wait(0.05)
    if children.running(NAME) and not ended.is_set():
        children.tell_end(NAME, f"{NAME} serves no model after {STARTED_WITHIN_S:g} s")
    return None


def with_server(rows: Sequence[Process], server: Server) -> list[Process]:
    """Return the processes with a runner whose model the server has."""
    over = {"backend": "remote", "remote.url": server.url}
    return [
        replace(row, parameters={**row.parameters, **over}) if row.node_name == PACKAGE else row
        for row in rows
    ]


def policy_of(rows: Sequence[Process]) -> str:
    """Return the policy of the runner in these processes."""
    return next(str(row.parameters["policy"]) for row in rows if row.node_name == PACKAGE)


def forgive_the_user(children: Children) -> None:
    """Forget the status of a server that the user has ended: the demo shows what follows."""
    if children.status.get(NAME) in (-signal.SIGKILL, -signal.SIGTERM):
        del children.status[NAME]


def server_figures(watch: Watch) -> dict[str, float | None]:
    """Return the round trips of the run [ms]; None for a figure that is missing."""
    return {
        name: watch.number("policy_runner: inference", f"round trip {name} [ms]")
        for name in ("p50", "p99")
    }
