"""What your training code does, kept in a file: the reference for `policy-runner replay`.

Copy the idea into the play loop of your own training code: per step, what the sensors said, what
went into the network, and what the code made of the network's output.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime

from policy_runner.sim.balancer import JOINT_NAMES, Balancer
from policy_runner.sim.handwritten_loop import MAX_WHEEL_SPEED, normalize, observe

TICKS, PERIOD_S = 200, 0.01
MODEL, STATISTICS = "models/balancer/policy.onnx", "models/balancer/statistics.npz"


def main(output: str) -> None:
    """Drive the training simulation with the network and write `output`, an .npz of signals."""
    session = onnxruntime.InferenceSession(MODEL)
    statistics = np.load(STATISTICS)
    robot = Balancer()
    robot.stand(pitch_rad=0.1)
    action = np.zeros(2)
    rows = []
    for tick in range(TICKS):
        command = (0.4, 0.5 if tick > TICKS // 2 else 0.0)  # forward m/s, yaw rad/s
        reading = robot.read()
        given = normalize(observe(reading, command, action), statistics["mean"], statistics["var"])
        raw = session.run(None, {"obs": given})[0][0]
        action = np.clip(raw, -1.0, 1.0).astype(np.float64)
        target = action * MAX_WHEEL_SPEED
        rows.append(
            {
                "joint_position": reading.wheel_position,  # rad, columns as in joint_state_names
                "joint_velocity": reading.wheel_velocity,  # rad/s
                "imu_orientation_xyzw": reading.orientation_xyzw,
                "imu_angular_velocity": reading.gyro,  # rad/s, body frame
                "command": (command[0], 0.0, command[1]),  # vx, vy, wz
                "expected_observation": given[0],  # what went into the network
                "expected_raw_action": raw,  # what came out of it
                "expected_target": target,  # rad/s, columns as in target_joint_names
            }
        )
        robot.advance(target, round(PERIOD_S / robot.timestep_s))
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    names = np.array(JOINT_NAMES)
    np.savez(
        output, control_dt=PERIOD_S, joint_state_names=names, target_joint_names=names, **arrays
    )


if __name__ == "__main__":
    main(sys.argv[1])
