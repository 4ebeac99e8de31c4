"""Judges the arm's policy in the loop: how often it reaches the ball, and how smoothly.

    MUJOCO_GL=egl python models/reach/judge.py [--episodes 40]

The runner's own pipeline steps at 100 Hz, and an inference takes 0.2 s, so there are 5 a second.
Next to it is the synchronous way: the arm waits during every inference, then plays half a chunk.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from arm import DT, PIXELS, STEPS, Arm, draw

from policy_runner import LoadedPolicy, load_policy
from policy_runner.core.lane.interface import LaneRequest

HERE = Path(__file__).parent
TICK_S, LATENCY_S, EPISODE_S = 0.01, 0.2, 4.0
NEAR_M, STAYS_S = 0.02, 0.5  # success: so near, for the last half second
NS = 1_000_000_000
PARAMETERS = f"""\
policy_runner:
  ros__parameters:
    rate: 100.0
    inputs: {{camera: {{max_age: 0.5}}}}
    inference: {{simulated_latency: {LATENCY_S}}}
"""


class Run(NamedTuple):
    """One episode."""

    reached: bool
    jerk: float  # root mean square of the commands' third difference [rad/s^3]
    seconds: float  # until the fingertip was near for the first time


def feed(loaded: LoadedPolicy, arm: Arm, now_ns: int, with_image: bool) -> None:
    """Give the pipeline what the robot would send."""
    names = {"name": ["shoulder", "elbow"], "position": arm.pose}
    loaded.feed("joint_states", names, now_ns)
    if with_image:
        image = SimpleNamespace(
            height=PIXELS, width=PIXELS, step=3 * PIXELS, encoding="rgb8", is_bigendian=0,
            data=arm.image().tobytes(),
        )  # fmt: skip
        loaded.feed("camera", {"": image}, now_ns)


def with_lane(loaded: LoadedPolicy, arm: Arm) -> Callable[[int], np.ndarray | None]:
    """The runner: the command of each tick."""
    loaded.pipeline.activate()

    def command(tick: int) -> np.ndarray | None:
        now_ns = NS + round(tick * TICK_S * NS)
        feed(loaded, arm, now_ns, tick % 3 == 0)  # a camera at 33 Hz
        return loaded.pipeline.step(now_ns).command

    return command


def synchronous(loaded: LoadedPolicy, arm: Arm) -> Callable[[int], np.ndarray | None]:
    """The robot waits for each inference, then plays half of the chunk, one action per DT."""
    policy = loaded.pipeline.policy
    chunk, begins, held = np.zeros((0, 2)), 0, arm.pose
    waits, plays = round(LATENCY_S / TICK_S), round(STEPS / 2 * DT / TICK_S)

    def command(tick: int) -> np.ndarray:
        nonlocal chunk, begins, held
        at = tick - begins
        if at % (waits + plays) == 0:
            now_ns = NS + round(tick * TICK_S * NS)
            feed(loaded, arm, now_ns, True)
            lane = policy.requests.lane  # type: ignore[attr-defined]
            while lane.poll() is not None:
                continue
            lane.start(LaneRequest(tick + 1, now_ns, 0, True))
            event = lane.poll()
            assert event is not None
            assert event.rows is not None, event.why
            chunk, begins, at = event.rows.copy(), tick, 0
        if at >= waits:
            held = chunk[min(round((at - waits) * TICK_S / DT), STEPS // 2)]
        return held

    return command


def play(way: Callable[[LoadedPolicy, Arm], Callable[[int], np.ndarray | None]],
         loaded: LoadedPolicy, arm: Arm, seed: int) -> Run:  # fmt: skip
    """Play one episode."""
    rng = np.random.default_rng(seed)
    arm.place(*draw(rng))
    command, commands, distances = way(loaded, arm), [arm.pose], []
    for tick in range(round(EPISODE_S / TICK_S)):
        given = command(tick)
        commands.append(commands[-1] if given is None else given.copy())
        arm.run(commands[-1], TICK_S)
        distances.append(arm.distance)
    near = np.array(distances) < NEAR_M
    jerk = np.diff(np.array(commands), 3, axis=0) / TICK_S**3
    first = int(np.argmax(near)) * TICK_S if near.any() else EPISODE_S
    last = round(STAYS_S / TICK_S)
    return Run(bool(near[-last:].all()), float(np.sqrt(np.mean(jerk**2))), first)


def main() -> None:
    """Print success, jerk and time of both ways, on the same episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--policy", type=Path, default=HERE)
    options = parser.parse_args()
    arm = Arm()
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder) / "robot.yaml"
        params.write_text(PARAMETERS, encoding="utf-8")
        loaded = load_policy(options.policy, params)
        for name, way in (("lane", with_lane), ("synchronous", synchronous)):
            runs = [play(way, loaded, arm, 1000 + seed) for seed in range(options.episodes)]
            reached = np.mean([one.reached for one in runs])
            jerk = np.median([one.jerk for one in runs])
            seconds = np.median([one.seconds for one in runs])
            print(f"{name:12} reached {reached:.0%}, jerk {jerk:.0f} rad/s^3, near after "
                  f"{seconds:.2f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
