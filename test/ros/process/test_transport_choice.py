"""The nodes prefer UDP; a user's own choice has priority."""

from __future__ import annotations

import os

import pytest

from policy_runner.ros.process.lifetime import prefer_udp

NAME = "FASTDDS_BUILTIN_TRANSPORTS"


def test_udp_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "LARGE_DATA")
    prefer_udp()
    assert os.environ[NAME] == "LARGE_DATA"
    monkeypatch.delenv(NAME)
    prefer_udp()
    assert os.environ[NAME] == "UDPv4"
    monkeypatch.delenv(NAME)
