"""How one robot and floor differ from the next: drawn for training, nominal in the demo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Variation:
    """What differs from robot to robot and floor to floor: factors on the nominal model."""

    body_mass: float = 1.0  # and the body's inertia with it
    com_height: float = 1.0
    friction: float = 1.0
    servo_gain: float = 1.0
    servo_torque: float = 1.0
    joint_damping: float = 1.0


NOMINAL = Variation()


def draw_variation(rng: np.random.Generator, spread: float = 0.2) -> Variation:
    """A robot for training: every factor uniform in 1 +- spread, damping in 0.5 to 3."""

    def factor() -> float:
        return float(rng.uniform(1.0 - spread, 1.0 + spread))

    return Variation(
        body_mass=factor(),
        com_height=factor(),
        friction=factor(),
        servo_gain=factor(),
        servo_torque=factor(),
        joint_damping=float(rng.uniform(0.5, 3.0)),
    )
