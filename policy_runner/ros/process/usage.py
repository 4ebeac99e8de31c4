"""`--help` of the nodes' executables, and the refusal of arguments that no node reads.

rclpy ignores every word outside of `--ros-args`. So `policy_runner --help` started a node, and so
did a misspelled option.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from policy_runner.core.errors import did_you_mean
from policy_runner.ros.process.lifetime import ENDED_WELL, START_REFUSED

_TEXT = """usage: {program} [-h]{options} [--ros-args ...]

{what}

All settings are ROS parameters:
  --ros-args --params-file FILE.yaml    read parameters from a file
  --ros-args -p NAME:=VALUE             set one parameter
  --ros-args -r __ns:=/robot1           put the node into a namespace
  --ros-args -r FROM:=TO                use another topic

`ros2 param describe` and docs/reference/parameters.md explain each parameter. `ros2 launch
policy_runner jetson.launch.py` starts the runner with its guard and the sidecar.
"""


def own_words(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line that are not in a `--ros-args` part, without the name."""
    found, inside = [], False
    for word in arguments[1:]:
        if word in ("--ros-args", "--"):
            inside = word == "--ros-args"
        elif not inside:
            found.append(word)
    return found


def answered(
    program: str, arguments: Sequence[str], what: str, options: Collection[str] = ()
) -> int | None:
    """Answer `--help`, and refuse a word that the program does not read.

    Args:
        program: name of the executable.
        arguments: of the process, its name first.
        what: what the node does, for the help text.
        options: words that the program reads itself.

    Returns:
        The exit status; None: start the node.
    """
    words = own_words(arguments)
    if {"-h", "--help"} & set(words):
        shown = "".join(f" [{option}]" for option in options)
        sys.stdout.write(_TEXT.format(program=program, options=shown, what=what))
        return ENDED_WELL
    for word in words:
        if word not in options:
            known = [*options, "--help", "--ros-args"]
            hint = did_you_mean(word, known) or "parameters come after --ros-args; see --help"
            expected = " or ".join([*options, "--ros-args"])
            sys.stderr.write(f"{program}: arguments: expected {expected}, got {word!r}; {hint}\n")
            return START_REFUSED
    return None
