"""The worked examples, run on small models through the pipeline of the node.

The expected input of each tick is computed here in plain numpy, in the trainer's order. The
expected output comes directly from ONNX Runtime.
"""

from __future__ import annotations

import itertools
import math
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import small_models

from policy_runner.backends.load import load_model
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import read_spec

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "reference" / "examples"
MS = 1_000_000
RANDOM = np.random.default_rng(11)


class Example:
    """A worked example with its model; the test feeds its inputs."""

    def __init__(self, folder: Path, name: str) -> None:
        path = getattr(small_models, name)(folder)
        shutil.copy(EXAMPLES / f"{name}.yaml", folder / "policy.yaml")
        self.spec_file = read_spec(folder)
        self.model = load_model("onnxruntime", path, None, self.spec_file.path)
        self.session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        count = sum(len(g.names) for t in self.spec_file.spec.action for g in t.groups)
        settings = Settings(
            20 * MS, 1, {name: InputRule(1000 * MS) for name in self.spec_file.spec.inputs},
            CommandLimits.none(count), hold_recover_ns=0,
        )  # fmt: skip
        self.pipeline: Pipeline = build_pipeline(
            self.spec_file, self.model, settings, {}, lambda: 0
        )
        self.pipeline.activate()
        self.fed: dict[str, np.ndarray] = {}
        run = self.model.run

        def keep_and_run() -> None:
            self.fed = {name: array.copy() for name, array in self.model.inputs.items()}
            run()

        self.model.run = keep_and_run

    def feed(self, name: str, **fields: Any) -> None:
        slot = self.pipeline.slots[name]
        for field, values in fields.items():
            slot.arrays[field.replace("__", ".")][:] = values
        slot.received(MS, MS)

    def joints(self, position: np.ndarray, velocity: np.ndarray) -> None:
        slot = self.pipeline.slots["joint_states"]
        names = [*self.spec_file.spec.joint_names, "arm_joint"]
        order = RANDOM.permutation(len(names))
        assert slot.joints is not None
        values = {"position": np.append(position, 9), "velocity": np.append(velocity, 9)}
        slot.joints.merge([names[k] for k in order], {k: v[order] for k, v in values.items()}, MS)
        slot.received(MS, MS)

    def step(self) -> np.ndarray:
        """Return the command of one tick."""
        step = self.pipeline.step(MS)
        assert step.decision is Decision.RUN, self.pipeline.safety.detail
        assert step.command is not None
        return step.command.copy()


def _quaternion(yaw: float, pitch: float) -> list[float]:
    """Return Rz(yaw) Ry(pitch) as (x, y, z, w)."""
    a, b = yaw / 2, pitch / 2
    return [
        -math.sin(a) * math.sin(b), math.cos(a) * math.sin(b),
        math.sin(a) * math.cos(b), math.cos(a) * math.cos(b),
    ]  # fmt: skip


def _matrix(yaw: float, pitch: float) -> np.ndarray:
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    return np.array([[cy * cp, -sy, cy * sp], [sy * cp, cy, sy * sp], [-sp, 0, cp]])


def test_quadruped(tmp_path: Path) -> None:
    example = Example(tmp_path, "quadruped")
    default = np.array([0.1, 0.8, -1.5, -0.1, 0.8, -1.5, 0.1, 1.0, -1.5, -0.1, 1.0, -1.5])
    action_scale = np.array([0.125, 0.25, 0.25] * 4)
    last = np.zeros(12)
    frames: list[list[np.ndarray]] = []
    phase = 0.0
    for tick in range(9):
        rate, q, dq = RANDOM.normal(0, 1, 3), RANDOM.normal(0, 1, 12), RANDOM.normal(0, 20, 12)
        yaw, pitch = 0.3 * tick, 0.1 * tick - 0.3
        command = np.zeros(3) if tick in (4, 5) else np.array([0.04, -2.0, 0.3 * tick])
        example.feed("imu", angular_velocity=rate, orientation=_quaternion(yaw, pitch))
        example.joints(q, dq)
        example.feed(
            "cmd_vel", linear__x=command[:1], linear__y=command[1:2], angular__z=command[2:]
        )
        target = example.step()
        banded = np.where(np.abs(command) < 0.05, 0, command)
        ranged = np.clip(banded, [-1.0, -0.6, -1.5], [1.5, 0.6, 1.5])
        still = np.linalg.norm(command) < 0.1
        shown = [0.0, 0.0] if still else [phase, phase + 0.5]
        frames.append(
            [
                0.25 * rate,
                _matrix(yaw, pitch).T @ [0, 0, -1],
                ranged * [2.0, 2.0, 0.25],
                q - default,
                np.clip(dq, -30, 30) * 0.05,
                last,
                np.array([math.sin(2 * math.pi * p) for p in shown]
                         + [math.cos(2 * math.pi * p) for p in shown]),
            ]
        )  # fmt: skip
        phase += 0.0 if still else 0.02 / 0.5
        past = [frames[0]] * 4 + frames
        observation = np.concatenate([frame[k] for k in range(7) for frame in past[-5:]])
        observation = np.clip(observation, -100, 100).astype(np.float32)
        assert example.fed["obs"][0] == pytest.approx(observation, abs=1e-5)
        (raw,) = example.session.run(None, {"obs": observation[None]})
        last = np.clip(raw[0].astype(np.float64), -100, 100)
        assert target == pytest.approx(last * action_scale + default, abs=1e-5)


