"""`policy-runner serve` as a process: its first lines, its workers, its end, its refusals."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import refusals, signals, write_policy, write_quadruped
from serve_rig import needs_server, observation

pytestmark = needs_server
COMMAND = ("python", "-m", "policy_runner.cli.main", "serve")


def address_of(child: Any, wait_until: Callable[..., Any]) -> str:
    """The address that the command prints when connections are accepted."""
    found = wait_until(lambda: re.search(r" on (http\S+)", child.stdout), 60.0, "the first line")
    return str(found[1])


def actions(address: str) -> list[bytes]:
    """Connect by openpi's protocol, and ask three times."""
    from policy_runner.backends.remote.client.interface import ServerAddress
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    client = OpenpiClient(ServerAddress(address.replace("http", "ws"), connect_s=60.0))
    client.connect()
    found = [client.infer(observation(signals(20), k), 20.0)["actions"].tobytes() for k in range(3)]
    client.close()
    return found


def test_one_process_serves_and_ends(spawn: Any, wait_until: Any, tmp_path: Path) -> None:
    child = spawn([*COMMAND, str(write_policy(tmp_path / "toy")), "--port", "0"])
    address = address_of(child, wait_until)
    assert actions(address) == actions(address)
    child.send(signal.SIGTERM)
    assert child.wait(15.0) == 0
    assert "Traceback" not in child.stderr


def test_workers_share_a_port_and_a_killed_one_is_replaced(
    spawn: Any, wait_until: Any, tmp_path: Path
) -> None:
    """Each connection stays with its worker, so its state is whole."""
    words = [*COMMAND, str(write_policy(tmp_path / "toy")), "--port", "0", "--workers", "2"]
    child = spawn(words)
    address = address_of(child, wait_until)
    wanted = actions(address)
    assert all(actions(address) == wanted for _ in range(6))
    tasks = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    if tasks.exists():
        workers = [int(pid) for pid in tasks.read_text().split()
                   if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]  # fmt: skip
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: "another one starts" in child.stderr, 20.0)
        assert all(actions(address) == wanted for _ in range(4))
    child.send(signal.SIGINT)
    assert child.wait(20.0) == 0


def test_refusals_of_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = str(write_policy(tmp_path / "toy"))
    (line,) = refusals(capsys, "serve", spec, "--host", "0.0.0.0")
    assert "--token-file or --tls-certificate" in line
    (line,) = refusals(capsys, "serve", spec, "--rename", "a")
    assert line == "--rename: expected KEY=INPUT/FIELD, got a"
    (line,) = refusals(capsys, "serve", spec, "--rename", "a=b/c")
    assert "INPUT one of imu, joints, cmd" in line
    assert "policy.yaml" in refusals(capsys, "serve", str(tmp_path / "none"))[0]
    files = ("--tls-certificate", f"{spec}/policy.yaml", "--tls-key", f"{spec}/policy.yaml")
    for workers in ("1", "2"):
        words = ("serve", spec, "--port", "0", "--workers", workers)
        assert "a certificate and its private key" in refusals(capsys, *words, *files)[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        (line,) = refusals(capsys, "serve", spec, "--port", port)
    assert "--host, --port: expected an address to listen on" in line


def test_without_the_extra_the_command_names_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from policy_runner.cli.serve import command

    monkeypatch.setattr(command, "NEEDED", ("numpy", "no_such_package"))
    (line,) = refusals(capsys, "serve", str(tmp_path))
    assert line.endswith("got no no_such_package; pip install 'policy_runner[serve]'")


def test_a_batch_of_tensors_runs_at_once(tmp_path: Path) -> None:
    """A file with an open batch axis: 64 rows are the rows one by one, within rounding."""
    from policy_runner.serving.session.served_policy import ServedPolicy

    write_quadruped(tmp_path)
    tensors = ServedPolicy(tmp_path).tensors
    assert tensors is not None
    assert tensors.open_batch
    given = np.random.default_rng(2).normal(size=(64, 245)).astype(np.float32)
    found = tensors.run({"obs": given})["actions"]
    rows = [tensors.run({"obs": given[k : k + 1]})["actions"] for k in range(64)]
    np.testing.assert_allclose(found, np.concatenate(rows), rtol=1e-5, atol=1e-6)
