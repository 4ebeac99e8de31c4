"""A runner that sends its chunks as trajectories, and what a controller makes of them."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import Nursery, wait_until
from fault_rig import FaultGraph
from fault_rig import nursery as nursery
from runner_rig import Peer

from policy_runner.core.chunks.trajectory import Trajectory

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def trajectory_of(message: Any) -> Trajectory:
    stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    times = [p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in message.points]
    positions = np.array([p.positions for p in message.points])
    velocities = np.array([p.velocities for p in message.points])
    return Trajectory(stamp, np.array(times, dtype=np.int64), positions, velocities)


def test_chunks_arrive_as_trajectories_without_a_jump(nursery: Nursery, tmp_path: Path) -> None:
    import rclpy
    from trajectory_msgs.msg import JointTrajectory

    graph = FaultGraph(
        nursery,
        tmp_path,
        kind="position",
        chunk=25,
        command__type="joint_trajectory",
        command__trajectory_lead=0.1,
        **{f"inputs__{name}__max_age": 3.0 for name in ("joints", "imu", "command")},
    )
    # The graph's own peer listens to the same topic with another type.
    context = rclpy.Context()
    rclpy.init(context=context)
    receiver = Peer(context, graph.space, graph.runner)
    try:
        heard = receiver.hear(JointTrajectory, "joint_commands")

        def long_ones() -> list[Trajectory]:
            return [trajectory_of(m) for _, m in list(heard) if len(m.points) > 1]

        wait_until(lambda: len(long_ones()) >= 4, 60)
    finally:
        receiver.close()
        context.try_shutdown()
        graph.close()
    smooth = []
    for before, after in itertools.pairwise(long_ones()):
        assert after.stamp_ns > before.stamp_ns
        assert not after.velocities[-1].any()
        there = before.at(after.stamp_ns)
        smooth.append(
            np.allclose(after.positions[0], there.position, atol=1e-6)
            and np.allclose(after.velocities[0], there.velocity, atol=1e-6)
        )
        assert np.abs(after.positions[0] - there.position).max() < 0.5
    # After a pause of the machine the motion starts again from standstill.
    assert any(smooth), smooth
