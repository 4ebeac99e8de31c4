"""Unmodified clients get the pipeline's and the model's numbers to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import ORDER, signals
from serve_rig import TOKEN, observation

from policy_runner.serving.session.served_policy import ServedPolicy

TICKS = 20


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ticks as an .npz."""
    given = signals(TICKS)
    path = tmp_path_factory.mktemp("requests") / "requests.npz"
    arrays: dict[str, Any] = {
        "imu/orientation": given["imu_orientation_xyzw"],
        "imu/angular_velocity": given["imu_angular_velocity"],
        "joints/position": given["joint_position"],
        "command": given["command"],
        "names": np.array(ORDER),
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def wanted(policy: Path) -> list[str]:
    session = ServedPolicy(policy).session()
    return [session.answer(observation(signals(TICKS), k))[0]["actions"].tobytes().hex()
            for k in range(TICKS)]  # fmt: skip


def test_openpi_client(server: Any, run_client: Any, policy: Path, requests: Path) -> None:
    found = run_client("openpi", "openpi_program.py", server.port, requests, 300)
    assert found["numpy"].startswith("1.")
    assert found["metadata"]["action_names"] == ["hip", "knee"]
    assert found["actions"] == wanted(policy)
    assert {"infer_ms", "queue_ms", "total_ms", "prev_total_ms"} <= found["timing"].keys()
    print(f"openpi-client, round trip p50 and p99 [us]: {found['us']}")  # noqa: T201


def test_openpi_client_with_a_token(
    run_client: Any, policy: Path, requests: Path, tmp_path: Path
) -> None:
    from conftest import Server

    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    running = Server(policy, tmp_path / "log", ["--token-file", str(token)])
    try:
        program = ("openpi", "openpi_program.py", running.port, requests)
        assert run_client(*program, env={"TOKEN": TOKEN})["actions"] == wanted(policy)
        with pytest.raises(AssertionError, match="401"):
            run_client(*program, env={"TOKEN": "another-token-0123456789"})
    finally:
        running.end()
    assert TOKEN not in running.log.read_text()


def test_tritonclient(server: Any, run_client: Any, policy: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(4).normal(size=(10, 1, 13)).astype(np.float32)
    path = tmp_path / "tensors.npz"
    np.savez(path, obs=rows)
    tensors = ServedPolicy(policy).tensors
    assert tensors is not None
    expected = [tensors.run({"obs": row})["actions"].tobytes().hex() for row in rows]
    found = run_client("triton", "triton_program.py", server.port, path)
    assert found["binary"] == found["json"] == found["async"] == expected
    assert found["ready"] == [True, True, True]
    assert found["metadata"]["inputs"] == [{"name": "obs", "datatype": "FP32", "shape": [1, 13]}]
    assert found["config"]["input"][0]["data_type"] == "TYPE_FP32"
    assert found["index"] == [{"name": "toy", "version": "1", "state": "READY"}]
    assert set(found["timing"]) == {"queue_ms", "inference_ms", "total_ms"}
    assert "float32 [1, 13]" in found["refusal"]


def test_a_thousand_connections_leave_the_servers_memory_flat(server: Any) -> None:
    """The process grows by less than 2 MB: 2 kB for each connection would be a leak."""
    import time

    from policy_runner.backends.remote.client.interface import ServerAddress
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    def connect(times: int) -> None:
        for k in range(times):
            client = OpenpiClient(ServerAddress(f"ws://127.0.0.1:{server.port}"))
            client.connect()
            if k % 10 == 0:
                client.infer(observation(signals(TICKS), 0), 20.0)
            client.close()
            time.sleep(0.006)  # at most 200 new connections per second are served

    connect(200)
    before = server.rss_kib
    connect(1000)
    grown = server.rss_kib - before
    print(f"grown by {grown} KiB in 1000 connections")  # noqa: T201
    assert grown < 2048
