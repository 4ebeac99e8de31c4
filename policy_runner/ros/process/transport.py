"""Choose UDP for Fast DDS: a process that is killed must not delay the others.

In shared memory a killed process can leave the queue of a receiver locked. Fast DDS notices that
after one to two seconds. Measured with ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST, where ROS chooses
shared memory: after 2 of 50 SIGKILL of the runner, the guard's stop arrived after 1.0 and 2.5 s.
Over UDP it arrived within 0.23 s, 50 of 50.
"""

from __future__ import annotations

import os

from policy_runner.package_files import share_path

_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
_TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
# Fast DDS 2 reads the first name, Fast DDS 3 the second one.
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def prefer_udp() -> None:
    """Make Fast DDS use UDP, unless the user chose a transport; call before `rclpy.init`.

    For LOCALHOST, ROS adds shared memory by itself and ignores the choice of transports. So a
    profile of this package takes its place: UDP on the loopback interface, found by 32 local
    participants, as LOCALHOST is. A user's profile, or ROS_STATIC_PEERS, has priority: then
    LOCALHOST stays as it is. Other middlewares keep their settings.
    """
    chosen = bool(os.environ.get(_TRANSPORTS)) or any(map(os.environ.get, _PROFILES))
    os.environ[_TRANSPORTS] = os.environ.get(_TRANSPORTS) or "UDPv4"
    wanted = os.environ.get(_RANGE) == "LOCALHOST" and not os.environ.get("ROS_STATIC_PEERS")
    if chosen or not wanted or not _is_fast_dds():
        return
    try:
        profile = str(share_path("config", "fastdds_loopback.xml"))
    except FileNotFoundError:
        return  # LOCALHOST as ROS has it: still no network
    for name in _PROFILES:
        os.environ[name] = profile
    os.environ[_RANGE] = "SYSTEM_DEFAULT"


def _is_fast_dds() -> bool:
    """Whether rclpy uses Fast DDS; with another middleware SYSTEM_DEFAULT is the network."""
    from rclpy.utilities import get_rmw_implementation_identifier

    return bool(get_rmw_implementation_identifier().startswith("rmw_fastrtps"))
