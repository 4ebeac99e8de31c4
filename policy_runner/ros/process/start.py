"""How a process begins with ROS: its arguments and files are checked before rcl reads them.

rcl parses parameter files while it initializes, and says what is wrong in a traceback; here it is
one sentence for each problem, with file, line and key.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from policy_runner.robot.parameter_files import file_problems
from policy_runner.ros.process.lifetime import with_usable_log


def start_ros(program: str, arguments: Sequence[str]) -> bool:
    """Initialize rclpy without its own signal handlers; False where the arguments are wrong.

    What is wrong then stands on stderr, each problem in one sentence.

    Args:
        program: what the sentences begin with.
        arguments: of the process, its name first; parameter files are named among them.
    """
    problems = [str(problem) for problem in file_problems(arguments)]
    if not problems:
        problems = _initialize(list(arguments))
    for problem in problems:
        sys.stderr.write(f"{program}: {problem}\n")
    return not problems


def _initialize(arguments: list[str]) -> list[str]:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    try:
        rclpy.init(args=with_usable_log(arguments), signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # noqa: BLE001 - rclpy has no common class for these
        # rcl appends where in its source that was: nothing that a user can act on.
        text = " ".join(str(error).split()).partition(", at ./")[0]
        return [f"ROS arguments: expected ones that ROS accepts, got: {text}"]
    return []
