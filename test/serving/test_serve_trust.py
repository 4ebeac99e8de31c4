"""Who may ask a server: addresses, tokens, TLS, rates, and a log without secrets."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import signals, write_policy
from serve_rig import TOKEN, ask, needs_server, observation, served

from policy_runner.backends.remote.tokens import ENVIRONMENT, allows, read_token
from policy_runner.core.errors import Refusal
from policy_runner.serving.server.serve_settings import Bounds, ServeSettings
from policy_runner.serving.server.trust import Rate, foreign_page


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "robot.local"])
def test_another_address_needs_a_token_tls_or_a_word(host: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"--token-file or --tls-certificate.*--insecure"):
        ServeSettings(tmp_path, host=host).check()
    ServeSettings(tmp_path, host=host, token=TOKEN).check()
    ServeSettings(tmp_path, host=host, insecure=True).check()
    ServeSettings(tmp_path, host=host, certificate=tmp_path, key=tmp_path).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_nothing(host: str, tmp_path: Path) -> None:
    ServeSettings(tmp_path, host=host).check()


def test_contradictions_are_refused_together(tmp_path: Path) -> None:
    wrong = ServeSettings(tmp_path, key=tmp_path, workers=0, port=70000, bounds=Bounds(0, wait_s=0))
    with pytest.raises(Refusal) as refusal:
        wrong.check()
    assert len(refusal.value.problems) == 5


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (f"Bearer {TOKEN}", True), (f"bearer  {TOKEN} ", True), (f"Api-Key {TOKEN}", True),
        (TOKEN, False), (f"Basic {TOKEN}", False), (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False), ("Bearer", False), ("", False), ("Bearer \xe9", False),
    ],
)  # fmt: skip
def test_a_token_is_compared_whole(header: str, allowed: bool) -> None:
    assert allows(TOKEN, header.encode("latin-1")) is allowed
    assert not allows(TOKEN, None)
    assert allows("", None)


def test_the_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    asked = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *a: asked.append(a) or compare(*a))
    assert not allows(TOKEN, b"Bearer other")
    assert asked == [(b"other", TOKEN.encode())]


def test_a_token_file_must_be_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\nmore\n")
    path.chmod(0o644)
    with pytest.raises(Refusal, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    assert read_token(None) == ""
    for text, word in (("", "nothing"), ("short\n", "5 characters")):
        path.write_text(text)
        with pytest.raises(Refusal, match=word):
            read_token(path)
    with pytest.raises(Refusal, match="No such file"):
        read_token(tmp_path / "none")
    monkeypatch.setenv(ENVIRONMENT, TOKEN)
    assert read_token(None) == TOKEN


def test_a_token_is_in_no_repr(tmp_path: Path) -> None:
    from policy_runner.backends.remote.client.interface import ServerAddress

    assert TOKEN not in repr(ServeSettings(tmp_path, token=TOKEN))
    assert TOKEN not in repr(ServerAddress("ws://localhost:8000", TOKEN))


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"host": "localhost:8000"}, False),
        ({"host": "[::1]:8000"}, False),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, False),
        ({"host": "127.0.0.1:8000", "origin": "https://evil.example"}, True),
        ({"host": "127.0.0.1:8000", "origin": "null"}, True),
        ({"host": "rebound.example:8000"}, True),
    ],
)
def test_pages_of_other_sites_are_refused(headers: dict[str, str], foreign: bool) -> None:
    found = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert bool(foreign_page(found, loopback=True)) is foreign


def test_a_rate_allows_a_burst_and_then_its_rate() -> None:
    now = [0.0]
    rate = Rate(10.0, lambda: now[0])
    assert sum(not rate.wait_s() for _ in range(50)) == 10
    assert rate.wait_s() == pytest.approx(0.1)
    now[0] = 1e6
    assert sum(not rate.wait_s() for _ in range(50)) == 10
    assert not any(Rate(0.0, lambda: 0.0).wait_s() for _ in range(50))


@needs_server
def test_without_the_token_nothing_is_served(tmp_path: Path) -> None:
    from policy_runner.backends.remote.client.interface import ServerRefused
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient
    from policy_runner.backends.remote.client.v2_client import V2Client

    with served(write_policy(tmp_path), token=TOKEN) as server:
        connection = server.connection()
        for path in ("/metadata", "/schema", "/docs", "/openapi.json", "/v2/models/toy"):
            assert ask(connection, path)[0] == 401
        assert ask(connection, "/healthz")[0] == ask(connection, "/v2/health/live")[0] == 200
        assert ask(connection, "/metadata", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200
        connection.close()
        for other in ("", "another-token-0123456789"):
            with pytest.raises(ServerRefused, match="right token"):
                OpenpiClient(server.address(token=other)).connect()
            with pytest.raises(ServerRefused, match="right token"):
                V2Client(server.v2(token=other)).connect()
        OpenpiClient(server.address(token=TOKEN)).connect()
        V2Client(server.v2(token=TOKEN)).connect()


def certificate(folder: Path, days: int) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    folder.mkdir()
    paths = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", str(days), "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-out", str(paths[0]), "-keyout", str(paths[1])),
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return paths


@needs_server
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_a_certificate_is_checked(tmp_path: Path) -> None:
    from policy_runner.backends.remote.client.interface import ServerAddress, Unreachable
    from policy_runner.backends.remote.client.open_client import open_client

    spec = write_policy(tmp_path)
    path, key = certificate(tmp_path / "tls", 2)
    other, _ = certificate(tmp_path / "other", 2)
    with served(spec, certificate=path, key=key) as server:
        for url in (f"wss://127.0.0.1:{server.port}",
                    f"https://127.0.0.1:{server.port}/v2/models/toy"):  # fmt: skip
            client = open_client(ServerAddress(url, authorities=path))
            assert client.connect()
            client.close()
            for authorities in (other, None):
                with pytest.raises(Unreachable, match="certificate is not valid"):
                    open_client(ServerAddress(url, authorities=authorities)).connect()
    with (
        pytest.raises(Refusal, match="a certificate and its private key"),
        served(spec, certificate=key, key=key),
    ):
        pass


@needs_server
def test_the_log_holds_no_token_and_no_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from policy_runner.backends.remote.client.interface import RemoteError
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    caplog.set_level(logging.DEBUG)
    with served(write_policy(tmp_path), token=TOKEN) as server:
        connection = server.connection()
        right, wrong = f"Bearer {TOKEN}", "Bearer guessed-0123456789"
        assert ask(connection, "/act", {}, {"Authorization": wrong})[0] == 401
        body: dict[str, Any] = {"observation": {"imu": {"angular_velocity": "pixels-of-a-home"}}}
        assert ask(connection, "/act", body, {"Authorization": right})[0] == 422
        client = OpenpiClient(server.address(token=TOKEN))
        client.connect()
        bad = {**observation(signals(20), 0), "imu/angular_velocity": np.full(9, 77.125)}
        with pytest.raises(RemoteError):
            client.infer(bad, 10.0)
        connection.close()
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("policy_runner")]
    assert any("3 numbers" in line for line in lines)
    for secret in (TOKEN, "guessed", "pixels-of-a-home", "77.125"):
        assert not any(secret in line for line in lines)
