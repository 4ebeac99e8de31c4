"""The rows of every node about its names on `/diagnostics`."""

from __future__ import annotations

from policy_runner.robot.parameters.parameter import Parameter

NAMING_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "diagnostics.full_names",
        "auto",
        "begin status names with the node's full name (/robot1/policy_runner) instead of its name;"
        " auto: in a namespace",
        choices=("auto", "always", "never"),
        at_start=True,
    ),
    Parameter(
        "hardware_id",
        "",
        "hardware_id of every status; empty: host name, board and serial number",
        at_start=True,
    ),
)
