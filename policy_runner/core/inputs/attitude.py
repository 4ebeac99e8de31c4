"""Check at rest whether an Imu's quaternion and its accelerometer agree on where down is.

They usually disagree because a driver fills in w, x, y, z. This module counts; another module
reports. A disagreement is a warning and no fault: the robot may stand on something that
accelerates.
"""

from __future__ import annotations

import math

STANDARD_GRAVITY = 9.80665  # m/s^2
_REST_ACCELERATION = 0.6  # m/s^2: largest difference of the norm to gravity's at rest
_REST_TURN = 0.1  # rad/s
_FAR_OFF_COSINE = math.cos(math.radians(30.0))
_FEWEST = 5  # samples at rest before there is a result
_MOST = 200  # at this count all counts are halved, so that a corrected driver shows soon

Vector = tuple[float, ...]


class AttitudeCheck:
    """Counts samples at rest, and contradictions of quaternion and accelerometer among them."""

    def __init__(self) -> None:
        self.at_rest = 0
        self.contradictions = 0
        self._fits_swapped = 0
        self._angle = 0.0  # angle of the newest contradiction [degrees]

    def look(self, quaternion: Vector, turn: Vector, acceleration: Vector) -> None:
        """Add one sample, in the sensor's axes.

        Args:
            quaternion: x, y, z, w, sensor -> world.
            turn: angular velocity from the gyroscope [rad/s].
            acceleration: from the accelerometer, +g upwards at rest [m/s^2].
        """
        ax, ay, az = acceleration
        norm = math.sqrt(ax * ax + ay * ay + az * az)
        x, y, z, w = quaternion
        length = x * x + y * y + z * z + w * w
        # Every comparison with NaN is false, so a sample with NaN does not count as rest.
        still = math.sqrt(sum(part * part for part in turn)) < _REST_TURN
        if not (still and abs(norm - STANDARD_GRAVITY) < _REST_ACCELERATION):
            return
        if not 0.98 < length < 1.02:
            return
        if self.at_rest >= _MOST:
            self.at_rest //= 2
            self.contradictions //= 2
            self._fits_swapped //= 2
        self.at_rest += 1
        up = (ax / norm, ay / norm, az / norm)
        cosine = _cosine(up, x, y, z, w)
        if cosine < _FAR_OFF_COSINE:
            self.contradictions += 1
            self._angle = math.degrees(math.acos(max(-1.0, cosine)))
            self._fits_swapped += _cosine(up, y, z, w, x) >= _FAR_OFF_COSINE

    @property
    def text(self) -> str:
        """The contradiction in words; '' while there is none, or too few samples at rest."""
        if self.at_rest < _FEWEST or 2 * self.contradictions <= self.at_rest:
            return ""
        text = f"at rest the quaternion is {self._angle:.0f} degrees off the accelerometer"
        if 2 * self._fits_swapped > self.contradictions:
            return f"{text}: it fits as w, x, y, z, and ROS has x, y, z, w"
        return f"{text}: check the order of the quaternion (x, y, z, w) and the mounting"

    def forget(self) -> None:
        """Return to the state before the first sample."""
        self.at_rest = self.contradictions = self._fits_swapped = 0


def _cosine(up: Vector, x: float, y: float, z: float, w: float) -> float:
    """Cosine of the angle between `up` and the world's up, the third row of R(q), sensor axes."""
    row = (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
    return up[0] * row[0] + up[1] * row[1] + up[2] * row[2]
