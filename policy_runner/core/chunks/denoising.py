"""The denoising loop of a flow policy around a velocity field, with guidance by the older chunk.

The field may be one step of an ONNX model: everything here is arithmetic on its outputs. Two
conventions are known. `noise_at_1` (openpi, LeRobot): time t runs from 1 to 0 and v points to the
noise. `noise_at_0` (the RTC paper): time runs from 0 to 1 and v points to the action. The guidance
is LeRobot's (policies/rtc): the gradient does not pass through the network, so no autograd is
needed. The paper's own variant needs the network's vector-Jacobian product inside the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from policy_runner.core.chunks.prefix import Schedule, prefix_weights
from policy_runner.core.model import Array

Convention = Literal["noise_at_1", "noise_at_0"]
Real = npt.NDArray[np.floating]
# (x [H, A], time: float, or [H] with a trained prefix) -> v [H, A]
Field = Callable[[Real, "float | Real"], Real]


def guidance_gain(tau: float, most: float) -> float:
    """The weight of the guidance, min((1 - tau) / tau * ((1 - tau)^2 + tau^2) / (1 - tau)^2, most).

    Args:
        tau: flow time, 0 is noise and 1 is the action.
        most: the largest gain.
    """
    if tau <= 0.0 or tau >= 1.0:
        return most
    rest = 1.0 - tau
    return min((rest * rest + tau * tau) / (tau * rest), most)


@dataclass(frozen=True)
class Guidance:
    """The older chunk's leftover pulls the new chunk, softly.

    Attributes:
        previous: the leftover in the model's space, aligned with the new chunk, [n, A].
        delay: d, the committed actions.
        end: first action without a pull, cut to the leftover's length.
        schedule: form of the weights between `delay` and `end`.
        most: largest gain.
    """

    previous: Array
    delay: int
    end: int
    schedule: Schedule = "linear"
    most: float = 10.0

    def padded(self, like: Real) -> tuple[Real, Real]:
        """(target [H, A], weights [H, 1]) of the type of `like` [H, A]."""
        length = len(like)
        count = min(len(self.previous), length)
        target = np.zeros_like(like)
        target[:count] = self.previous[:count]
        end = min(self.end, count)
        weights = prefix_weights(self.schedule, self.delay, end, length)
        return target, weights.astype(like.dtype)[:, None]


@dataclass(frozen=True)
class TrainedPrefix:
    """The network was trained with clean first actions (arXiv 2512.05964): they stay fixed.

    Attributes:
        previous: the leftover in the model's space, aligned with the new chunk, [n, A].
        delay: d, the committed actions, at most n.
    """

    previous: Array
    delay: int


def denoise(
    field: Field,
    noise: Real,
    steps: int,
    convention: Convention = "noise_at_1",
    prefix: Guidance | TrainedPrefix | None = None,
) -> Real:
    """Integrate the field from noise to a chunk by Euler steps, [H, A] of the noise's type.

    Args:
        field: v(x, time); time is a float, or per action [H] with a trained prefix.
        noise: the start, float32 or float64 [H, A].
        steps: Euler steps, 1 or more.
        convention: direction of time and of v.
        prefix: what the chunk has to continue; None: nothing.
    """
    x = noise.copy()
    # In terms of tau, 0 is noise: dx/dtau = v, or -v with noise_at_1.
    towards = 1.0 if convention == "noise_at_0" else -1.0
    step = 1.0 / steps
    fixed = prefix.delay if isinstance(prefix, TrainedPrefix) else 0
    guided = prefix.padded(x) if isinstance(prefix, Guidance) else None
    for k in range(steps):
        tau = k * step
        time: float | Real = tau if convention == "noise_at_0" else 1.0 - tau
        if isinstance(prefix, TrainedPrefix):
            x[:fixed] = prefix.previous[:fixed]
            time = np.full(len(x), time, dtype=x.dtype)
            time[:fixed] = 1.0 if convention == "noise_at_0" else 0.0
        velocity = towards * field(x, time)
        if guided is not None and isinstance(prefix, Guidance):
            target, weights = guided
            reached = x + (1.0 - tau) * velocity
            gain = guidance_gain(tau, prefix.most)
            velocity = velocity + gain * ((target - reached) * weights)
        x = x + step * velocity
        if isinstance(prefix, TrainedPrefix):
            x[:fixed] = prefix.previous[:fixed]
    return x


class Noise:
    """Seeded noise: the same sequence after every start and every reset."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        """Make standard normal noise of `shape`, from numpy's PCG64 with `seed`."""
        self._seed, self._shape = seed, shape
        self.reset()

    def reset(self) -> None:
        """Begin the sequence from its start."""
        self._generator = np.random.Generator(np.random.PCG64(self._seed))

    def next(self) -> npt.NDArray[np.float32]:
        """The next noise, float32."""
        return self._generator.standard_normal(self._shape, dtype=np.float32)
