"""The policy spec: the format of `policy.yaml`.

`policy` has the whole file, `terms` (with `command_terms` and `motion_terms`), `tensors` and
`action` its parts, `reader` the checks.
Base modules: `base` and `named_numbers`. Other folders import from this module, and from
`elements` for the action's elements.
"""

from __future__ import annotations

from policy_runner.core.spec.action import (
    ActionGroup,
    ActionTensor,
    Argmax,
    Chunk,
    RealTimeChunking,
    RotatedVectors,
    Seam,
    TorqueLimit,
)
from policy_runner.core.spec.base import Limit, NamedNumbers, Names, SmallSignal, TermArithmetic
from policy_runner.core.spec.command_terms import (
    FirstStepTerm,
    IntegratedCommandTerm,
    JoyCommandTerm,
    JoyElement,
    PhaseClockTerm,
    PhaseFrequency,
    PhaseHold,
    PhaseRestart,
    StepCounterTerm,
    VelocityCommandTerm,
    ZeroRule,
)
from policy_runner.core.spec.models import EarlierModel, Model, ServerTensors, Switch
from policy_runner.core.spec.motion_terms import Motion, MotionOrientationTerm, MotionTerm
from policy_runner.core.spec.policy import SCHEMA, Input, PolicySpec, json_schema
from policy_runner.core.spec.reader import SpecFile, read_spec
from policy_runner.core.spec.relation_terms import (
    ChainLink,
    Offset,
    PoseInFrameTerm,
    PoseSource,
    PositionDifferenceTerm,
    RelativeRotationTerm,
)
from policy_runner.core.spec.tensors import (
    FrameTerm,
    History,
    HistoryBlock,
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
    HeadingTerm,
    ImageTerm,
    JointTerm,
    LastActionTerm,
    OccupancyGridTerm,
    Pool,
    ProjectedGravityTerm,
    QuaternionTerm,
    Rotation6dTerm,
    Term,
    TextTerm,
)

__all__ = [
    "SCHEMA",
    "ActionGroup",
    "ActionTensor",
    "Argmax",
    "ChainLink",
    "Chunk",
    "ConstantTerm",
    "CustomTerm",
    "EarlierModel",
    "EulerAnglesTerm",
    "FieldTerm",
    "FirstStepTerm",
    "FrameTerm",
    "HeadingTerm",
    "History",
    "HistoryBlock",
    "ImageTerm",
    "Input",
    "IntegratedCommandTerm",
    "JointTerm",
    "JoyCommandTerm",
    "JoyElement",
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
    "OccupancyGridTerm",
    "Offset",
    "PerTermNormalization",
    "PhaseClockTerm",
    "PhaseFrequency",
    "PhaseHold",
    "PhaseRestart",
    "PolicySpec",
    "Pool",
    "PoseInFrameTerm",
    "PoseSource",
    "PositionDifferenceTerm",
    "ProjectedGravityTerm",
    "QuaternionTerm",
    "RealTimeChunking",
    "RelativeRotationTerm",
    "RotatedVectors",
    "Rotation6dTerm",
    "Seam",
    "ServerTensors",
    "SmallSignal",
    "SpecFile",
    "State",
    "StepCounterTerm",
    "StoredTensor",
    "Switch",
    "Term",
    "TermArithmetic",
    "TextTerm",
    "TorqueLimit",
    "VelocityCommandTerm",
    "ZeroRule",
    "json_schema",
    "read_spec",
]