@pytest.mark.skipif(find_spec("PIL") is None, reason="Pillow is not installed")
def test_wheeled_camera(tmp_path: Path) -> None:
    from PIL import Image

    example = Example(tmp_path, "wheeled_camera")
    table = np.array([[0.0, 0.0], [0.5, 0.0], [0.3, 0.8], [0.3, -0.8], [-0.2, 0.0]])
    previous = None
    chosen = set()
    for tick in range(8):
        picture = RANDOM.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        camera = example.pipeline.slots["camera"]
        camera.keepers[""](
            SimpleNamespace(
                height=120, width=160, encoding="bgr8", is_bigendian=0, step=480,
                data=np.ascontiguousarray(picture[:, :, ::-1]).tobytes(),
            )
        )  # fmt: skip
        camera.received(MS, MS)
        ranges = RANDOM.uniform(0, 14, 361)
        ranges[RANDOM.integers(0, 361, 50)] = math.inf
        ranges[7] = math.nan
        scan = example.pipeline.slots["scan"]
        scan.keepers["ranges"](ranges.astype(np.float32))
        scan.received(MS, MS)
        x, y, yaw, gx, gy, turn = RANDOM.uniform(-3, 3, 6)
        example.feed(
            "odom",
            twist__twist__linear__x=[0.1 * tick],
            twist__twist__angular__z=[-0.2],
            pose__pose=[x, y, 0.1, *_quaternion(yaw, 0)],
        )
        example.feed("goal", pose=[gx, gy, 0.0, *_quaternion(turn, 0)])
        command = example.step()

        resized = Image.fromarray(picture).resize((85, 64), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized).astype(np.float64) / 255
        pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        image = pixels.transpose(2, 0, 1).astype(np.float32)[None]
        free = np.where(np.isfinite(ranges), ranges.astype(np.float32), 10.0)
        edges = [k * 361 // 36 for k in range(37)]
        bins = np.array([free[a:b].min() for a, b in itertools.pairwise(edges)])
        ahead = _matrix(yaw, 0).T @ [gx - x, gy - y, -0.1]
        bearing = math.remainder(turn - yaw, 2 * math.pi)
        speed = np.array([0.1 * tick, -0.2])
        state = np.concatenate(
            [
                np.clip(bins, 0, 10) * 0.1,
                2 * (speed - [-0.5, -1.5]) / [1.5, 3.0] - 1,
                np.clip([ahead[0] / 4, ahead[1] / 4, bearing / 1.8], -5, 5),
                [1.0 if tick == 0 else 0.0],
            ]
        ).astype(np.float32)[None]
        assert example.fed["image"] == pytest.approx(image, abs=1e-5)
        assert example.fed["state"] == pytest.approx(state, abs=1e-5)
        assert example.fed["temperature"].tolist() == pytest.approx([0.1])
        fed = {"image": image, "state": state, "temperature": np.array([0.1], np.float32)}
        row = int(np.argmax(example.session.run(None, fed)[0]))
        chosen.add(row)
        target = table[row] if previous is None else previous + 0.5 * (table[row] - previous)
        assert command == pytest.approx(target, abs=1e-12)
        previous = target
    assert len(chosen) > 1


def test_recurrent(tmp_path: Path) -> None:
    example = Example(tmp_path, "recurrent")
    default = np.array([0.6, -1.2] * 4 + [0.0] * 4)
    low, high = np.array([-0.5, -2.4] * 4), np.array([1.7, -0.2] * 4)
    state = {name: np.zeros((1, 1, 8), np.float32) for name in ("h_in", "c_in")}
    last, wheels = np.zeros(12), None
    q = RANDOM.normal(0, 1, 12)
    for tick in range(12):
        if tick == 8:  # a reset: everything starts at zero again
            example.pipeline.reset()
            state = {name: np.zeros_like(array) for name, array in state.items()}
            last, wheels = np.zeros(12), None
        v, w, dq, command = (RANDOM.normal(0, 1, n) for n in (3, 3, 12, 3))
        q[8:] += RANDOM.uniform(-2, 2, 4)
        yaw, pitch = 0.2 * tick, 0.05 * tick
        example.feed(
            "odom", twist__twist__linear=v, twist__twist__angular=w,
            pose__pose__orientation=_quaternion(yaw, pitch),
        )  # fmt: skip
        example.joints(q, dq)
        example.feed(
            "cmd_vel", twist__linear__x=command[:1], twist__linear__y=command[1:2],
            twist__angular__z=command[2:],
        )  # fmt: skip
        target = example.step()
        relative = q - default
        relative[8:] = np.mod(relative[8:] + math.pi, 2 * math.pi) - math.pi
        observation = np.concatenate(
            [v, w, _matrix(yaw, pitch)[:, :2].T.ravel(), command, relative,
             dq * np.array([0.05] * 8 + [0.02] * 4), last]
        )  # fmt: skip
        observation = np.clip(observation / math.sqrt(1 + 1e-5), -5, 5).astype(np.float32)
        assert example.fed["obs"][0] == pytest.approx(observation, abs=1e-5)
        raw, state["h_in"], state["c_in"] = example.session.run(
            None, {"obs": observation[None], **state}
        )
        last = raw[0].astype(np.float64)
        squashed = np.tanh(last)
        legs = np.clip(squashed[:8] * 0.5 + default[:8], low, high)
        turned = squashed[8:] * 20.0
        wheels = turned if wheels is None else wheels + 0.8 * (turned - wheels)
        assert target == pytest.approx(np.concatenate([legs, wheels]), abs=1e-4)
        # The state output of this inference is the state input of the next one.
        for name, array in state.items():
            assert example.model.inputs[name] == pytest.approx(array, abs=1e-5)
