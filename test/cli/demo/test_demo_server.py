"""The server of `policy-runner demo --remote`: when it counts as started, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from policy_runner.cli.demo import policy_server
from policy_runner.cli.demo.policy_server import NAME, Server, start_server

URL = "http://127.0.0.1:8123/v2/models/toy"


class Starting:
    """Stands in for the children of the demo: one server that runs, with this log."""

    def __init__(self, log: Path, text: str) -> None:
        log.write_text(text, encoding="utf-8")
        self.log = lambda _name: log
        self.running = lambda name: name == NAME
        self.told: list[tuple[str, str]] = []

    def launch(self, name: str, argv: Sequence[str]) -> int:
        assert (name, argv[-4:]) == (NAME, ["serve", "my policy", "--port", "0"])
        return 77

    def tell_end(self, name: str, what: str) -> None:
        self.told.append((name, what))


def started(children: Any, ends: bool = False) -> Server | None:
    ended: Any = SimpleNamespace(is_set=lambda: ends, wait=lambda _seconds: None)
    return start_server(children, "my policy", ended)


def test_a_server_has_started_when_it_names_its_model(tmp_path: Path) -> None:
    children = Starting(tmp_path / "log", f"toy on ...\n  protocol v2 {URL}\n")
    server = started(children)
    assert server == Server(URL, "my policy", 77)
    assert "process 77;" in server.hint
    assert "`policy-runner serve 'my policy' --port 8123`" in server.hint
    assert not children.told


@pytest.mark.parametrize("ends", [False, True])
def test_a_server_that_takes_too_long_is_told_unless_the_user_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(policy_server, "STARTED_WITHIN_S", 0.05)
    children = Starting(tmp_path / "log", "several models: no protocol v2\n")
    assert started(children, ends) is None
    assert children.told == ([] if ends else [(NAME, f"{NAME} serves no model after 0.05 s")])
