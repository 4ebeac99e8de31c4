"""Fixtures of the servers' tests: the small policy, and one server of it per file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_rig import write_policy
from serve_rig import Served, served


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small policy."""
    return write_policy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def server(policy: Path) -> Iterator[Served]:
    """A server of it with the default settings."""
    with served(policy) as running:
        yield running
