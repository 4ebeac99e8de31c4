"""Which transport Fast DDS takes, so that a subscriber's death does not stall the control loop.

A subscriber that is killed leaves its shared-memory port behind. When its successor takes the
same port, whoever publishes to it next waits a third of a second for the port's health (seen:
335 ms once in 12 kills of the sidecar, in the control thread; over UDP none in 12). With
ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST the middleware sets its transports itself and overrules
this: there the stall remains (5 in 15 kills).
"""

from __future__ import annotations

import os


def prefer_udp() -> None:
    """UDP, unless the user chose; call before rclpy.init. Other middlewares ignore it."""
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
