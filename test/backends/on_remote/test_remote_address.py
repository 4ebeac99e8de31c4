"""The address of a server: what is refused, and what is sent in the clear."""

from __future__ import annotations

import pytest

from policy_runner.backends.remote.client.interface import ServerAddress
from policy_runner.backends.remote.client.open_client import open_client
from policy_runner.backends.remote.server_options import in_the_clear
from policy_runner.core.errors import Refusal


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("grpc://a:1", "ws, wss, http, https"),
        ("localhost:8000", "ws, wss"),
        ("ws://", "HOST"),
        ("ws://a:99999", "HOST"),
        ("http://a:1", "/v2/models/NAME"),
        ("http://a:1/v2/models", "/v2/models/NAME"),
        ("ws://user:word@a:1", "without secrets"),
        ("ws://a:1/?token=abc", "without secrets"),
    ],
)
def test_unusable_addresses_are_refused(url: str, word: str) -> None:
    with pytest.raises(Refusal, match=word) as refusal:
        open_client(ServerAddress(url))
    assert "word@" not in str(refusal.value)
    assert "abc" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://10.0.0.7:8000/v2/models/m", True),
        ("http://127.example.org:8000/v2/models/m", True),  # a name, not an address
        ("https://10.0.0.7:8000/v2/models/m", False),
        ("http://127.0.0.2:8000/v2/models/m", False),
        ("ws://[::1]:8000", False),
        ("http://localhost:8000/v2/models/m", False),
    ],
)
def test_a_token_in_the_clear_is_a_warning(url: str, warned: bool) -> None:
    text = in_the_clear(ServerAddress(url, "secret of sixteen"))
    assert ("sent without TLS" in text) is warned
    assert "secret" not in text
