"""The parameters of `simulated_robot`: one table, read once when the node starts."""

from __future__ import annotations

from policy_runner.robot.parameters.naming import NAMING_ROWS
from policy_runner.robot.parameters.parameter import Parameter

COMMAND_MESSAGES = (
    "joint_state",
    "joint_trajectory",
    "float64_multi_array",
    "float64",
)
PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "mode",
        "realtime",
        "realtime: the wall clock drives; lockstep: every tick waits for the runner's answer",
        choices=("realtime", "lockstep"),
    ),
    Parameter(
        "robot",
        "",
        "robot.yaml, MJCF or URDF; empty: the balancer of the demo, in its scenario",
    ),
    Parameter(
        "policy",
        "",
        "policy.yaml or its folder: the robot starts in its default pose and has its gains",
    ),
    Parameter(
        "policy_parameters",
        "",
        "Parameter file of the runner, for the joint names and signs of `policy`",
    ),
    Parameter(
        "task",
        "none",
        "With `robot`: reach: balls appear that the site `fingertip` has to reach, and the report "
        "counts them; none: no task",
        choices=("none", "reach"),
    ),
    Parameter("meshes", True, "With `robot`: false loads the model without its meshes"),
    Parameter(
        "shuffle_joints",
        -1,
        "With `robot`: seed of a random order of the joints in joint_states; -1: their own order",
        low=-1,
        high=2**31 - 1,
    ),
    Parameter("seed", 0, "Seed of start, noise, commands, pushes and balls", low=0, high=2**31 - 1),
    Parameter(
        "rate",
        100,
        "Ticks a second; a tick must be a whole number of physics steps",
        unit="Hz",
        low=1,
        high=2000,
    ),
    Parameter(
        "period",
        0.0,
        "With `robot`: the period of a tick, such as 0.012; 0: 1 / `rate`",
        unit="s",
        low=0.0,
        high=1.0,
    ),
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
        "Source of cmd_vel: random (this node: random velocities, or `twist` with `robot`) or none "
        "(another node)",
        choices=("random", "none"),
    ),
    Parameter(
        "twist",
        (0.0, 0.0, 0.0),
        "With `robot`: the velocity on cmd_vel, x and y in m/s, yaw in rad/s",
        kind="float[]",
    ),
    Parameter(
        "twist_type",
        "twist_stamped",
        "Message type of cmd_vel",
        choices=("twist_stamped", "twist"),
    ),
    Parameter("twist_topic", "cmd_vel", "Topic of the commanded velocity; the policy reads it"),
    Parameter(
        "fallen_tilt",
        1.0,
        "With `robot`: the report counts a larger tilt of the base as a fall",
        unit="rad",
        low=0.0,
        high=3.2,
    ),
    Parameter("pushes", True, "Push the balancer now and then"),
    Parameter(
        "hold",
        True,
        "Realtime: hold the robot, and its time, until the first command (of the balancer: that is "
        "not zero); also when it stands up after a fall while the commands are zero, without a "
        "duration",
    ),
    Parameter("noise", False, "Add the noise of robot.yaml to the readings"),
    Parameter(
        "command_delay",
        0.0,
        "Additional delay of a command on its way to the motors",
        unit="s",
        low=0.0,
        high=1.0,
    ),
    Parameter(
        "heartbeat_timeout",
        0.3,
        "Realtime: after the first policy_runner/status, stop the motors and ignore commands while "
        "it is silent for longer; 0: never",
        unit="s",
        low=0.0,
        high=10.0,
    ),
    Parameter(
        "command_type",
        "joint_state",
        "Message type of the commands of joints",
        choices=tuple(COMMAND_MESSAGES),
    ),
    Parameter(
        "command_twist_type",
        "twist_stamped",
        "Message type of twist commands",
        choices=("twist_stamped", "twist"),
    ),
    Parameter(
        "command_kinds",
        ("velocity",),
        "Kinds of the commands: position, velocity, effort, twist; several come on topics of their "
        "own, such as joint_commands/position",
        kind="str[]",
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
