"""Start ROS in a process: check its arguments and parameter files before rcl reads them.

rcl parses parameter files while it initializes, and reports problems in a traceback. This module
reports each problem in one sentence, with file, line and key.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from policy_runner.robot.parameter_files import file_problems
from policy_runner.ros.process.lifetime import with_usable_log


def start_ros(program: str, arguments: Sequence[str]) -> bool:
    """Initialize rclpy without its own signal handlers; False if the arguments are wrong.

    Writes each problem to stderr, in one sentence.

    Args:
        program: name of the program, at the start of each sentence.
        arguments: of the process, its name first; they name the parameter files.
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
        # rcl appends the position in its source code, which does not help the user.
        text = " ".join(str(error).split()).partition(", at ./")[0]
        return [f"ROS arguments: expected arguments that ROS accepts, got: {text}"]
    return []
