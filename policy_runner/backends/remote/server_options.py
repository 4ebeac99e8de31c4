"""The parameters `remote.*` and their environment: which server, and what proves who asks."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.remote.client.interface import ServerAddress
from policy_runner.backends.remote.protocols.bounds import WireLimits
from policy_runner.backends.remote.tokens import is_loopback, read_token
from policy_runner.core.errors import refuse

URL_ENVIRONMENT = "POLICY_RUNNER_REMOTE_URL"
# An option of a `BackendChoice` that is no parameter: False for a replay, whose results were
# recorded, and for commands without parameters. They neither need nor ask the robot's server.
ASKS = "remote.asks"
_OPENPI_MODULES = ("websockets", "msgpack")


def server_address(choice: BackendChoice) -> ServerAddress:
    """Return the server that the parameters or the environment name.

    Raises:
        Refusal: there is none, it cannot be used, or the token file cannot be read.
    """
    url = str(choice.option("remote.url", "")) or os.environ.get(URL_ENVIRONMENT, "")
    if not url:
        expected = "the server's address, such as http://HOST:8000/v2/models/NAME or ws://HOST:8000"
        remedy = f"set it, or {URL_ENVIRONMENT} in the environment"
        raise refuse("", "parameter remote.url", expected, "nothing", remedy)
    token, authorities = (str(choice.option(f"remote.{name}", "")) for name in _FILES)
    address = ServerAddress(
        url,
        read_token(Path(token).expanduser() if token else None),
        Path(authorities).expanduser() if authorities else None,
        WireLimits(most_bytes=int(choice.option("remote.max_message_bytes", 16 << 20))),
        float(choice.option("remote.connect_timeout", 0.5)),
    )
    if address.authorities is not None and not address.authorities.is_file():
        key = "parameter remote.authorities"
        raise refuse("", key, "a PEM file of certificates", f"no file {address.authorities}")
    missing = [name for name in _OPENPI_MODULES if find_spec(name) is None]
    if address.scheme in ("ws", "wss") and missing:
        expected = f"the Python modules {', '.join(_OPENPI_MODULES)} for {address.scheme}"
        remedy = "pip install 'policy_runner[remote]'"
        raise refuse("", "parameter remote.url", expected, f"no {', '.join(missing)}", remedy)
    return address


_FILES = ("token_file", "authorities")


def shown_address(address: ServerAddress) -> str:
    """The address for logs and diagnostics: without its path and query."""
    return f"{address.scheme}://{address.host}:{address.port}"


def in_the_clear(address: ServerAddress) -> str:
    """A warning if the token can be read on the network, or ''."""
    local = is_loopback(address.host)
    if not address.token or address.encrypted or local:
        return ""
    return (
        f"{shown_address(address)}: the token is sent without TLS, so others on the network can "
        "read it; use https or wss"
    )
