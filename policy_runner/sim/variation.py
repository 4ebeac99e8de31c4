"""Variation of robot and floor: random in training, nominal in the demo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Variation:
    """Factors on the nominal model of robot and floor."""

    body_mass: float = 1.0  # also scales the body's inertia
    com_height: float = 1.0
    friction: float = 1.0
    servo_gain: float = 1.0
    servo_torque: float = 1.0
    joint_damping: float = 1.0


NOMINAL = Variation()


def draw_variation(rng: np.random.Generator, spread: float = 0.2) -> Variation:
    """Draw a variation for training: damping uniform in 0.5 to 3, all others in 1 +- spread."""

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
