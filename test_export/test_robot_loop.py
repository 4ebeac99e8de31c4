"""`verify --robot`: the folder drives a robot, and the source answers what the folder observed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper

from policy_runner.cli.main import main
from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.open_source import SourceOptions
from policy_runner.export.sources.trained_policy import parse_tensor
from policy_runner.package_files import share_path

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")


class Shipped(torch.nn.Module):
    """The shipped balancer's network, from its ONNX file; its input is normalized inside."""

    def __init__(self) -> None:
        super().__init__()
        folder = share_path("models", "balancer")
        graph = onnx.load(folder / "policy.onnx").graph
        stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        layers: list[torch.nn.Module] = []
        for node in graph.node:
            if node.op_type != "Gemm":
                continue
            weight, bias = (torch.tensor(stored[name].copy()) for name in node.input[1:3])
            if not any(one.name == "transB" and one.i for one in node.attribute):
                weight = weight.T
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
            layer.weight.data, layer.bias.data = weight.contiguous(), bias
            layers += [layer, torch.nn.Tanh()]
        self.layers = torch.nn.Sequential(*layers[:-1])
        with np.load(folder / "statistics.npz") as file:
            self.register_buffer("mean", torch.tensor(file["mean"], dtype=torch.float32))
            self.register_buffer("std", torch.tensor(np.sqrt(file["var"] + 1e-8)).float())

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        x = torch.clamp((obs - self.mean) / self.std, -10.0, 10.0)
        return self.layers(x)


def exported(folder: Path) -> tuple[Path, Any]:
    spec = yaml.safe_load((share_path("models", "balancer") / "policy.yaml").read_text("utf-8"))
    del spec["model"], spec["observation"][0]["normalization"]
    spec["observation"][0]["normalization"] = "in_model"
    module = Shipped()
    path = folder / "source.pt"
    torch.jit.script(module).save(str(path))
    options = SourceOptions(inputs=[parse_tensor("obs=1x12")], outputs=["actions"],
                            normalized_inside=["obs"])  # fmt: skip
    export_policy(path, folder / "policy", spec, options=options)
    return folder / "policy", path


def test_the_folder_drives_and_the_source_agrees(tmp_path: Path, capsys: Any) -> None:
    folder, source = exported(tmp_path)
    words = ["verify", str(folder), "--against", str(source), "--robot", "balancer",
             "--seeds", "1", "--input", "obs=1x12", "--output", "actions",
             "--normalized-inside", "obs"]  # fmt: skip
    assert main(words) == 0
    out = capsys.readouterr().out
    assert re.search(r"recorded \(closed loop, 2000\).*passed.*0 falls of 1, vx_rmse 0\.0", out)
    model = onnx.load(folder / "policy.onnx")
    bias = next(one for one in model.graph.initializer if tuple(one.dims) == (2,))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 0.01, bias.name))
    onnx.save(model, folder / "policy.onnx")
    spec = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    del spec["model"]["sha256"]
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    assert main(words) == 1
    assert re.search(r"recorded \(closed loop, 2000\).*failed", capsys.readouterr().out)
