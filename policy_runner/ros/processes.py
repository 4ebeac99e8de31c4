"""The processes to start and their parameters, for the launch file, `run` and `demo`.

Data only, no ROS: the launch file turns rows into actions, the commands into child processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from policy_runner.package_files import share_path

PACKAGE = "policy_runner"


@dataclass(frozen=True)
class Arguments:
    """The user's choices; '' means: use the parameter file or the node's default."""

    params_file: str = ""
    policy: str = ""
    backend: str = ""
    simulated_robot: bool = False
    dry_run: bool = False
    use_sim_time: bool = False
    lockstep: bool = False
    sidecar: bool = True
    guard: bool = True
    autostart: bool = True
    robot: Mapping[str, Any] = field(default_factory=dict)  # parameters of the simulated robot


# Name, default and description of each launch argument; the launch file declares exactly these.
LAUNCH_ARGUMENTS: tuple[tuple[str, str, str], ...] = (
    ("params_file", "", "YAML file with the parameters of all nodes; empty: the shipped one"),
    ("policy", "", "policy.yaml or its folder; empty: as the parameter file says"),
    ("backend", "", "auto, onnxruntime, tensorrt, remote; empty: as the parameter file says"),
    ("simulated_robot", "false", "true: run the simulated balancing robot and its policy"),
    ("dry_run", "false", "true: do not command the robot; commands go to ~/dry_run"),
    ("use_sim_time", "false", "true: take the time from /clock"),
    ("lockstep", "false", "true: with the simulated robot, step by step on simulated time"),
    ("sidecar", "true", "true: run jetson_diagnostics as well"),
    ("guard", "true", "true: run policy_runner_guard, which stops the robot if the runner cannot"),
    ("autostart", "true", "true: the runner configures and activates itself"),
    ("aggregator", "true", "true: sort the diagnostics for rqt, if diagnostic_aggregator is there"),
    ("on_runner_exit", "shutdown", "shutdown: end the launch; respawn: start it again, unarmed"),
    ("namespace", "", "namespace of all nodes"),
    ("log_level", "info", "debug, info, warn, error"),
)


@dataclass(frozen=True)
class Process:
    """One node in one process."""

    executable: str
    module: str  # for `python -m`, without a ROS environment that has the executable
    node_name: str
    params_file: Path
    parameters: Mapping[str, Any]  # override those of the file
    is_lifecycle: bool = False


def processes(arguments: Arguments) -> list[Process]:
    """Return the processes to start, in order.

    Raises:
        FileNotFoundError: a shared file or the parameter file does not exist.
    """
    simulated = arguments.simulated_robot
    shipped = "balancer.yaml" if simulated else "policy_runner.yaml"
    params = Path(arguments.params_file).expanduser() if arguments.params_file else None
    if params is not None and not params.is_file():
        raise FileNotFoundError(f"params_file: expected a YAML file, got {params}: no such file")
    params = params.resolve() if params is not None else share_path("config", shipped)
    policy = arguments.policy
    if not policy and simulated:
        policy = str(share_path("models", "balancer"))
    on_simulated_time = arguments.use_sim_time or arguments.lockstep
    runner: dict[str, Any] = {
        "autostart": arguments.autostart,
        "use_sim_time": on_simulated_time,
        "lockstep": arguments.lockstep,
        "dry_run": arguments.dry_run,
    }
    runner.update({"policy": policy} if policy else {})
    runner.update({"backend": arguments.backend} if arguments.backend else {})
    rows = []
    if simulated:
        mode = "lockstep" if arguments.lockstep else "realtime"
        robot = {"mode": mode, "publish_clock": on_simulated_time, **arguments.robot}
        rows.append(_row("simulated_robot", params, robot))
    rows.append(_row("policy_runner", params, runner, is_lifecycle=True))
    if arguments.guard:
        rows.append(_row("policy_runner_guard", params, {}))
    if arguments.sidecar:
        rows.append(_row("jetson_diagnostics", params, {}))
    return rows


def renamed(rows: Sequence[Process], runner: str) -> list[Process]:
    """Return the rows with another name of the runner.

    The guard is named after its runner. The sidecar keeps its name, and joins that runner's
    statuses. The parameter files must have sections for the new names.
    """
    names = {"policy_runner": runner, "policy_runner_guard": f"{runner}_guard"}
    watched = {"jetson_diagnostics": {"policy.runner": runner}}
    return [
        replace(
            row,
            node_name=names.get(row.node_name, row.node_name),
            parameters={**row.parameters, **watched.get(row.node_name, {})},
        )
        for row in rows
    ]


# Executable -> the folder in `ros/` that has its `main.py`.
_ROOMS = {
    "policy_runner": "runner",
    "policy_runner_guard": "guard",
    "jetson_diagnostics": "sidecar",
    "simulated_robot": "simulated_robot",
}


def _row(
    name: str, params_file: Path, parameters: Mapping[str, Any], is_lifecycle: bool = False
) -> Process:
    module = f"policy_runner.ros.{_ROOMS[name]}.main"
    return Process(name, module, name, params_file, parameters, is_lifecycle)
