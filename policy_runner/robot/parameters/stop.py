"""The runner's rows about limits and stops."""

from __future__ import annotations

from policy_runner.core.spec.elements import KINDS
from policy_runner.robot.parameters.parameter import Parameter

STOP_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "stop.position",
        "hold",
        "what HOLD and SAFE_STOP do with positions: hold the last, move to default_joint_pos, or"
        " stiffness 0 with the damping of training, if the message carries gains",
        choices=("hold", "default_pose", "damping"),
        live=True,
    ),
    *(
        Parameter(
            f"stop.{name}",
            "zero",
            f"what HOLD and SAFE_STOP do with {kind.plural}: 0, or hold the last"
            " (allow_runaway_hold)",
            choices=("zero", "hold"),
            live=True,
        )
        for name, kind in KINDS.items()
        if name != "position"
    ),
    Parameter(
        "stop.ramp_s",
        0.0,
        "time in which a stop reaches 0 or the default pose, linearly; 0: in one tick, or for the"
        " pose at max_rate",
        unit="s",
        low=0.0,
        high=60.0,
        live=True,
    ),
    Parameter(
        "allow_runaway_hold",
        False,
        "let stop.* hold a velocity, effort, twist or value: the robot continues to move",
    ),
    Parameter(
        "limits.urdf",
        "",
        "source of limits that neither the parameters nor the policy spec give: the topic"
        " robot_description (topic), or a URDF file (its path); empty: none",
    ),
    Parameter(
        "start_pose.duration",
        0.0,
        "time of the move to default_joint_pos before the policy commands; 0: no move",
        unit="s",
        low=0.0,
        high=60.0,
    ),
    Parameter(
        "start_pose.tolerance",
        0.1,
        "the move ends when every joint is measured within this distance of the pose",
        unit="rad",
        low=1e-4,
        high=3.2,
        live=True,
    ),
    Parameter(
        "blend_in",
        0.0,
        "time in which positions blend from the pose at the start to the policy's; 0: at once",
        unit="s",
        low=0.0,
        high=60.0,
        live=True,
    ),
)
