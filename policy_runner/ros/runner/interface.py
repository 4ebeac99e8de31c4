"""The interface of the runner's node for its parts."""

from __future__ import annotations

from abc import abstractmethod

from rclpy.lifecycle import LifecycleNode

from policy_runner.ros.black_box.keeper import BlackBox
from policy_runner.ros.inputs.estop import EstopInput
from policy_runner.ros.parameters.declared import DeclaredParameters
from policy_runner.ros.parameters.unknown_names import RefusesUnknownNames
from policy_runner.ros.runner.configure import ConnectedPolicy
from policy_runner.ros.runner.control_loop import ControlLoop
from policy_runner.ros.runner.guard_link import GuardLink


class RunnerNode(RefusesUnknownNames, LifecycleNode):
    """The members that services, reports and reload use, in addition to those of rclpy's node.

    A base class, because a Protocol cannot extend rclpy's node. A Protocol would repeat about
    twenty of its methods, and functions that take a node would not accept it.
    """

    parameters: DeclaredParameters
    estop: EstopInput
    guard: GuardLink
    black_box: BlackBox

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
