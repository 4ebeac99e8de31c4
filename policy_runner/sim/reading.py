"""What the simulated robot's sensors say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """What the robot's sensors say at one time."""

    gyro: Array  # (3,) rad/s, base frame
    orientation_xyzw: Array  # (4,) unit quaternion, base to world
    linear_acceleration: Array  # (3,) m/s^2, base frame, specific force (+g upwards at rest)
    wheel_position: Array  # (2,) rad
    wheel_velocity: Array  # (2,) rad/s
