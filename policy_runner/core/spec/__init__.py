"""The policy spec: the format of `policy.yaml`.

`policy` has the whole file, `terms`, `tensors` and `action` its parts, `reader` the checks.
Base modules: `base` and `named_numbers`. Other folders import from this module, and from
`elements` for the action's elements.
"""

from __future__ import annotations

from policy_runner.core.spec.action import ActionGroup, ActionTensor, Argmax
from policy_runner.core.spec.base import Limit, NamedNumbers, Names
from policy_runner.core.spec.models import EarlierModel, Model, Switch
from policy_runner.core.spec.policy import SCHEMA, Input, PolicySpec, json_schema
from policy_runner.core.spec.reader import SpecFile, read_spec
from policy_runner.core.spec.tensors import (
    FrameTerm,
    History,
    ModelOutputTerm,
    Normalization,
    ObservationTensor,
    PerTermNormalization,
    State,
    StoredTensor,
)
from policy_runner.core.spec.terms import (
    ConstantTerm,
    CustomTerm,
    EulerAnglesTerm,
    FieldTerm,
    FirstStepTerm,
    HeadingTerm,
    ImageTerm,
    JointTerm,
    LastActionTerm,
    Motion,
    MotionOrientationTerm,
    MotionTerm,
    PhaseClockTerm,
    PhaseHold,
    Pool,
    PoseInFrameTerm,
    PoseSource,
    ProjectedGravityTerm,
    QuaternionTerm,
    Rotation6dTerm,
    StepCounterTerm,
    Term,
    TermArithmetic,
    VelocityCommandTerm,
)

__all__ = [
    "SCHEMA",
    "ActionGroup",
    "ActionTensor",
    "Argmax",
    "ConstantTerm",
    "CustomTerm",
    "EarlierModel",
    "EulerAnglesTerm",
    "FieldTerm",
    "FirstStepTerm",
    "FrameTerm",
    "HeadingTerm",
    "History",
    "ImageTerm",
    "Input",
    "JointTerm",
    "LastActionTerm",
    "Limit",
    "Model",
    "ModelOutputTerm",
    "Motion",
    "MotionOrientationTerm",
    "MotionTerm",
    "NamedNumbers",
    "Names",
    "Normalization",
    "ObservationTensor",
    "PerTermNormalization",
    "PhaseClockTerm",
    "PhaseHold",
    "PolicySpec",
    "Pool",
    "PoseInFrameTerm",
    "PoseSource",
    "ProjectedGravityTerm",
    "QuaternionTerm",
    "Rotation6dTerm",
    "SpecFile",
    "State",
    "StepCounterTerm",
    "StoredTensor",
    "Switch",
    "Term",
    "TermArithmetic",
    "VelocityCommandTerm",
    "json_schema",
    "read_spec",
]
