"""`ros2 launch policy_runner jetson.launch.py`: the runner and its sidecar, from one table."""

from __future__ import annotations

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    Shutdown,
    TimerAction,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription
from policy_runner.ros.aggregator import aggregator_parameters
from policy_runner.ros.launching import (
    IGNORE,
    RESPAWN,
    RESPAWN_AFTER_S,
    RESPAWNED_PARAMETERS,
    SHUT_DOWN_AFTER_S,
    after_exit,
    choices,
    full_namespace,
)
from policy_runner.ros.processes import LAUNCH_ARGUMENTS, PACKAGE, Arguments, processes

_AGGREGATED = ("diagnostics_agg", "diagnostics_toplevel_state")


def _nodes(context, *_args):  # type: ignore[no-untyped-def]
    said = {name: LaunchConfiguration(name).perform(context) for name, _, _ in LAUNCH_ARGUMENTS}

    def yes(name: str) -> bool:
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
    pushed = context.launch_configurations.get("ros_namespace", "")
    said["namespace"] = full_namespace(pushed, said["namespace"])
    nodes = _aggregator(said["namespace"]) if yes("aggregator") else []
    # The runner configures and activates itself (`autostart`): the same on every distribution,
    # and a refused configure leaves a node that can be corrected and configured again.
    return nodes + [_runner(row, said) if row.is_lifecycle else _node(row, said) for row in rows]


def _options(row, said, **parameters):  # type: ignore[no-untyped-def]
    """What every node of ours gets."""
    return {
        "package": PACKAGE,
        "executable": row.executable,
        "name": row.node_name,
        "namespace": said["namespace"],
        "parameters": [str(row.params_file), {**row.parameters, **parameters}],
        "ros_arguments": ["--log-level", said["log_level"]],
        "output": "screen",
    }


def _node(row, said):  # type: ignore[no-untyped-def]
    again = said["on_runner_exit"] == RESPAWN and row.executable != "simulated_robot"
    return Node(respawn=again, respawn_delay=RESPAWN_AFTER_S, **_options(row, said))


def _runner(row, said, **parameters):  # type: ignore[no-untyped-def]
    """The runner, and what follows its end; `parameters` replace those of the row."""

    def ended(event, context):  # type: ignore[no-untyped-def]
        then = after_exit(said["on_runner_exit"], event.returncode)
        if context.is_shutdown or then == IGNORE:
            return None
        what = f"{said['namespace']}/{row.node_name} ended with status {event.returncode}"
        if then == RESPAWN:
            return [
                LogInfo(msg=f"{what}; started again in {RESPAWN_AFTER_S:g} s, waits for ~/arm"),
                TimerAction(
                    period=RESPAWN_AFTER_S, actions=[_runner(row, said, **RESPAWNED_PARAMETERS)]
                ),
            ]
        # Not at once: the guard must see the silence and send the stops before it ends as well.
        return [
            LogInfo(msg=f"{what}; the launch ends (on_runner_exit:=respawn, ignore)"),
            TimerAction(period=SHUT_DOWN_AFTER_S, actions=[Shutdown(reason=what)]),
        ]

    return LifecycleNode(on_exit=ended, **_options(row, said, **parameters))


def _aggregator(namespace: str) -> list[Node]:
    """The tree for rqt_robot_monitor, where the package that builds it is installed."""
    try:
        get_package_prefix("diagnostic_aggregator")
    except (PackageNotFoundError, OSError):
        return []
    return [
        Node(
            package="diagnostic_aggregator",
            executable="aggregator_node",
            name="diagnostic_aggregator",
            namespace=namespace,
            parameters=[aggregator_parameters(namespace)],
            # Its topics are absolute: two aggregators would publish into the same tree.
            remappings=[(f"/{topic}", topic) for topic in _AGGREGATED] if namespace else [],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments with descriptions (`ros2 launch ... --show-args`), then the nodes."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    name, default_value=default, description=text, choices=choices(name)
                )
                for name, default, text in LAUNCH_ARGUMENTS
            ),
            OpaqueFunction(function=_nodes),
        ]
    )
