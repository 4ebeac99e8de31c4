"""Settings of a policy that is configured, with what may change since then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_runner.core.errors import Refusal
from policy_runner.core.pipeline.build import reads_gravity
from policy_runner.core.settings import Settings
from policy_runner.robot.settings import build_settings
from policy_runner.ros.parameters.parameter_table import DeclaredParameters
from policy_runner.ros.runner.configured import Configured


def live_settings(
    made: Configured, parameters: DeclaredParameters, changed: Mapping[str, Any]
) -> Settings:
    """What it was configured with, but for the rows that may change while it runs.

    Those have their present values, or that of `changed`, which is being set. All others may be
    set while the node is inactive, and mean nothing before the next configure.

    Raises:
        Refusal: values that contradict each other.
    """
    present = {**parameters.values(), **changed}
    live = {
        name: value
        for name, value in present.items()
        if name in made.values and parameters.row(name).live
    }
    values = {**made.values, **live}
    settings = build_settings(values, made.spec, made.pipeline.elements, made.simulated)
    if settings.max_tilt_rad and not reads_gravity(made.spec):
        raise Refusal(["parameter safety.max_tilt: expected 0, since no term reads gravity"])
    return settings
