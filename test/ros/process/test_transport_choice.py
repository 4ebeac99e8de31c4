"""The nodes prefer UDP; a user's own choice has priority."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from policy_runner.package_files import share_path
from policy_runner.ros.process.transport import prefer_udp

NAME = "FASTDDS_BUILTIN_TRANSPORTS"
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
needs_rclpy = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove what a test's call has set; `monkeypatch` restores what was there."""
    for name in (NAME, RANGE, "ROS_STATIC_PEERS", *PROFILES):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_udp_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "LARGE_DATA")
    prefer_udp()
    assert os.environ[NAME] == "LARGE_DATA"
    monkeypatch.delenv(NAME)
    prefer_udp()
    assert os.environ[NAME] == "UDPv4"
    assert not any(name in os.environ for name in (RANGE, *PROFILES))


@needs_rclpy
def test_localhost_means_udp_on_the_loopback_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RANGE, "LOCALHOST")
    prefer_udp()
    profile = str(share_path("config", "fastdds_loopback.xml"))
    assert [os.environ[name] for name in PROFILES] == [profile, profile]
    assert os.environ[RANGE] == "SYSTEM_DEFAULT"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (NAME, "LARGE_DATA"),
        (PROFILES[0], "/a/profile.xml"),
        (PROFILES[1], "/a/profile.xml"),
        ("ROS_STATIC_PEERS", "192.168.1.2"),
    ],
)
def test_localhost_stays_where_the_user_chose_more(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(RANGE, "LOCALHOST")
    monkeypatch.setenv(name, value)
    prefer_udp()
    assert (os.environ[RANGE], os.environ[name]) == ("LOCALHOST", value)


@needs_rclpy
def test_another_middleware_keeps_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """For CycloneDDS, SYSTEM_DEFAULT would be the whole network."""
    monkeypatch.setenv(RANGE, "LOCALHOST")
    monkeypatch.setattr(
        "rclpy.utilities.get_rmw_implementation_identifier", lambda: "rmw_cyclonedds_cpp"
    )
    prefer_udp()
    assert os.environ[RANGE] == "LOCALHOST"
    assert not any(name in os.environ for name in PROFILES)
