"""Tokens: where they are read from, how they are compared, and which hosts need none.

Server and clients use them.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import stat
from pathlib import Path

from policy_runner.core.errors import refuse

ENVIRONMENT = "POLICY_RUNNER_TOKEN"
SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 4096
_SCHEMES = ("bearer ", "api-key ")  # HTTP's usual one, and openpi's


def read_token(path: Path | None) -> str:
    """Return the token of a file, or of the environment; "" if neither is given.

    Args:
        path: its first line is the token; None: the environment variable.

    Raises:
        Refusal: the file cannot be read, others may read it, or the token is short.
    """
    if path is None:
        return _checked(os.environ.get(ENVIRONMENT, ""), ENVIRONMENT)
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            content = file.read(_LONGEST_TOKEN + 1)
    except OSError as error:
        text = error.strerror or "an error"
        raise refuse(str(path), "", "a file with the token", text) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        expected, got = "a file that only its owner can read", f"mode {stat.S_IMODE(mode):04o}"
        raise refuse(str(path), "", expected, got, f"chmod 600 {path}")
    text = content.decode("utf-8", "replace").split("\n", 1)[0].strip()
    if not text:
        raise refuse(str(path), "", "a token in the first line", "nothing")
    return _checked(text, str(path))


def _checked(token: str, where: str) -> str:
    if not token:
        return ""
    if not SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN or not token.isascii():
        expected = f"a token of {SHORTEST_TOKEN} ASCII characters or more"
        remedy = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
        raise refuse(where, "", expected, f"{len(token)} characters", remedy)
    return token


def allows(token: str, authorization: bytes | None) -> bool:
    """Whether the header `Authorization` has the token.

    The comparison takes the same time wherever the texts differ.

    Args:
        token: the expected one; "": none is needed.
        authorization: the header; None: there is none.
    """
    if not token:
        return True
    given = (authorization or b"").strip()
    lower = given.lower()
    for scheme in _SCHEMES:
        if lower.startswith(scheme.encode()):
            return hmac.compare_digest(given[len(scheme) :].strip(), token.encode())
    return False


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
