"""Run a trained policy on a ROS 2 robot: exact, punctual, safe and observable.

This module is the public API for use without ROS. Each name is imported at its first use:

    from policy_runner import load_policy

    policy = load_policy("models/balancer")
    policy.feed("imu", {"angular_velocity": [0, 0, 0], "orientation": [0, 0, 0, 1]}, now_ns=0)
    ...
    step = policy.pipeline.step(now_ns=0)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "LoadedPolicy",
    "PolicySpec",
    "Problem",
    "Refusal",
    "UserTerm",
    "__version__",
    "load_policy",
    "read_spec",
]

if TYPE_CHECKING:
    from policy_runner.core.errors import Problem, Refusal
    from policy_runner.core.observation.terms.custom import UserTerm
    from policy_runner.core.spec import PolicySpec, read_spec
    from policy_runner.robot.load import LoadedPolicy, load_policy

# Import lazily: `policy-runner --help` and the launch file need neither numpy nor a runtime.
_MODULES = {
    "LoadedPolicy": "policy_runner.robot.load",
    "PolicySpec": "policy_runner.core.spec",
    "Problem": "policy_runner.core.errors",
    "Refusal": "policy_runner.core.errors",
    "UserTerm": "policy_runner.core.observation.terms.custom",
    "load_policy": "policy_runner.robot.load",
    "read_spec": "policy_runner.core.spec",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'policy_runner' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
