"""Which node and which machine a status on `/diagnostics` comes from.

Two robots in one graph publish on the same topic. Tools that sort or keep statuses by name, such as
`diagnostic_aggregator`, need the namespace in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policy_runner.ros.diagnostics.status import make_status
from policy_runner.telemetry.host.identity import read_identity
from policy_runner.telemetry.host_files import HostFiles

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticStatus
    from rclpy.node import Node


@dataclass(frozen=True)
class StatusSource:
    """The node's name and the machine, as every status of the node has them."""

    node: str  # first part of every status name
    hardware_id: str

    @property
    def is_full(self) -> bool:
        """Whether the name includes the namespace."""
        return self.node.startswith("/")

    def status(
        self, part: str, level: int, message: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        """Build one status of this node; `part` is the second part of its name."""
        return make_status(f"{self.node}: {part}", level, message, values, self.hardware_id)


def status_source(
    node: Node, values: Mapping[str, Any], files: HostFiles | None = None
) -> StatusSource:
    """Return the source of a node's statuses.

    Args:
        node: the node.
        values: of its parameters, with those of `NAMING_ROWS`.
        files: of the machine; None: those of this one.
    """
    asked = values["diagnostics.full_names"]
    is_full = asked == "always" or (asked == "auto" and node.get_namespace() != "/")
    name = node.get_fully_qualified_name() if is_full else node.get_name()
    hardware = values["hardware_id"]
    return StatusSource(name, hardware or read_identity(files or HostFiles("/")).hardware_id)
