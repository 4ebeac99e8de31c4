"""On simulated time all of the robot's rules hold, except the rules about wall time."""

from __future__ import annotations

from typing import Any

import pytest
from runner_rig import spec as toy

from policy_runner.core.settings import Settings
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import action_elements
from policy_runner.robot.config import robot_config
from policy_runner.robot.parameters.policy import policy_rows
from policy_runner.robot.parameters.runner import TABLE
from policy_runner.robot.settings import build_settings


def _settings(simulated: bool, **given: Any) -> Settings:
    spec = PolicySpec.model_validate(toy())
    elements = action_elements(spec, "policy.yaml")
    values = {row.name: row.default for row in (*TABLE, *policy_rows(spec, elements))}
    named = {name.replace("__", "."): value for name, value in given.items()}
    assert set(named) <= set(values), set(named) - set(values)
    config = robot_config(values | named, spec, elements, simulated=simulated)
    return build_settings(config, spec, elements)


@pytest.mark.parametrize("simulated", [False, True])
def test_lateness_is_judged_on_the_wall_clock_alone(simulated: bool) -> None:
    # Simulated time may be slower than an inference, and /clock less frequent than a tick.
    found = _settings(simulated, safety__late_inferences=7, safety__late_ticks=9)
    expected = (0, 0) if simulated else (7, 9)
    assert (found.late_inferences, found.late_ticks) == expected


@pytest.mark.parametrize("simulated", [False, True])
def test_every_other_rule_holds_on_both(simulated: bool) -> None:
    given = {
        "safety__max_tilt": 0.5,
        "safety__hold_recover": 0.3,
        "safety__safe_stop_after": 4.0,
        "safety__recover": "auto",
        "safety__reset_after": 0.7,
        "safety__executor_timeout": 3.0,
        "safety__callback_failures": 6,
        "require_arming": True,
        "inputs__joints__max_age": 0.25,
        "inputs__joints__on_stale": "safe_stop",
        "inputs__joints__strict_stamp": True,
        "joints__left_joint__max_velocity": 8.0,
        "joints__left_joint__upper": 2.0,
        "joints__left_joint__max_rate": 5.0,
        "stop__ramp_s": 0.4,
    }
    found = _settings(simulated, **given)
    assert found.max_tilt_rad == 0.5
    assert found.hold_recover_ns == 300_000_000
    assert found.safe_stop_after_ns == 4_000_000_000
    assert (found.recover, found.require_arming) == ("auto", True)
    assert found.reset_after_ns == 700_000_000
    assert found.executor_timeout_ns == 3_000_000_000
    assert found.callback_failures == 6
    rule = found.inputs["joints"]
    assert (rule.max_age_ns, rule.on_stale, rule.strict_stamp) == (250_000_000, "safe_stop", True)
    assert dict(found.max_velocity) == {"left_joint": 8.0}
    assert found.limits.high[0] == 2.0
    assert found.limits.max_step[0] == pytest.approx(0.1)
    assert found.stops.ramp_ns == 400_000_000
