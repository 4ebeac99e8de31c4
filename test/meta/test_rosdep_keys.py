"""`rosdep install` resolves every dependency of package.xml, on each distribution that we name.

A key that rosdep does not know ends `rosdep install` with an error before anything is installed.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# ros/rosdistro, commit 8468e88ccd523427f9131e39d2af0938f1c298b2 of 2026-08-22. Each of these is
# a released package of Humble, Jazzy, Kilted, Lyrical and Rolling (`DIST/distribution.yaml`).
ROS_PACKAGES = frozenset(
    [
        "builtin_interfaces",
        "diagnostic_aggregator",
        "diagnostic_msgs",
        "geometry_msgs",
        "launch",
        "launch_ros",
        "lifecycle_msgs",
        "nav_msgs",
        "rcl_interfaces",
        "rclpy",
        "ros2launch",
        "rosgraph_msgs",
        "sensor_msgs",
        "std_msgs",
        "std_srvs",
        "tf2_msgs",
        "trajectory_msgs",
        "urdfdom_py",
    ]
)
# A key of `rosdep/python.yaml` there, with packages for Ubuntu jammy, noble and resolute.
SYSTEM_KEYS = frozenset(
    [
        "python3-hypothesis",
        "python3-lxml",
        "python3-matplotlib",
        "python3-mujoco-pip",
        "python3-numpy",
        "python3-onnxruntime-gpu-pip",
        "python3-onnxruntime-pip",
        "python3-pil",
        "python3-pydantic",
        "python3-pytest",
        "python3-pytest-timeout",
        "python3-pytest-xdist",
        "python3-rich",
        "python3-rosbags-pip",
        "python3-setuptools",
        "python3-yaml",
    ]
)
# No key there: pip extras of this package, which its documentation installs.
WITHOUT_KEY = {"python3-pytest-rerunfailures", "python3-mcap", "python3-mcap-pip"}


def dependencies() -> set[str]:
    """Return every dependency of package.xml, whatever its kind."""
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    return {str(element.text) for element in root if element.tag.endswith("depend")}


def test_rosdep_knows_every_dependency() -> None:
    assert not dependencies() - ROS_PACKAGES - SYSTEM_KEYS


def test_keys_in_comments_and_documentation_exist() -> None:
    pages = [ROOT / "package.xml", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    pages += (ROOT / "docs").rglob("*.md")
    named = {
        (key, page.name)
        for page in pages
        for key in re.findall(r"\bpython3-[a-z][a-z0-9-]*-pip\b", page.read_text("utf-8"))
    }
    assert named  # package.xml names the key of the simulated robot
    assert not {(key, page) for key, page in named if key not in SYSTEM_KEYS}


def test_what_has_no_key_is_not_asked_of_rosdep() -> None:
    assert not WITHOUT_KEY & (ROS_PACKAGES | SYSTEM_KEYS | dependencies())
