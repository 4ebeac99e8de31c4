"""`policy-runner serve`: offers a policy folder to simulators and other machines."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from policy_runner.backends.remote.protocols.bounds import WireLimits
from policy_runner.backends.remote.tokens import ENVIRONMENT, read_token
from policy_runner.cli.command_parser import add_params, node_of
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.serving.server.serve_settings import PORT, Bounds, ServeSettings
from policy_runner.serving.session.request import KeyRule

if TYPE_CHECKING:
    from policy_runner.serving.session.served_policy import ServedPolicy

NEEDED = ("fastapi", "uvicorn", "httptools", "websockets", "msgpack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SPEC, --params, the address, trust and bounds."""
    limits, bounds = WireLimits(), Bounds()
    parser.epilog = "See docs/guides/serve_a_policy.md."
    parser.add_argument("spec", type=Path, metavar="SPEC", help="policy.yaml or its folder")
    add_params(parser)
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on; default 127.0.0.1 (this machine)")  # fmt: skip
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0: any free one")
    parser.add_argument("--workers", type=int, default=1, metavar="N",
                        help="processes, each with the model; default 1")  # fmt: skip
    parser.add_argument("--rename", action="append", default=[], metavar="KEY=INPUT/FIELD",
                        help="a client's key for a field of an input; may be repeated")  # fmt: skip
    parser.add_argument("--ignore", action="append", default=[], metavar="KEY",
                        help="a client's key to drop, such as prompt; may be repeated")  # fmt: skip
    trust = parser.add_argument_group("trust")
    trust.add_argument("--token-file", type=Path, metavar="FILE",
                       help=f"clients must send its first line; or set {ENVIRONMENT}")  # fmt: skip
    trust.add_argument("--tls-certificate", type=Path, metavar="FILE", help="PEM, with its chain")
    trust.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    trust.add_argument("--insecure", action="store_true",
                       help="serve other machines without token and TLS")  # fmt: skip
    group = parser.add_argument_group("bounds")
    group.add_argument("--max-message-bytes", type=int, default=limits.most_bytes, metavar="N",
                       help=f"of one message; default {limits.most_bytes}")  # fmt: skip
    group.add_argument("--max-connections", type=int, default=bounds.most_connections, metavar="N",
                       help=f"of one worker; default {bounds.most_connections}")  # fmt: skip
    group.add_argument("--max-wait", type=float, default=bounds.wait_s, metavar="S",
                       help="longest wait for a slow model, then 503 or close code 1013; default"
                       f" {bounds.wait_s:g} s")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM.

    Raises:
        Refusal: a package is missing, or the options, the policy or the address is refused.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        remedy = "pip install 'policy_runner[serve]'"
        raise refuse("", "policy-runner serve", "the packages of the extra [serve]",
                     f"no {', '.join(missing)}", remedy)  # fmt: skip
    from policy_runner.serving.server.workers import serve

    return serve(settings_of(arguments), _announce)


def settings_of(arguments: argparse.Namespace) -> ServeSettings:
    """Return the settings of a command line.

    Raises:
        Refusal: --rename or the token file is not usable.
    """
    return ServeSettings(
        spec=arguments.spec,
        params=arguments.params,
        node=node_of(arguments),
        host=arguments.host,
        port=arguments.port,
        token=read_token(arguments.token_file),
        certificate=arguments.tls_certificate,
        key=arguments.tls_key,
        insecure=arguments.insecure,
        workers=arguments.workers,
        limits=WireLimits(most_bytes=arguments.max_message_bytes),
        bounds=Bounds(most_connections=arguments.max_connections, wait_s=arguments.max_wait),
        rule=KeyRule(_renamed(arguments.rename), frozenset(arguments.ignore)),
    )


def _renamed(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    problems: list[Problem | str] = []
    for one in given:
        key, equals, path = one.partition("=")
        if not (key and equals and path):
            problems.append(Problem("", "--rename", "KEY=INPUT/FIELD", one))
        found[key] = path
    if problems:
        raise Refusal(problems)
    return found


def _announce(address: str, policy: ServedPolicy) -> None:
    """Say where the policy is served; a script may wait for this line."""
    console = Console(soft_wrap=True, highlight=False)
    web = address.replace("http", "ws", 1)
    console.print(f"[bold]{escape(policy.loaded.spec.name)}[/] on {escape(address)}")
    console.print(f"  openpi      {escape(web)}")
    console.print(f"  HTTP        {escape(address)}/act   (page: {escape(address)}/docs)")
    if policy.tensors is not None:
        console.print(f"  protocol v2 {escape(address)}/v2/models/{escape(policy.name)}")
