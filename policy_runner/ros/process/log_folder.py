"""A home that cannot be written to must not keep a node from starting.

rclpy makes a log file when it starts, and ends the process where it cannot: on a robot with a
read-only file system, or for a service user without a home. The log on stderr needs no file.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

NO_FILE = "--disable-external-lib-logs"


def log_folder(environment: Mapping[str, str]) -> Path | None:
    """Where rcl would put the log file; None without a home."""
    if environment.get("ROS_LOG_DIR"):
        return Path(environment["ROS_LOG_DIR"]).expanduser()
    if environment.get("ROS_HOME"):
        return Path(environment["ROS_HOME"]).expanduser() / "log"
    return Path(environment["HOME"]) / ".ros" / "log" if environment.get("HOME") else None


def with_usable_log(arguments: list[str]) -> list[str]:
    """The arguments for rclpy.init; without a log file, and a sentence, where none can be made."""
    folder = log_folder(os.environ)
    try:
        if folder is None:
            raise OSError("HOME is not set")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return arguments
    except OSError as error:
        sys.stderr.write(f"no log file, only stderr: {error}; ROS_LOG_DIR names another folder\n")
        return [*arguments, "--ros-args", NO_FILE]
