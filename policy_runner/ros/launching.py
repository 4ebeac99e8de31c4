"""What the launch file decides: valid arguments, namespaces, and what follows a runner's end.

Data and pure functions, no ROS: the tests need no launch package.
"""

from __future__ import annotations

from policy_runner.backends.interface import BACKENDS
from policy_runner.ros.process.lifetime import ENDED_WELL, START_REFUSED
from policy_runner.ros.processes import LAUNCH_ARGUMENTS

# Of launch/two_robots.launch.py: name, default and description, like LAUNCH_ARGUMENTS.
TWO_ROBOTS_ARGUMENTS: tuple[tuple[str, str, str], ...] = (
    ("robots", "robot1,robot2", "namespaces of the robots, separated by commas"),
    ("simulated_robot", "false", "true: run a simulated robot in each namespace"),
    ("params_folder", "", "folder with one NAMESPACE.yaml for each robot; empty: the shipped file"),
)
SHUT_DOWN, RESPAWN, IGNORE = "shutdown", "respawn", "ignore"
RESPAWN_AFTER_S = 2.0
# The guard needs the time of `safety` to see the silence, and then sends the stops.
SHUT_DOWN_AFTER_S = 1.0
_CHOICES: dict[str, tuple[str, ...]] = {
    "backend": ("", *BACKENDS),
    "on_runner_exit": (SHUT_DOWN, RESPAWN, IGNORE),
    "log_level": ("debug", "info", "warn", "error", "fatal"),
}


def choices(name: str) -> tuple[str, ...] | None:
    """Return the valid values of a launch argument; None: any text.

    Python's spelling of true and false is valid too, for launch files that include ours.
    """
    default = next(default for argument, default, _ in LAUNCH_ARGUMENTS if argument == name)
    if default in ("true", "false"):
        return ("true", "false", "True", "False")
    return _CHOICES.get(name)


def full_namespace(pushed: str, given: str) -> str:
    """Return the namespace of the nodes, such as "/fleet/robot1"; "" for none.

    Args:
        pushed: what `PushRosNamespace` around an included launch file has set.
        given: the argument `namespace`; absolute if it begins with "/".
    """
    words = [given] if given.startswith("/") else [pushed, given]
    parts = [part for word in words for part in word.split("/") if part]
    return "/" + "/".join(parts) if parts else ""


def after_exit(mode: str, code: int) -> str:
    """Return what follows the end of the runner's process: shutdown, respawn or ignore.

    A runner that was ended on purpose, or whose arguments are wrong, is not started again.

    Args:
        mode: the argument `on_runner_exit`.
        code: the exit status; negative for a signal.
    """
    if mode == RESPAWN and code in (ENDED_WELL, START_REFUSED):
        return SHUT_DOWN
    return mode


# A respawned runner waits for ~/arm, whatever its parameter file says: the reason of the crash is
# not known, and the robot may stand elsewhere than when the operator armed it.
RESPAWNED_PARAMETERS = {"require_arming": True}
