"""A server of the small policy in this process, and requests for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cli_rig import ORDER

from policy_runner.backends.remote.client.interface import ServerAddress
from policy_runner.cli.serve.command import NEEDED
from policy_runner.serving.session.served_policy import ServedPolicy

if TYPE_CHECKING:
    from policy_runner.serving.server.offer import Offer

TOKEN = "a-token-of-the-tests-0123456789"
needs_server = pytest.mark.skipif(
    any(find_spec(name) is None for name in (*NEEDED, "onnx")),
    reason="the extra [serve] is not installed",
)


class Served:
    """A running server."""

    def __init__(self, offer: Offer, port: int, server: Any) -> None:
        self._server = server
        self.offer = offer
        self.policy = offer.policy
        self.port = port

    @property
    def connections(self) -> int:
        """Number of open connections, and of tasks that end."""
        state = self._server.server_state
        return len(state.connections) + len(state.tasks)

    @property
    def url(self) -> str:
        """Of openpi's endpoint."""
        return f"ws://127.0.0.1:{self.port}"

    def address(self, path: str = "", **options: Any) -> ServerAddress:
        """Of openpi's endpoint, for a client."""
        return ServerAddress(f"{self.url}{path}", **options)

    def v2(self, **options: Any) -> ServerAddress:
        """Of protocol v2, for a client."""
        url = f"http://127.0.0.1:{self.port}/v2/models/{self.policy.name}"
        return ServerAddress(url, **options)

    def connection(self) -> http.client.HTTPConnection:
        """A connection of HTTP; it keeps its session."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let the model run in the thread for slow models; it waits until the end of this."""
        from policy_runner.serving.server.turns import Turns

        self.offer.turns = Turns(self.offer.settings.bounds, 1 << 60)
        run, released = self.policy.loaded.model.run, threading.Event()

        def slow() -> None:
            released.wait(30.0)
            run()

        self.policy.loaded.model.run = slow  # type: ignore[method-assign]
        yield
        released.set()


@contextlib.contextmanager
def served(spec: Path, **changes: Any) -> Iterator[Served]:
    """Serve a policy in a thread of this process, on a free port of loopback."""
    from policy_runner.serving.server.serve_settings import ServeSettings
    from policy_runner.serving.server.workers import make_server, open_socket, run_server

    settings = replace(ServeSettings(spec, port=0), **changes)
    settings.check()
    policy = ServedPolicy(spec, settings.params, rule=settings.rule)
    listener = open_socket(settings)
    server, offer = make_server(settings, policy)
    thread = threading.Thread(target=run_server, args=(server, offer, listener), daemon=True)
    thread.start()
    until = time.monotonic() + 20.0
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert server.started
    try:
        yield Served(offer, listener.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join(20.0)
        listener.close()
        policy.close()
        assert not thread.is_alive()


def observation(signals: dict[str, np.ndarray], k: int) -> dict[str, Any]:
    """The inputs of tick k of `cli_rig.signals`, by key."""
    return {
        "imu/orientation": signals["imu_orientation_xyzw"][k],
        "imu/angular_velocity": signals["imu_angular_velocity"][k],
        "joints/name": list(ORDER),
        "joints/position": signals["joint_position"][k],
        "joints/velocity": signals["joint_velocity"][k],
        "cmd/linear.x": float(signals["command"][k, 0]),
        "cmd/linear.y": float(signals["command"][k, 1]),
        "cmd/angular.z": float(signals["command"][k, 2]),
    }


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Send one request; return status and decoded body. No body: GET."""
    data = None if body is None else json.dumps(body, default=lambda one: one.tolist()).encode()
    given = {"Content-Type": "application/json", **(headers or {})}
    connection.request("GET" if body is None else "POST", path, data, given)
    answer = connection.getresponse()
    text = answer.read()
    kind = answer.headers.get("content-type", "")
    return answer.status, json.loads(text) if "json" in kind and text else text
