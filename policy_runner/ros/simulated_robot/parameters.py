"""The parameters of `simulated_robot`: one table, read once when the node starts."""

from __future__ import annotations

from policy_runner.robot.parameters.naming import NAMING_ROWS
from policy_runner.robot.parameters.parameter import Parameter

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "mode",
        "realtime",
        "realtime: the wall clock drives; lockstep: every tick waits for the runner's answer",
        choices=("realtime", "lockstep"),
    ),
    Parameter("seed", 0, "Seed of start, commands and pushes", low=0, high=2**31 - 1),
    Parameter("rate", 100, "Ticks a second, a divisor of 500", unit="Hz", low=10, high=500),
    Parameter(
        "duration",
        0.0,
        "Simulated time after which the run ends; 0 is endless",
        unit="s",
        low=0.0,
        high=1e6,
    ),
    Parameter(
        "commands",
        "random",
        "Source of cmd_vel: random (this node sends random velocities) or none (another node)",
        choices=("random", "none"),
    ),
    Parameter("pushes", True, "Push the robot now and then"),
    Parameter(
        "hold",
        True,
        "Realtime: hold the robot, and its time, until the first command that is not zero; also "
        "when it stands up after a fall while the commands are zero, without a duration",
    ),
    Parameter("noise", False, "Add sensor noise to the readings"),
    Parameter(
        "command_delay",
        0.0,
        "Additional delay of a wheel command on its way to the motors",
        unit="s",
        low=0.0,
        high=1.0,
    ),
    Parameter(
        "heartbeat_timeout",
        0.3,
        "Realtime: after the first policy_runner/status, stop the wheels and ignore commands while "
        "it is silent for longer; 0: never",
        unit="s",
        low=0.0,
        high=10.0,
    ),
    Parameter(
        "command_type",
        "joint_state",
        "Message type of joint_commands",
        choices=("joint_state", "joint_trajectory"),
    ),
    Parameter(
        "publish_clock",
        False,
        "Publish /clock and stamp with simulated time in realtime mode too (lockstep always does)",
    ),
    Parameter(
        "repeat_after",
        0.2,
        "Lockstep: repeat an unanswered tick after this time",
        unit="s",
        low=0.01,
        high=10.0,
    ),
    Parameter(
        "answer_timeout",
        10.0,
        "Lockstep: without an answer for this time the run ends with an error",
        unit="s",
        low=0.05,
        high=3600.0,
    ),
    Parameter(
        "first_answer_timeout",
        30.0,
        "Lockstep: the same for the first answer, while the runner starts and is discovered. "
        "Realtime with a duration: the same for the first command, which releases the robot",
        unit="s",
        low=0.05,
        high=3600.0,
    ),
    Parameter("report", "", "JSON file that gets the score at the end; empty for none"),
    Parameter("viewer", False, "Show the robot in a window, if there is a screen"),
    *NAMING_ROWS,
)
