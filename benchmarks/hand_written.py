"""A fairly written node, as users write it by hand: the column to compare with.

It has an rclpy timer, callbacks that store messages, a dictionary by joint name,
`np.concatenate`, `(x - mean) / (std + eps)`, clip, `session.run`, and a new message per tick.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import rclpy
from quadruped import LEGS
from rclpy.node import Node
from sensor_msgs.msg import Imu, JointState

from policy_runner.ros.bench.recorder import Recorder


class HandWritten(Node):
    """Computes joint targets from the newest messages."""

    def __init__(self, folder: Path, rate_hz: float, recorder: Recorder) -> None:
        super().__init__("hand_written")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # the default, which many users keep, is slower
        self.session = ort.InferenceSession(str(folder / "policy.onnx"), options)
        with np.load(folder / "statistics.npz") as stored:
            self.mean, self.std = stored["mean"], np.sqrt(stored["var"])
        self.default = np.full(len(LEGS), 0.1)
        self.last_action = np.zeros(len(LEGS))
        self.imu: Imu | None = None
        self.joints: JointState | None = None
        self.recorder = recorder
        self.create_subscription(Imu, "imu/data", self.on_imu, 10)
        self.create_subscription(JointState, "joint_states", self.on_joints, 10)
        self.publisher = self.create_publisher(JointState, "joint_commands", 10)
        self.create_timer(1.0 / rate_hz, self.on_timer)

    def on_imu(self, message: Imu) -> None:
        self.imu = message

    def on_joints(self, message: JointState) -> None:
        self.joints = message

    def on_timer(self) -> None:
        now = time.monotonic_ns()
        if self.imu is None or self.joints is None:
            return
        stamps = (
            m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in (self.imu, self.joints)
        )
        self.recorder.tick(now, now - min(stamps))
        if self.recorder.done:
            raise SystemExit
        q = self.imu.orientation
        gravity = [
            2 * (q.w * q.y - q.x * q.z),
            -2 * (q.y * q.z + q.w * q.x),
            2 * (q.x * q.x + q.y * q.y) - 1,
        ]
        w, a = self.imu.angular_velocity, self.imu.linear_acceleration
        position = dict(zip(self.joints.name, self.joints.position))
        velocity = dict(zip(self.joints.name, self.joints.velocity))
        observation = np.concatenate(
            [
                np.array([w.x, w.y, w.z]) * 0.25,
                gravity,
                np.array([a.x, a.y, a.z]) * 0.1,
                [0.5, 0.0, 0.1],
                np.array([position[name] for name in LEGS]) - self.default,
                np.array([velocity[name] for name in LEGS]) * 0.05,
                self.last_action,
            ]
        )
        observation = np.clip((observation - self.mean) / (self.std + 1e-5), -5.0, 5.0)
        inputs = {"obs": observation.astype(np.float32)[None]}
        action = np.clip(self.session.run(None, inputs)[0][0], -10.0, 10.0)
        self.last_action = action
        message = JointState()
        message.header.stamp = self.get_clock().now().to_msg()
        message.name = list(LEGS)
        message.position = (action * 0.25 + self.default).tolist()
        self.publisher.publish(message)


def main() -> int:
    """Run for the given time and write an .npz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rclpy.init()
    recorder = Recorder(options.seconds, options.rate)
    node = HandWritten(options.spec, options.rate, recorder)
    with contextlib.suppress(SystemExit):
        rclpy.spin(node)
    recorder.write(options.out)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0 if recorder.done else 1


if __name__ == "__main__":
    sys.exit(main())
