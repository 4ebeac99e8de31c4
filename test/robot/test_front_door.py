"""The public names of `policy_runner`: imported lazily, used as in docs/guides/from_python.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import policy_runner
from policy_runner import LoadedPolicy, Refusal, load_policy

ROOT = Path(__file__).resolve().parents[2]
NS = 10_000_000


@pytest.fixture
def balancer() -> LoadedPolicy:
    return load_policy(ROOT / "models/balancer")


def test_every_name_is_there_and_has_a_docstring() -> None:
    for name in policy_runner.__all__:
        offered = getattr(policy_runner, name)
        assert isinstance(offered, str) or offered.__doc__, name
    assert set(policy_runner.__all__) <= set(dir(policy_runner))
    with pytest.raises(AttributeError, match="no attribute 'load_polcy'"):
        policy_runner.load_polcy  # noqa: B018


def test_the_package_alone_loads_no_library() -> None:
    code = "import sys, policy_runner; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "policy_runner" in loaded
    assert not loaded & {"numpy", "onnxruntime", "rclpy", "pydantic", "yaml"}


def test_the_example_of_the_documents_runs() -> None:
    page = (ROOT / "docs/guides/from_python.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 100
    assert all(line.startswith("RUN [") for line in lines)


def test_commands_follow_from_the_fed_arrays(balancer: LoadedPolicy) -> None:
    for tick, speed in enumerate((0.3, 0.3, -0.3, -0.3)):
        balancer.feed(
            "imu", {"angular_velocity": [0, 0, 0], "orientation": [0, 0, 0, 1]}, tick * NS
        )
        # The robot's order differs from the policy's: joints are matched by name.
        wheels = {"name": ["right_wheel_joint", "left_wheel_joint"], "velocity": [1.0, 2.0]}
        balancer.feed("joint_states", wheels, tick * NS)
        balancer.feed("cmd_vel", {"twist.linear": [speed, 0, 0], "twist.angular.z": 0.0}, tick * NS)
        step = balancer.pipeline.step(tick * NS)
        assert step.command is not None
        assert np.all(np.isfinite(step.command))
    samples = balancer.pipeline.slots["joint_states"].joints
    assert samples is not None
    assert samples.values["velocity"].tolist() == [2.0, 1.0]
    balancer.close()


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("imu", {"angular_velocity": [0, 0, 0]}, "orientation"),
        ("imu", {"angular_velocity": [0, 0], "orientation": [0, 0, 0, 1]}, "3 numbers, got 2"),
        ("imu", {"angular_speed": [0, 0, 0]}, "angular_speed"),
        ("joint_states", {"name": ["a", "a"], "velocity": [0, 0]}, "twice"),
        ("joint_states", {"name": ["a"], "velocity": [0, 0]}, "2 values of velocity for 1"),
        ("odometry", {}, "one of imu"),
    ],
)
def test_what_does_not_fit_is_refused(
    balancer: LoadedPolicy, name: str, fields: dict[str, list[float]], said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        balancer.feed(name, fields, 0)
