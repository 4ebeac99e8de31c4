"""The rows of the black box."""

from __future__ import annotations

from policy_runner.robot.parameters.parameter import Parameter

BLACK_BOX_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "black_box.seconds",
        10.0,
        "how much of the newest inputs, observations and commands stays in memory; 0: no black box",
        unit="s",
        low=0.0,
        high=3600.0,
        at_start=True,
    ),
    Parameter(
        "black_box.memory",
        64,
        "memory of the black box, allocated at the start; if it is too small, less time is kept",
        unit="MiB",
        low=1,
        high=65_536,
        at_start=True,
    ),
    Parameter(
        "black_box.folder",
        "",
        "folder of the files; empty: black_box in the folder of ROS's logs",
        at_start=True,
    ),
    Parameter(
        "black_box.disk",
        512,
        "most that this node's files may take together; the oldest are removed",
        unit="MiB",
        low=1,
        high=1_048_576,
        at_start=True,
    ),
)
