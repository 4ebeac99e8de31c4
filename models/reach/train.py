"""Trains the policy of the arm in minutes, and writes policy.onnx and policy.yaml.

    MUJOCO_GL=egl python models/reach/train.py          (torch, mujoco, onnx)

The network is ACT's in small: convolutions, tokens of what they found, and one query per action of
the chunk that attends to them. It imitates `arm.teach`, with an L1 loss, without ACT's latent
variable: the teacher always does the same.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from arm import DT, PIXELS, STEPS, Arm, draw, goal, teach
from torch import nn

from policy_runner.export.graph.torch_graph import strip

HERE = Path(__file__).parent
WIDTH, HEADS, POINTS = 64, 4, 24
SPEC = """\
# What the arm's policy was trained on; models/reach/train.py writes this file.
schema: policy_runner/1
name: reach
description: Moves the fingertip of a two-joint arm to the ball that its camera sees.
model:
  file: policy.onnx
  sha256: {sha256}
control_dt: {dt} # s between two actions of a chunk
joint_names: [shoulder, elbow]
inputs:
  joint_states: {{type: sensor_msgs/msg/JointState, topic: joint_states}}
  camera: {{type: sensor_msgs/msg/Image, topic: image}}
observation:
  - tensor: state
    terms:
      - {{term: joint_position, input: joint_states}} # rad
    normalization: none
  - tensor: image
    whole: {{term: image, input: camera, color: rgb, size: [{pixels}, {pixels}], layout: chw,
            scale: 0.00392156862745098, mean: 0.5, std: 0.5}}
action:
  - tensor: actions
    groups:
      - kind: position # rad, from the pose of the observation on
        joints: [shoulder, elbow]
        relative_to: measured
chunk:
  dt: {dt}
  interpolation: cubic
  seam: {{catch_up_rate: 1.5}} # rad/s, the fastest motion of the training
last_action: target
"""


class Attention(nn.Module):
    """Queries attend to tokens; plain matrix products, so every exporter knows them."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.wide = nn.Sequential(nn.Linear(WIDTH, 128), nn.ReLU(), nn.Linear(128, WIDTH))

    def forward(self, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        def heads(y: torch.Tensor) -> torch.Tensor:
            return y.reshape(y.shape[0], -1, HEADS, WIDTH // HEADS).transpose(1, 2)

        q, k, v = heads(self.q(x)), heads(self.k(tokens)), heads(self.v(tokens))
        weights = torch.softmax(q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5, -1)
        mixed = (weights @ v).transpose(1, 2).reshape(x.shape[0], -1, WIDTH)
        x = self.before(x + self.o(mixed))
        return self.after(x + self.wide(x))


class Act(nn.Module):
    """state [B, 2], image [B, 3, PIXELS, PIXELS] -> actions [B, STEPS, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, POINTS, 3, 1, 1),
        )  # fmt: skip
        side = PIXELS // 4
        line = torch.linspace(-1.0, 1.0, side)
        self.register_buffer("across", line.repeat(side))
        self.register_buffer("down", line.repeat_interleave(side))
        self.point = nn.Linear(2 * POINTS + 4, 4 * WIDTH)
        self.queries = nn.Parameter(torch.randn(1, STEPS, WIDTH) * 0.1)
        self.layers = nn.ModuleList([Attention() for _ in range(2)])
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, state: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        found = torch.softmax(self.see(image).reshape(image.shape[0], POINTS, -1), -1)
        places = [(found * axis).sum(-1) for axis in (self.across, self.down)]
        known = torch.cat([*places, torch.sin(state), torch.cos(state)], -1)
        tokens = self.point(known).reshape(image.shape[0], 4, WIDTH)
        x = self.queries + tokens.mean(1, keepdim=True)
        for layer in self.layers:
            x = layer(x, tokens)
        return self.head(x)


def collect(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States [n, 2], images [n, 3, PIXELS, PIXELS] as uint8, the teacher's chunks [n, STEPS, 2]."""
    rng, arm = np.random.default_rng(seed), Arm()
    states, images, chunks = [], [], []
    for _ in range(count):
        pose, ball = draw(rng)
        if rng.random() < 0.5:  # near the goal, where most of an episode takes place
            pose = goal(pose, ball) + rng.normal(0.0, 0.15, 2)
        arm.place(pose, ball)
        states.append(pose)
        images.append(arm.image().transpose(2, 0, 1))
        chunks.append(teach(pose, ball))
    return np.array(states), np.array(images), np.array(chunks)


def train(count: int, epochs: int, seed: int) -> Act:
    """Collect and imitate; print the error on episodes that were not trained on."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # on a busy machine several threads wait for each other
    begun = time.monotonic()
    states, images, chunks = collect(count, seed)
    print(f"{count} observations in {time.monotonic() - begun:.0f} s", flush=True)
    held = count // 20
    s, c = (torch.tensor(one, dtype=torch.float32) for one in (states, chunks))
    i = torch.tensor(images)
    act = Act()
    steps = epochs * ((count - held) // 64)
    adam = torch.optim.AdamW(act.parameters(), 2e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, steps + epochs)

    def seen(chosen: torch.Tensor) -> torch.Tensor:
        return (i[chosen].float() / 255.0 - 0.5) / 0.5

    for epoch in range(epochs):
        order, total = torch.randperm(count - held) + held, 0.0
        for batch in order.split(64):
            loss = (act(s[batch], seen(batch)) - c[batch]).abs().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
            total += float(loss.detach()) * len(batch)
        with torch.no_grad():
            test = torch.arange(held)
            error = float((act(s[test], seen(test)) - c[test]).abs().mean())
        spent = time.monotonic() - begun
        print(f"epoch {epoch + 1}: {total / len(order):.4f} rad, held out {error:.4f} rad, "
              f"{spent:.0f} s", flush=True)  # fmt: skip
    return act


def write(act: Act, folder: Path) -> None:
    """Write policy.onnx and policy.yaml."""
    act.eval()
    given = (torch.zeros(1, 2), torch.zeros(1, 3, PIXELS, PIXELS))
    torch.onnx.export(
        act, given, str(folder / "policy.onnx"), input_names=["state", "image"],
        output_names=["actions"], opset_version=18, dynamo=True, external_data=False,
    )  # fmt: skip
    network = onnx.load(folder / "policy.onnx")
    strip(network)  # the exporter writes paths and source lines of this machine into every node
    (folder / "policy.onnx").write_bytes(network.SerializeToString(deterministic=True))
    sha256 = hashlib.sha256((folder / "policy.onnx").read_bytes()).hexdigest()
    text = SPEC.format(sha256=sha256, dt=DT, pixels=PIXELS)
    (folder / "policy.yaml").write_text(text, encoding="utf-8")


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    write(train(options.count, options.epochs, options.seed), options.out)


if __name__ == "__main__":
    main()
