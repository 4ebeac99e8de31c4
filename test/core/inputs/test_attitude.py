"""The check of an Imu's quaternion against its accelerometer, at rest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policy_runner.core.inputs.attitude import AttitudeCheck
from policy_runner.core.observation.terms.rotation import from_euler, matrix

G = 9.81
STILL = (0.0, 0.0, 0.01)


def up(q: tuple[float, float, float, float], g: float = G) -> tuple[float, ...]:
    """The measurement of an accelerometer at rest: g upwards, in its own axes."""
    return tuple(g * part for part in matrix(q)[6:])


def seen(check: AttitudeCheck, q: tuple[float, ...], a: tuple[float, ...], count: int = 20) -> str:
    for _ in range(count):
        check.look(q, STILL, a)
    return check.text


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.4, -0.3, 2.0), (3.1, 0.2, -1.0)])
def test_what_agrees_is_no_warning(angles: tuple[float, float, float]) -> None:
    q = from_euler(*angles)
    assert seen(AttitudeCheck(), q, up(q)) == ""
    assert seen(AttitudeCheck(), q, up(from_euler(angles[0] + 0.3, *angles[1:]))) == ""


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.1, -0.1, 0.3), (0.0, 0.2, -0.2)])
def test_the_order_w_x_y_z_is_named(angles: tuple[float, float, float]) -> None:
    x, y, z, w = from_euler(*angles)
    text = seen(AttitudeCheck(), (w, x, y, z), up((x, y, z, w)))
    assert "it fits as w, x, y, z" in text


def test_another_contradiction_names_the_angle() -> None:
    q = from_euler(0.0, 0.0, 0.0)
    text = seen(AttitudeCheck(), q, up(from_euler(math.pi / 2, 0.0, 0.0)))
    assert "90 degrees off the accelerometer" in text
    assert "mounting" in text


def test_only_rest_is_judged() -> None:
    wrong, q = (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)
    check = AttitudeCheck()
    for turn, a in (
        ((0.0, 0.5, 0.0), up(q)),  # it turns
        (STILL, up(q, 11.0)),  # it accelerates
        (STILL, (0.0, 0.0, 0.0)),  # it falls, or the driver subtracts gravity
        (STILL, (float("nan"),) * 3),
        ((float("nan"),) * 3, up(q)),
    ):
        for _ in range(20):
            check.look(wrong, turn, a)
    check.look((0.0, 0.0, 0.0, 0.0), STILL, up(q))
    assert (check.at_rest, check.text) == (0, "")
    # Too few samples.
    assert seen(check, wrong, up(q), 4) == ""
    assert seen(check, wrong, up(q), 1) != ""


def test_a_driver_that_is_corrected_is_believed_soon() -> None:
    check = AttitudeCheck()
    good, wrong = (0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)
    assert seen(check, wrong, up(good), 10_000)
    assert seen(check, good, up(good), 400) == ""
    assert np.isfinite(check.at_rest)
