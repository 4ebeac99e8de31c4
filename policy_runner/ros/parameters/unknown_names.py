"""The answer to `ros2 param set` with a name that the node does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from policy_runner.robot.parameter_files import unknown_name

if TYPE_CHECKING:
    from rclpy.node import Node

    _Base = Node
else:
    _Base = object


class RefusesUnknownNames(_Base):
    """A base of our nodes, before rclpy's.

    rclpy's own answer is "Invalid access to undeclared parameter(s): []", without the name: its
    callback of the service gives the exception only a message.
    """

    def set_parameters_atomically(self, parameters: list[Any]) -> Any:
        """Set all of the parameters or none; an unknown name is refused with the nearest one."""
        from rcl_interfaces.msg import SetParametersResult

        for parameter in parameters:
            if not self.has_parameter(parameter.name):
                # Not list_parameters, which Humble does not have.
                known = list(self.get_parameters_by_prefix(""))
                reason = unknown_name(parameter.name, known)
                return SetParametersResult(successful=False, reason=reason)
        return super().set_parameters_atomically(parameters)
