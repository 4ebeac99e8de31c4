"""The kinds of command are the same in the table, in the spec and in the stops."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from policy_runner.core.settings import StopRule
from policy_runner.core.spec import ActionGroup
from policy_runner.core.spec.elements import KINDS


def test_every_kind_has_its_row_and_its_stop() -> None:
    in_spec = set(get_args(ActionGroup.model_fields["kind"].annotation))
    assert set(KINDS) == in_spec
    assert {field.name for field in fields(StopRule)} - {"ramp_ns"} == in_spec
