"""The runner is killed: the simulated robot notices it and stops by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import Nursery, wait_until
from ending_rig import quick_discovery
from fault_rig import LEVELS, RUNNER
from fault_table import FAULTS
from runner_rig import Peer, write_parameters

from policy_runner.package_files import share_path

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")),
    reason="needs rclpy and mujoco",
)
SPACE = "/killed"
WHEELS = ["left_wheel_joint", "right_wheel_joint"]
REPEATED = 9.0  # rad/s


@pytest.fixture
def peer() -> Iterator[Peer]:
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    made = Peer(context, SPACE)
    yield made
    made.close()
    context.try_shutdown()


def test_sigkill(spawn: Nursery, tmp_path: Path, peer: Peer) -> None:
    """A node between runner and motors repeats the last command without end: it is ignored."""
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState

    row = FAULTS["SIGKILL"]
    assert (row.decision, row.command) == ("gone", "none")
    env = quick_discovery(tmp_path)
    words = ["--ros-args", "-r", f"__ns:={SPACE}", "--params-file"]
    own = write_parameters(
        tmp_path / "own.yaml", policy=str(share_path("models", "balancer")), autostart=True
    )
    robot_file = write_parameters(tmp_path / "robot.yaml", "/**/simulated_robot", pushes=False)
    shipped = str(share_path("config", "balancer.yaml"))
    robot_main = "policy_runner.ros.simulated_robot.main"
    spawn(["python", "-m", robot_main, *words, str(robot_file)], env=env)
    runner = spawn(["python", *RUNNER, *words, shipped, "--params-file", str(own)], env=env)
    told: list[tuple[float, Any]] = []
    diagnostics = peer.hear(DiagnosticArray, "/diagnostics")
    commands = peer.hear(JointState, "joint_commands")
    states = peer.hear(JointState, "joint_states")

    name = f"{SPACE}/simulated_robot: balance"

    def robot_says(text: str, since: float = 0.0) -> Any:
        for at, message in list(diagnostics):
            told.extend((at, s) for s in message.status if s.name == name)
        diagnostics.clear()
        found = [s for at, s in told if at > since and text in s.message]
        return found[-1] if found else None

    def number(status: Any, key: str) -> float:
        return next(float(pair.value) for pair in status.values if pair.key == key)

    wait_until(lambda: len(commands) > 100 and robot_says("balancing"), 30.0, "balancing")
    before = number(told[-1][1], "heartbeats lost")  # a slow start may already have lost one
    runner.kill()
    begin = time.monotonic()
    sender = peer.publisher(JointState, "joint_commands")
    repeated = JointState(name=WHEELS, velocity=[REPEATED, -REPEATED])
    timer = peer.node.create_timer(0.01, lambda: sender.publish(repeated))
    silent = wait_until(lambda: robot_says(row.says, begin), 10.0, "the silence")
    assert LEVELS[silent.level] == row.level
    assert number(silent, "heartbeats lost") == before + 1
    ignored = number(silent, "commands")
    time.sleep(max(0.0, begin + row.decided_s - time.monotonic()))
    first = time.monotonic()
    wait_until(lambda: robot_says(row.says, first), 10.0, "the next message")
    assert number(told[-1][1], "commands") == ignored, "it still takes commands"
    fastest = max(abs(v) for at, m in states if at > first for v in m.velocity)
    assert fastest < REPEATED / 2, "its wheels still turn"
    peer.node.destroy_timer(timer)


def test_the_guard_stops_the_wheels(spawn: Nursery, tmp_path: Path, peer: Peer) -> None:
    """The robot itself would wait 10 s for a heartbeat: the guard stops its wheels before."""
    from sensor_msgs.msg import JointState

    env = quick_discovery(tmp_path)
    words = ["--ros-args", "-r", f"__ns:={SPACE}", "--params-file"]
    own = write_parameters(
        tmp_path / "own.yaml", policy=str(share_path("models", "balancer")), autostart=True
    )
    robot_file = write_parameters(
        tmp_path / "robot.yaml", "/**/simulated_robot", pushes=False, heartbeat_timeout=10.0
    )
    shipped = str(share_path("config", "balancer.yaml"))
    robot_main = "policy_runner.ros.simulated_robot.main"
    spawn(["python", "-m", robot_main, *words, str(robot_file)], env=env)
    guard = spawn(
        ["python", "-m", "policy_runner.ros.guard.main", "--ros-args", "-r", f"__ns:={SPACE}"],
        env=env,
    )
    runner = spawn(["python", *RUNNER, *words, shipped, "--params-file", str(own)], env=env)
    commands = peer.hear(JointState, "joint_commands")
    states = peer.hear(JointState, "joint_states")
    wait_until(lambda: len(commands) > 200 and "guards" in guard.stderr, 30.0, "balancing")
    runner.kill()
    begin = time.monotonic()
    zeros = wait_until(
        lambda: [at for at, m in list(commands) if at > begin and not any(m.velocity)], 5.0, "zeros"
    )
    assert zeros[0] - begin <= FAULTS["SIGKILL, with a guard"].decided_s
    time.sleep(1.5)
    late = [max(map(abs, m.velocity)) for at, m in list(states) if at > begin + 1.0]
    assert late
    assert max(late) < 0.5, "its wheels still turn"
