"""The numbers that a term reads, compared with numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import Rig, make_rig, spec_content, term

from policy_runner.core.safety.decision import Decision, Reason

IMU, TWIST, STAMPED = (
    "sensor_msgs/msg/Imu",
    "geometry_msgs/msg/Twist",
    "geometry_msgs/msg/TwistStamped",
)
H = math.sqrt(0.5)


def _rig(folder: Path, *terms: dict[str, Any], size: int, **inputs: str) -> Rig:
    content = spec_content(inputs={n: {"type": t, "topic": n} for n, t in inputs.items()})
    content["observation"][0]["terms"] = list(terms)
    return make_rig(folder, content, size=size)


def _observed(rig: Rig, now_ns: int = 1) -> list[float]:
    step = rig.pipeline.step(now_ns)
    assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    return [round(float(x), 6) + 0.0 for x in rig.model.inputs["obs"].reshape(-1)]


# Rotation of the body in the world, (x, y, z, w), and gravity in the body frame: x forward,
# y left, z up. Each gravity is (0, 0, -1), rotated back by hand.
GRAVITY = {
    "upright": ((0, 0, 0, 1), (0, 0, -1)),
    "upright, the other sign": ((0, 0, 0, -1), (0, 0, -1)),
    "pitched forward by 90 degrees, nose down": ((0, H, 0, H), (1, 0, 0)),
    "pitched back by 90 degrees": ((0, -H, 0, H), (-1, 0, 0)),
    "rolled to the right by 90 degrees": ((H, 0, 0, H), (0, -1, 0)),
    "rolled to the left by 90 degrees": ((-H, 0, 0, H), (0, 1, 0)),
    "turned by 90 degrees": ((0, 0, H, H), (0, 0, -1)),
    "upside down": ((1, 0, 0, 0), (0, 0, 1)),
    "turned by 90, then pitched forward by 30": (
        (-H * math.sin(math.pi / 12), H * math.sin(math.pi / 12), H * math.cos(math.pi / 12),
         H * math.cos(math.pi / 12)),
        (0.5, 0, -math.sqrt(0.75)),
    ),
    "a little too long": ((0, H * 1.004, 0, H * 1.004), (1, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", GRAVITY)
def test_projected_gravity(tmp_path: Path, case: str) -> None:
    quaternion, gravity = GRAVITY[case]
    rig = _rig(tmp_path, term("projected_gravity", input="imu"), size=3, imu=IMU)
    rig.feed("imu", 1, orientation=quaternion)
    assert _observed(rig) == pytest.approx(gravity, abs=1e-6)


@pytest.mark.parametrize(
    "quaternion",
    [(0, 0, 0, 0), (math.nan, 0, 0, 1), (0, 0, 0, 1.02), (0, 0, 0, 0.98), (0, 0, math.inf, 1)],
)
def test_no_rotation_is_a_fault(tmp_path: Path, quaternion: tuple[float, ...]) -> None:
    rig = _rig(tmp_path, term("projected_gravity", input="imu"), size=3, imu=IMU)
    rig.feed("imu", 1, orientation=quaternion)
    step = rig.pipeline.step(1)
    assert (step.decision, step.command) == (Decision.STARTING, None)
    assert rig.pipeline.safety.reason is Reason.OBSERVATION_NOT_FINITE
    assert "a quaternion of squared norm" in rig.pipeline.safety.detail
    assert rig.model.runs == 0


def test_gravity_of_another_field(tmp_path: Path) -> None:
    odom = "nav_msgs/msg/Odometry"
    one = term("projected_gravity", input="odom", field="pose.pose.orientation")
    rig = _rig(tmp_path, one, size=3, odom=odom)
    rig.feed("odom", 1, pose__pose__orientation=(0, H, 0, H))
    assert _observed(rig) == [1, 0, 0]


def test_fields_and_slices(tmp_path: Path) -> None:
    rig = _rig(
        tmp_path,
        term("field", input="imu", fields=["angular_velocity.z", "linear_acceleration"]),
        term("field", input="x", field="data[3:5]"),
        term("field", input="x", field="gain", size=1),
        term("constant", value=[7, 8]),
        size=9,
        imu=IMU,
        x="my_msgs/msg/Thing",
    )
    rig.feed("imu", 1, angular_velocity__z=[1], linear_acceleration=[2, 3, 4])
    rig.feed("x", 1, **{"data[3:5]": [5, 6], "gain": [9]})
    assert _observed(rig) == [1, 2, 3, 4, 5, 6, 9, 7, 8]


@pytest.mark.parametrize(("kind", "prefix"), [(TWIST, ""), (STAMPED, "twist__")])
def test_velocity_command(tmp_path: Path, kind: str, prefix: str) -> None:
    one = term(
        "velocity_command", input="cmd", axes=["angular.z", "linear.x"], dead_band=0.1,
        clip=[[-1, 1], [-0.5, 2]], scale=[1, 10],
    )  # fmt: skip
    rig = _rig(tmp_path, one, size=2, cmd=kind)
    for given, read in [
        ((0.0999, -0.0999), (0, 0)),
        ((0.1, -0.1), (0.1, -1)),
        ((3, 3), (1, 20)),
        ((-3, -3), (-1, -5)),
    ]:
        rig.feed("cmd", 1, **{f"{prefix}angular__z": given[:1], f"{prefix}linear__x": given[1:]})
        assert _observed(rig) == pytest.approx(read)


def test_last_action_by_joint(tmp_path: Path) -> None:
    content = spec_content(inputs={"imu": {"type": IMU, "topic": "imu"}})
    content["observation"][0]["terms"] = [
        term("field", input="imu", field="angular_velocity.x"),
        term("last_action", joints=["b"], scale=2),
        term("last_action"),
    ]
    rig = make_rig(tmp_path, content, size=4, compute=lambda _: {"act": [[3, 5]]})
    rig.feed("imu", 1, angular_velocity__x=[1])
    assert _observed(rig) == [1, 0, 0, 0]
    assert _observed(rig) == [1, 10, 3, 5]


def test_names_of_the_elements(tmp_path: Path) -> None:
    rig = _rig(
        tmp_path,
        term("projected_gravity", name="g", input="imu"),
        term("field", input="imu", field="angular_velocity"),
        size=6,
        imu=IMU,
    )
    rig.feed("imu", 1, orientation=(0, 0, 0, 1), angular_velocity=(1, math.nan, 3))
    rig.pipeline.step(1)
    assert rig.pipeline.safety.detail == "obs: angular_velocity/angular_velocity.y is nan"


def test_what_is_read_is_not_kept_by_the_model(tmp_path: Path) -> None:
    rig = _rig(tmp_path, term("field", input="imu", field="angular_velocity"), size=3, imu=IMU)
    rig.feed("imu", 1, angular_velocity=(1, 2, 3))
    _observed(rig)
    rig.model.inputs["obs"][:] = np.nan
    assert rig.pipeline.slots["imu"].arrays["angular_velocity"].tolist() == [1, 2, 3]
    assert _observed(rig) == [1, 2, 3]
