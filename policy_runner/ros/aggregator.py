"""The parameters of `diagnostic_aggregator`: the shipped file, for the namespace of one robot.

Data only, no ROS: the launch file passes them on.
"""

from __future__ import annotations

from typing import Any

from policy_runner.package_files import share_path
from policy_runner.robot.parameter_yaml import read_parameter_file

FILE = "diagnostics_aggregator.yaml"
# Keys of an analyzer that hold beginnings of status names.
_NAME_KEYS = ("startswith", "remove_prefix")


def aggregator_parameters(namespace: str) -> dict[str, Any]:
    """Return the parameters of `diagnostic_aggregator` for the nodes of one namespace.

    In a namespace, status names begin with it (parameter `diagnostics.full_names`). So each robot
    has an aggregator of its own, which sorts only this robot's statuses.

    Args:
        namespace: such as "/robot1"; "" or "/": none.

    Returns:
        Flat names, such as "policy.path", and their values.

    Raises:
        FileNotFoundError: the shipped file does not exist.
        Refusal: the shipped file cannot be read.
    """
    (section,) = read_parameter_file(share_path("config", FILE))
    space = namespace.strip("/")
    if not space:
        return dict(section.keys)
    found: dict[str, Any] = {}
    for key, value in section.keys.items():
        if key.rpartition(".")[2] in _NAME_KEYS:
            value = [f"/{space}{name}" for name in value if name.startswith("/")]
        found[key] = value
    found["path"] = f"{found['path']} {space.replace('/', ' ')}"
    return found
