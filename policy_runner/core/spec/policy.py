"""The policy spec: the file `policy.yaml`, which describes how the policy was trained.

These models only define the keys and their types. `reader` reads the file and adds the checks that
need several keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, PositiveFloat

from policy_runner.core.spec.action import Actions, Chunk, LastAction
from policy_runner.core.spec.base import (
    Limit,
    Name,
    NamedNumbers,
    Strict,
    TensorName,
)
from policy_runner.core.spec.models import Model, Models, Switch
from policy_runner.core.spec.motion_terms import Motion
from policy_runner.core.spec.tensors import (
    Observation,
    State,
)

SCHEMA = "policy_runner/1"


class Input(Strict):
    """A message from the robot: its type and its default topic (remap it as usual)."""

    type: Annotated[str, Field(pattern=r"^\w+/msg/\w+$")] = Field(
        description="such as sensor_msgs/msg/Imu"
    )
    topic: Name = Field(description="relative topic name")


class AbsentJoint(Strict):
    """A joint of the policy that this robot lacks: constants that the policy reads instead."""

    position: FiniteFloat | Literal["default_joint_pos"] = Field(
        0.0,
        description="rad, before `relative_to`; or default_joint_pos of the spec; default 0",
    )
    velocity: FiniteFloat = Field(0.0, description="rad/s; default 0")
    effort: FiniteFloat = Field(0.0, description="N m; default 0")
    last_action: FiniteFloat = Field(
        0.0, description="value in last_action terms, before their scale; default 0"
    )


class PolicySpec(Strict):
    """The whole file."""

    schema_version: Literal["policy_runner/1"] = Field(
        alias="schema", description="version of this format: policy_runner/1"
    )
    name: Name = Field(description="name of the policy, for people")
    description: str = Field("", description="for people; default: none")
    model: Model = Field(description="the network")
    models: Models = Field(
        {},
        description="models that run before `model` in the same inference, in this order, by a name"
        " of your choice; default: none",
    )
    control_dt: PositiveFloat = Field(description="s between two inferences in training")
    joint_names: list[Name] = Field(
        description="every joint that the policy reads or commands, in the policy's order;"
        " empty for a policy without joints"
    )
    absent_joints: Mapping[str, AbsentJoint] = Field(
        {},
        description="joints of joint_names that this robot lacks, by name or pattern: they are not"
        " commanded, and no message has to have them; default: none",
    )
    default_joint_pos: NamedNumbers | None = Field(
        None,
        description="rad (m), per joint of joint_names: the pose that `relative_to` may name",
    )
    stiffness: NamedNumbers | None = Field(
        None, description="N m/rad, per joint of joint_names: gains of training, for the robot"
    )
    damping: NamedNumbers | None = Field(
        None, description="N m s/rad, per joint of joint_names: gains of training, for the robot"
    )
    effort_limit: NamedNumbers | None = Field(
        None, description="N m, per joint of joint_names: limits of training, for effort_from_pd"
    )
    limits: Mapping[str, Limit] = Field(
        {},
        description="limits of the robot's commands, by name or pattern of joints, axes or"
        " elements; the runner's parameters have priority",
    )
    inputs: Mapping[str, Input] = Field(description="messages by a name of your choice")
    motions: Mapping[str, Motion] = Field({}, description="reference motions by name")
    observation: Observation = Field(
        description="every input of the model that is no recurrent state"
    )
    state: list[State] = Field([], description="recurrent state; default: none")
    action: Actions = Field(description="outputs of the model that command something")
    chunk: Chunk | None = Field(
        None, description="the outputs are several future actions; default: one action"
    )
    ignored_outputs: list[TensorName] = Field(
        [], description="outputs of the model that command nothing; default: none"
    )
    last_action: LastAction = Field(
        description="value that last_action terms read: the output, the value after clip_raw, the"
        " target, or the target after the robot's limits"
    )
    switch: Switch | None = Field(
        None, description="other policies, and the rule that selects one; default: only this one"
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `policy.yaml`, for editors."""
    schema = PolicySpec.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"policy spec, {SCHEMA}"
    return schema
