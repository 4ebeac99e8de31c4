"""The rows of a model on a server. They are read at the start: the graph cannot change them."""

from __future__ import annotations

from policy_runner.robot.parameters.parameter import Parameter

REMOTE_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "remote.url",
        "",
        "the server for backend: remote; http(s)://HOST:PORT/v2/models/NAME (Open Inference "
        "Protocol) or ws(s)://HOST:PORT (openpi); empty: POLICY_RUNNER_REMOTE_URL of the "
        "environment",
        at_start=True,
    ),
    Parameter(
        "remote.token_file",
        "",
        "file with the token in its first line, mode 0600; empty: POLICY_RUNNER_TOKEN of the "
        "environment, or no token",
        at_start=True,
    ),
    Parameter(
        "remote.authorities",
        "",
        "PEM file of certificates that sign the server's; empty: those of the system",
        at_start=True,
    ),
    Parameter(
        "remote.deadline",
        1.0,
        "longest wait for the answer of one inference; with remote.connect_timeout less than "
        "inference.timeout",
        unit="s",
        low=0.005,
        high=600.0,
        at_start=True,
    ),
    Parameter(
        "remote.connect_timeout",
        0.5,
        "longest wait for a connection, TLS and the server's description of itself included",
        unit="s",
        low=0.01,
        high=60.0,
        at_start=True,
    ),
    Parameter(
        "remote.max_message_bytes",
        16_777_216,
        "answers larger than this are refused before they are decoded",
        unit="B",
        low=1024,
        high=1_073_741_824,
        at_start=True,
    ),
)
