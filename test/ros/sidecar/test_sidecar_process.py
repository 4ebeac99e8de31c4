"""The sidecar's process: its end, and the memory that it shares."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from fake_board import write_board
from sidecar_graph import BOARD, ZONE

# No transport of the user's own.
NOT_CHOSEN = dict.fromkeys(
    (
        "FASTDDS_BUILTIN_TRANSPORTS",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "FASTDDS_DEFAULT_PROFILES_FILE",
    ),
    "",
)
pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_process_ends_cleanly_even_while_a_read_hangs(tmp_path, spawn, number):
    write_board(tmp_path, BOARD)
    (tmp_path / ZONE / "temp").unlink()
    os.mkfifo(tmp_path / ZONE / "temp")
    command = ["python", "-m", "policy_runner.ros.sidecar.main"]
    command += ["--ros-args", "-p", f"root:={tmp_path}", "-p", "period:=0.1"]
    for _ in range(3):
        child = spawn(command)
        time.sleep(2.0)
        assert child.poll() is None
        begin = time.monotonic()
        child.send(number)
        assert child.wait(5.0) == 0
        assert time.monotonic() - begin < 2.0


@pytest.mark.parametrize("discovery", ["SUBNET", "LOCALHOST"])
def test_it_shares_no_memory_with_the_runner(tmp_path, spawn, wait_until, discovery):
    """A killed subscriber's shared-memory port made the runner's publishing thread wait 0.32 s."""
    write_board(tmp_path, BOARD)
    command = ["python", "-m", "policy_runner.ros.sidecar.main"]
    command += ["--ros-args", "-p", f"root:={tmp_path}"]
    child = spawn(command, env={**NOT_CHOSEN, "ROS_AUTOMATIC_DISCOVERY_RANGE": discovery})
    wait_until(lambda: bound_addresses(child.pid), 30.0)
    time.sleep(1.0)  # it has opened every port by then
    assert child.poll() is None
    with open(f"/proc/{child.pid}/maps", encoding="utf-8") as stream:
        maps = stream.read()
    assert "rclpy" in maps
    assert "/dev/shm/fastrtps" not in maps
    addresses = bound_addresses(child.pid)
    # 0100007F is 127.0.0.1 in /proc/net/udp.
    assert (addresses <= {"0100007F"}) == (discovery == "LOCALHOST"), addresses


def bound_addresses(pid: int) -> set[str]:
    """Local addresses of the process' UDP sockets that receive, as /proc/net/udp writes them."""
    own = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            own.add(str(descriptor.readlink()))
    rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if f"socket:[{row[9]}]" in own}


BARE = "import rclpy; rclpy.init(); rclpy.spin(rclpy.create_node('bare'))"
BURN = "while True: pass"


def threads(pid: int) -> int:
    """Number of threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_threads_and_messages_while_every_core_is_busy(tmp_path, spawn, wait_until):
    from sidecar_graph import heard

    write_board(tmp_path, BOARD)
    command = ["python", "-m", "policy_runner.ros.sidecar.main"]
    child = spawn([*command, "--ros-args", "-p", f"root:={tmp_path}", "-p", "period:=0.2"])
    bare = spawn(["python", "-c", BARE])
    with heard("/diagnostics") as messages:
        wait_until(lambda: len(messages) >= 3, 30.0)
        assert threads(child.pid) <= threads(bare.pid) + 3
        burners = [spawn(["python", "-c", BURN]) for _ in range(os.cpu_count() or 1)]
        time.sleep(0.5)
        before = len(messages)
        wait_until(lambda: len(messages) >= before + 5, 30.0)
        for burner in burners:
            burner.send(signal.SIGKILL)
