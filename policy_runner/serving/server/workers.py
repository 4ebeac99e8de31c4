"""The processes of a server: workers on one port. A connection stays with its worker."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from policy_runner.core.errors import Refusal, refuse
from policy_runner.serving.server.connections import DirectProtocol, bounded_protocol
from policy_runner.serving.server.guard import Guard
from policy_runner.serving.server.http_routes import http_application
from policy_runner.serving.server.offer import LOG, Offer
from policy_runner.serving.server.serve_settings import ServeSettings
from policy_runner.serving.session.served_policy import ServedPolicy

_BACKLOG = 128
_RESTART_S = 1.0
_PING_S = 20.0
_SHUTDOWN_S = 3


def open_socket(settings: ServeSettings) -> socket.socket:
    """Bind and listen; port 0 gives a free one.

    Raises:
        Refusal: the address is not this machine's, or in use.
    """
    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        text = error.strerror or str(error)
        remedy = "--port names another one, 0 any free one"
        raise refuse(
            "", "--host, --port", "an address to listen on", f"{where}: {text}", remedy
        ) from error
    listener.set_inheritable(True)
    return listener


def make_server(settings: ServeSettings, policy: ServedPolicy) -> tuple[uvicorn.Server, Offer]:
    """Return a server of this process, which `run_server` runs.

    Args:
        settings: checked.
        policy: of this server alone.

    Raises:
        Refusal: the certificate or its key cannot be read.
    """
    offer = Offer(settings, policy)
    bounds = settings.bounds
    config = uvicorn.Config(
        Guard(offer, http_application(offer)),
        http=bounded_protocol(bounds),
        ws=DirectProtocol,
        ws_max_size=settings.limits.most_bytes,
        ws_per_message_deflate=False,  # openpi's client asks for none; a small frame can be a bomb
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        timeout_keep_alive=round(bounds.idle_s),
        timeout_graceful_shutdown=_SHUTDOWN_S,
        proxy_headers=False,  # they are the client's own words
        server_header=False,
        access_log=False,
        log_config=None,
        lifespan="off",
        ssl_certfile=str(settings.certificate) if settings.certificate else None,
        ssl_keyfile=str(settings.key) if settings.key else None,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not each connection
    try:
        config.load()
    except OSError as error:  # ssl.SSLError, too
        files = f"{settings.certificate}, {settings.key}"
        text = error.strerror or str(error)
        raise refuse(files, "", "a certificate and its private key (PEM)", text) from error
    return uvicorn.Server(config), offer


def run_server(server: uvicorn.Server, offer: Offer, listener: socket.socket) -> None:
    """Serve until `server.should_exit`, or until a signal if this is the main thread."""
    try:
        asyncio.run(server.serve([listener]))
    finally:
        offer.turns.close()


def serve(settings: ServeSettings, ready: Callable[[str, ServedPolicy], None]) -> int:
    """Serve a policy until SIGINT or SIGTERM; return the exit status.

    Args:
        settings: of the server.
        ready: called with the address and the policy, when connections are accepted.

    Raises:
        Refusal: the settings, the policy or the address is refused.
    """
    settings.check()
    policy = ServedPolicy(settings.spec, settings.params, settings.node, settings.rule)
    # Also with workers: each of them would meet a wrong certificate, end, and be replaced for ever.
    server, offer = make_server(settings, policy)
    listener = open_socket(settings)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    scheme = "https" if settings.certificate else "http"
    host, port = listener.getsockname()[:2]
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    ready(address, policy)
    if settings.workers > 1:
        policy.close()
        return _Workers(settings, listener).run()
    _prepare_process()
    run_server(server, offer, listener)
    return 0


def _worker(settings: ServeSettings, listener: socket.socket) -> None:
    """The main function of a worker's process."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    try:
        policy = ServedPolicy(settings.spec, settings.params, settings.node, settings.rule)
        server, offer = make_server(settings, policy)
    except Refusal as refusal:
        LOG.error("%s", refusal)
        sys.exit(1)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    _prepare_process()
    run_server(server, offer, listener)


def _prepare_process() -> None:
    """Prepare signals and memory of a process that does nothing else."""
    gc.collect()
    gc.freeze()  # libraries and model stay: later collections need not look at them
    # uvicorn ends on a signal, and then raises it again for the handler before its own.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)


def _end_with_parent(server: uvicorn.Server) -> None:
    """End the worker if its parent was killed, so that no worker keeps the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        server.should_exit = True


class _Workers:
    """Starts workers on one socket, and replaces those that end."""

    def __init__(self, settings: ServeSettings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._ended = threading.Event()
        self._context = multiprocessing.get_context("spawn")

    def run(self) -> int:
        """Run until a signal; return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._ended.set())
        workers: list[Any] = [self._start() for _ in range(self._settings.workers)]
        while not self._ended.wait(_RESTART_S):
            for k, worker in enumerate(workers):
                if not worker.is_alive():
                    LOG.error("a worker ended with status %s; another one starts", worker.exitcode)
                    workers[k] = self._start()
        for worker in workers:
            worker.terminate()
        until = time.monotonic() + _SHUTDOWN_S + 2
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
        return 0

    def _start(self) -> Any:
        arguments = (self._settings, self._listener)
        worker = self._context.Process(target=_worker, args=arguments, daemon=True)
        worker.start()
        return worker
