"""`ros2 launch policy_runner two_robots.launch.py`: our launch file, included once for each robot.

A copy of this file is the place for what differs between your robots.
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchDescription
from policy_runner.package_files import share_path
from policy_runner.ros.launching import TWO_ROBOTS_ARGUMENTS


def _robots(context, *_args):  # type: ignore[no-untyped-def]
    said = {name: LaunchConfiguration(name).perform(context) for name, _, _ in TWO_ROBOTS_ARGUMENTS}
    file = str(share_path("launch", "jetson.launch.py"))
    groups = []
    for robot in said["robots"].split(","):
        folder = said["params_folder"]
        arguments = {
            "namespace": robot.strip(),
            "simulated_robot": said["simulated_robot"],
            "params_file": str(Path(folder) / f"{robot.strip()}.yaml") if folder else "",
            # Not the default: one robot's crash must not end the other robot's nodes.
            "on_runner_exit": "respawn",
        }
        included = IncludeLaunchDescription(
            PythonLaunchDescriptionSource(file), launch_arguments=arguments.items()
        )
        # Arguments of an included file stay set after it: without a scope of its own, the second
        # robot would get what only the first one was given.
        groups.append(GroupAction([included], scoped=True, forwarding=False))
    return groups


def generate_launch_description() -> LaunchDescription:
    """The arguments, then a group for each robot."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in TWO_ROBOTS_ARGUMENTS
            ),
            OpaqueFunction(function=_robots),
        ]
    )
