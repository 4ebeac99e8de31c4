"""`inspect --graph`: every tensor is in the picture, no box lies over another, kinds are known."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import quadruped, wheeled_camera

from policy_runner.backends.onnx_file.graph import read_graph
from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.inspect.graph_blocks import Block, blocks_of
from policy_runner.cli.inspect.graph_svg import HEIGHT, WIDTH, positions_of, svg
from policy_runner.cli.main import main

TEXT = "{http://www.w3.org/2000/svg}text"


def blocks(path: Path) -> list[Block]:
    return blocks_of(read_graph(path), read_model_facts(path))


def many_inputs(folder: Path) -> Path:
    """22 inputs, one of an unspeakable name, joined to two heads."""
    names = [f"input_{k}" for k in range(21)] + ["<b>&22"]
    stored = {"w": np.ones((44, 8)), "w2": np.ones((8, 2)), "w3": np.ones((8, 1))}
    nodes = [
        helper.make_node("Concat", names, ["all"], axis=1),
        helper.make_node("MatMul", ["all", "w"], ["a"]),
        helper.make_node("Elu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["actions"]),
        helper.make_node("MatMul", ["b", "w3"], ["value"]),
    ]

    def info(name: str, size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])

    graph = helper.make_graph(
        nodes, "many", [info(name, 2) for name in names], [info("actions", 2), info("value", 1)],
        [numpy_helper.from_array(one.astype(np.float32), name) for name, one in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "many.onnx")
    return folder / "many.onnx"


def test_normalizer_and_head_are_blocks_of_their_own(tmp_path: Path) -> None:
    found = blocks(quadruped(tmp_path))
    assert [(one.kind, one.title) for one in found] == [
        ("input", "obs"),
        ("normalizer", "Sub, Div"),
        ("head", "Gemm, Elu, Gemm"),
        ("output", "actions"),
    ]
    assert found[0].text == "[?, 245]"
    assert found[1].text == "490 parameters"
    assert found[2].text == "4.14 k parameters"
    assert [one.after for one in found] == [[], [0], [1], [2]]


def test_a_camera_has_an_encoder(tmp_path: Path) -> None:
    kinds = {one.title.split(",")[0]: one.kind for one in blocks(wheeled_camera(tmp_path))}
    assert kinds["Conv"] == "encoder"


def test_no_box_lies_over_another(tmp_path: Path) -> None:
    places = positions_of(blocks(many_inputs(tmp_path)))
    assert len(places) == 22 + 3 + 2
    for k, (x, y) in enumerate(places):
        for other_x, other_y in places[k + 1 :]:
            assert abs(x - other_x) >= WIDTH or abs(y - other_y) >= HEIGHT


def test_the_picture_names_every_tensor(tmp_path: Path) -> None:
    path = many_inputs(tmp_path)
    picture = ElementTree.fromstring(svg(blocks(path), path.name))
    texts = {one.text for one in picture.iter(TEXT)}
    assert {*(f"input_{k}" for k in range(21)), "<b>&22", "actions", "value"} <= texts
    assert "Concat, MatMul, Elu" in texts


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(quadruped(tmp_path))
    assert main(["inspect", path, "--graph", str(tmp_path / "network.svg")]) == 0
    ElementTree.parse(tmp_path / "network.svg")
    assert main(["inspect", path, "--graph", str(tmp_path / "network.png")]) == 1
    assert "expected a file ending in .svg, got '.png'" in capsys.readouterr().err
