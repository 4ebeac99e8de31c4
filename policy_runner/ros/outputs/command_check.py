"""The parameters `command.*` as `configure` checks them, without a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import Problem, collect
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.spec import PolicySpec
from policy_runner.ros.outputs.command_format import command_format
from policy_runner.ros.outputs.command_publisher import CommandPublisher


class _NoNode:
    """Where a publisher would be made; nothing is."""

    def create_publisher(self, *_arguments: object, **_named: object) -> Any:
        return None


def command_problems(
    values: Mapping[str, Any],
    spec: PolicySpec,
    file: str,
    pipeline: Pipeline,
    joints: Mapping[str, RobotJoint],
) -> list[Problem | str]:
    """Every reason why the command could not be published as the parameters ask for it."""
    problems: list[Problem | str] = []
    if values["lockstep"] and not values["use_sim_time"]:
        got = "expected use_sim_time to be true as well, got false"
        problems.append(f"parameter lockstep: {got}")
    if values["lockstep"] and values["command.type"].startswith("float64"):
        expected = "joint_state or joint_trajectory in lockstep, since the answer needs a stamp"
        problems.append(Problem("", "parameter command.type", expected, values["command.type"]))
    pd = None
    if values["command.effort_from_pd"]:
        with collect(problems):
            pd = EffortFromPd(spec, file, pipeline.elements, list(pipeline.slots.values()))
    with collect(problems):
        form = command_format(values, spec, file, joints, pipeline.settings.period_ns)
        order = values["command.joint_names"]
        CommandPublisher(_NoNode(), "joint_commands", form, pipeline.elements, joints, order, pd)
    return problems
