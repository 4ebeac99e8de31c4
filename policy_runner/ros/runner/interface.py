"""The node, as its parts see it."""

from __future__ import annotations

from abc import abstractmethod

from rclpy.lifecycle import LifecycleNode

from policy_runner.ros.inputs.estop import EstopInput
from policy_runner.ros.parameters.declared import DeclaredParameters
from policy_runner.ros.runner.configure import ConnectedPolicy
from policy_runner.ros.runner.control_loop import ControlLoop
from policy_runner.ros.runner.guard_link import GuardLink


class RunnerNode(LifecycleNode):
    """What services, reports and reload use of the node, besides what every rclpy node has.

    A base class, since a Protocol cannot extend rclpy's node: it would repeat some twenty of its
    methods, and what takes a node would not accept it.
    """

    parameters: DeclaredParameters
    estop: EstopInput
    guard: GuardLink

    @property
    @abstractmethod
    def configured(self) -> ConnectedPolicy | None:
        """The policy that configure connected; None before it, and after cleanup."""

    @property
    @abstractmethod
    def loop(self) -> ControlLoop | None:
        """The control loop; None while the node is not active."""

    @abstractmethod
    def adopt(self, connected: ConnectedPolicy) -> None:
        """Use this policy from now on: it was configured, or has replaced the present one."""
