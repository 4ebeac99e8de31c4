"""Trains the toy's gait with augmented random search, numpy and MuJoCo alone.

The policy is linear except for one product: action = forward * (A clock) + B observation. So it
stands at a command of zero, and steps longer for a faster command. The search starts from a trot
by hand. `python models/toy/train.py --minutes 10` writes policy.onnx; it needs the package onnx.

Source of the search: Mania, Guy, Recht, "Simple random search provides a competitive approach to
reinforcement learning" (2018), algorithm ARS V1-t.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from policy_runner.core.model import Array
from policy_runner.sim.plant.plant import Plant, PolicyFacts
from policy_runner.sim.robot_file.robot_reader import read_robot
from policy_runner.sim.variation import Variation

HERE = Path(__file__).parent
JOINTS = [f"{leg}_{joint}" for leg in ("FL", "FR", "RL", "RR") for joint in ("hip", "knee")]
DEFAULT = np.tile([0.5, -1.0], 4)  # rad
STIFFNESS, DAMPING = 40.0, 1.5
SCALE = 0.4  # rad at an action of 1
PERIOD_S, CONTROL_S = 0.4, 0.02
OBSERVATION = 3 + 3 + 1 + 8 + 8  # gyro, gravity, command, joint positions and velocities
CLOCK = 2  # sin, cos
SIZE = 8 * CLOCK + 8 * OBSERVATION
DIRECTIONS, BEST, NOISE, STEP = 12, 6, 0.03, 0.03
SECONDS = 4.0


class Weights(NamedTuple):
    """The two matrices."""

    clock: Array  # [8, 2]
    observation: Array  # [8, 23]

    @staticmethod
    def of(flat: Array) -> Weights:
        """Split a vector [SIZE]."""
        return Weights(flat[: 8 * CLOCK].reshape(8, CLOCK), flat[8 * CLOCK :].reshape(8, -1))


def trot() -> Array:
    """A trot by hand: diagonal legs together, knees bent while the hip swings forward."""
    clock = np.zeros((8, CLOCK))
    for leg, sign in enumerate((1.0, -1.0, -1.0, 1.0)):
        clock[2 * leg] = sign * -1.2, 0.0
        clock[2 * leg + 1] = 0.0, sign * -1.6
    return np.concatenate((clock.ravel(), np.zeros(8 * OBSERVATION)))


_plants: list[Plant] = []


def score(given: tuple[Array, int]) -> float:
    """The mean reward of an episode.

    Args:
        given: weights [SIZE], and the seed of the start, the robot and its command.
    """
    flat, seed = given
    if not _plants:
        gains = dict.fromkeys(JOINTS, (STIFFNESS, DAMPING))
        facts = PolicyFacts(dict(zip(JOINTS, DEFAULT.tolist())), gains)
        _plants.append(Plant(read_robot(HERE), facts))
    plant, weights = _plants[0], Weights.of(flat)
    rng = np.random.default_rng(seed)
    command = float(rng.choice((0.0, 0.2, 0.3, 0.4, 0.5)))
    factors = rng.uniform(0.85, 1.15, 3)
    plant.reset(seed, Variation(body_mass=factors[0], friction=factors[1], servo_gain=factors[2]))
    steps, total = plant.steps_of(CONTROL_S), 0.0
    ticks = round(SECONDS / CONTROL_S)
    before = np.zeros(8)
    for tick in range(ticks):
        if rng.random() < 0.01:
            plant.push((*rng.uniform(-15.0, 15.0, 2), 0.0), 0.1)
        imu = plant.read.imu("trunk", "rates", "acceleration", "attitude")
        x, y, z, w = imu[:4]
        gravity = (-2 * (x * z - w * y), -2 * (y * z + w * x), -1 + 2 * (x * x + y * y))
        joints = plant.read.joint_positions - DEFAULT
        observation = np.concatenate(
            (imu[4:7] * 0.25, gravity, [command], joints, plant.read.joint_velocities * 0.05)
        )
        angle = 2 * np.pi * tick * CONTROL_S / PERIOD_S
        clock = np.array([np.sin(angle), np.cos(angle)])
        action = command * (weights.clock @ clock) + weights.observation @ observation
        plant.command("position", JOINTS, DEFAULT + SCALE * np.clip(action, -2.0, 2.0))
        plant.advance(steps)
        linear, angular = plant.read.velocity("trunk")
        if plant.tilt > 0.7 or plant.read.position("trunk")[2] < 0.15:
            break
        total += float(np.exp(-((linear[0] - command) ** 2) / 0.02)) + 0.5
        total -= 0.5 * linear[1] ** 2 + 0.3 * angular[2] ** 2 + 0.05 * np.sum(angular[:2] ** 2)
        total -= 0.02 * float(np.sum((action - before) ** 2))
        before = action
    return total / ticks


def train(flat: Array, minutes: float, seed: int, processes: int) -> Array:
    """Search from these weights on; return the weights [SIZE]."""
    rng = np.random.default_rng(seed)
    ends = time.monotonic() + 60.0 * minutes
    with ProcessPoolExecutor(processes) as pool:
        number = 0
        while time.monotonic() < ends:
            number += 1
            deltas = rng.normal(size=(DIRECTIONS, SIZE))
            seeds = rng.integers(1 << 30, size=(DIRECTIONS, 2))
            jobs = [
                (flat + sign * NOISE * delta, int(one))
                for delta, pair in zip(deltas, seeds)
                for sign in (1.0, -1.0)
                for one in pair
            ]
            found = np.array(list(pool.map(score, jobs, chunksize=4))).reshape(DIRECTIONS, 2, -1)
            plus, minus = found.mean(axis=2).T
            best = np.argsort(-np.maximum(plus, minus))[:BEST]
            spread = np.std(np.concatenate((plus[best], minus[best]))) + 1e-6
            change = (plus[best] - minus[best]) @ deltas[best]
            flat = flat + STEP / (BEST * spread) * change
            if number % 10 == 0:
                shown = np.mean(list(pool.map(score, [(flat, k) for k in range(16)])))
                print(f"{number}: {shown:.3f}", flush=True)
    return flat


def write_onnx(flat: Array, path: Path) -> None:
    """Write the policy: clock [1, 2] and obs [1, 23] -> actions [1, 8], float32."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = Weights.of(flat.astype(np.float32))
    nodes = [
        helper.make_node("Slice", ["obs", "six", "seven", "one"], ["command"]),
        helper.make_node("MatMul", ["clock", "clock_weights"], ["steps"]),
        helper.make_node("Mul", ["steps", "command"], ["gait"]),
        helper.make_node("MatMul", ["obs", "obs_weights"], ["balance"]),
        helper.make_node("Add", ["gait", "balance"], ["actions"]),
    ]
    numbers = {
        "clock_weights": np.ascontiguousarray(weights.clock.T),
        "obs_weights": np.ascontiguousarray(weights.observation.T),
        "six": np.array([6], dtype=np.int64),
        "seven": np.array([7], dtype=np.int64),
        "one": np.array([1], dtype=np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info("clock", TensorProto.FLOAT, [1, CLOCK]),
            helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, OBSERVATION]),
        ],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def read_onnx(path: Path) -> Array:
    """The weights [SIZE] that `write_onnx` wrote."""
    import onnx
    from onnx import numpy_helper

    found = {one.name: numpy_helper.to_array(one) for one in onnx.load(str(path)).graph.initializer}
    both = (found["clock_weights"].T.ravel(), found["obs_weights"].T.ravel())
    return np.concatenate(both).astype(np.float64)


def main() -> None:
    """Train and write the policy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--start", type=Path, help="a policy.onnx to continue from")
    parser.add_argument("--out", type=Path, default=HERE / "policy.onnx")
    given = parser.parse_args()
    start = trot() if given.start is None else read_onnx(given.start)
    write_onnx(train(start, given.minutes, given.seed, given.processes), given.out)


if __name__ == "__main__":
    main()
