"""`ros2 launch policy_runner jetson.launch.py`: starts the runner and its sidecar."""

from __future__ import annotations

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription
from policy_runner.package_files import share_path
from policy_runner.ros.processes import LAUNCH_ARGUMENTS, PACKAGE, Arguments, processes


def _nodes(context, *_args):  # type: ignore[no-untyped-def]
    said = {name: LaunchConfiguration(name).perform(context) for name, _, _ in LAUNCH_ARGUMENTS}

    def yes(name: str) -> bool:
        if said[name].lower() not in ("true", "false"):
            raise ValueError(f"{name}: expected true or false, got {said[name]}")
        return said[name].lower() == "true"

    rows = processes(
        Arguments(
            params_file=said["params_file"],
            policy=said["policy"],
            backend=said["backend"],
            simulated_robot=yes("simulated_robot"),
            dry_run=yes("dry_run"),
            use_sim_time=yes("use_sim_time"),
            lockstep=yes("lockstep"),
            sidecar=yes("sidecar"),
            guard=yes("guard"),
            autostart=yes("autostart"),
        )
    )
    nodes = _aggregator(said["namespace"]) if yes("aggregator") else []
    # The runner configures and activates itself (`autostart`): the same on every distribution.
    # After a refused configure the node stays, so the user can fix the cause and configure again.
    return nodes + [
        (LifecycleNode if row.is_lifecycle else Node)(
            package=PACKAGE,
            executable=row.executable,
            name=row.node_name,
            namespace=said["namespace"],
            parameters=[str(row.params_file), dict(row.parameters)],
            ros_arguments=["--log-level", said["log_level"]],
            output="screen",
        )
        for row in rows
    ]


def _aggregator(namespace: str) -> list[Node]:
    """Return the aggregator of rqt_robot_monitor's tree, if its package is installed."""
    try:
        get_package_prefix("diagnostic_aggregator")
    except (PackageNotFoundError, OSError):
        return []
    return [
        Node(
            package="diagnostic_aggregator",
            executable="aggregator_node",
            namespace=namespace,
            parameters=[str(share_path("config", "diagnostics_aggregator.yaml"))],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments with descriptions (`ros2 launch ... --show-args`), then the nodes."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in LAUNCH_ARGUMENTS
            ),
            OpaqueFunction(function=_nodes),
        ]
    )
