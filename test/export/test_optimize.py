"""Variants of a policy: what helps, what harms, and what is written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from cli_rig import spec as toy_spec
from cli_rig import weights
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec
from policy_runner.export.graph.stored_model import save_model
from policy_runner.export.optimize.optimize_policy import (
    optimize_policy,
    with_checksums,
    with_model,
)
from policy_runner.export.optimize.variants import VARIANTS, make
from policy_runner.export.optimize.verdicts import (
    HARMS,
    HELPS,
    NO_GAIN,
    NOT_MADE,
    Judged,
    best,
    judge,
    set_errors,
)
from policy_runner.formats.own.exported import model_entry
from policy_runner.package_files import share_path
from policy_runner.robot.load import load_policy

BALANCER = share_path("models", "balancer")


def toy(folder: Path, offset: float = 0.0) -> Path:
    """obs [1, 13] + offset times a matrix is actions [1, 2]; with policy.yaml."""
    stored = {"w": weights(), "offset": np.full((1, 13), offset, np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Sub", ["obs", "offset"], ["centred"]),
         helper.make_node("MatMul", ["centred", "w"], ["actions"])],
        "toy",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, 13])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(one, name) for name, one in stored.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "toy.onnx")
    facts = read_model_facts(folder / "toy.onnx")
    given = toy_spec(model={"file": "toy.onnx", "sha256": facts.sha256})
    (folder / "policy.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    return folder


def test_the_static_int8_balancer_is_refused_by_its_largest_error() -> None:
    """Its mean error is small: that is what misleads."""
    found = optimize_policy(BALANCER, names=["fp16", "int8-static"])
    rows = {row.name: row for row in found.rows}
    assert rows["fp16"].verdict in (HELPS, NO_GAIN)
    assert rows["fp16"].share is not None
    assert rows["fp16"].share < 1e-3
    static = rows["int8-static"]
    assert static.verdict == HARMS
    assert "largest error" in static.why
    assert static.mean is not None
    assert static.largest is not None
    assert static.mean < 0.02 * 15.0 < 10 * static.largest


def test_another_model_than_the_specs_is_refused(tmp_path: Path) -> None:
    path = toy(tmp_path) / "toy.onnx"
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(Refusal, match=r"toy\.onnx: sha256: expected"):
        optimize_policy(tmp_path, names=["fp16"])


def test_an_output_inside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    folder = toy(tmp_path / "toy")
    before = sorted(folder.rglob("*"))
    with pytest.raises(Refusal, match=r"expected a folder outside .*toy, whose files are copied"):
        optimize_policy(folder, folder / "small" / "new", names=["fp16"])
    assert sorted(folder.rglob("*")) == before


def test_the_best_variant_becomes_a_folder_that_check_accepts(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    found = optimize_policy(toy(tmp_path / "toy"), tmp_path / "new", names=["fp16"])
    row = found.rows[0]
    assert row.share is not None
    assert row.share < 0.01
    if row.verdict == HELPS:  # 300 bytes of weights: the casts may cost more than they save
        assert found.applied == "fp16"
        load_policy(tmp_path / "new").close()
    else:
        assert not (tmp_path / "new").exists()


def test_a_number_that_float16_does_not_hold_is_refused_by_name(tmp_path: Path) -> None:
    """The converters cut it to 10000 or 65504 without an error: air pressure in Pa."""
    with pytest.raises(Refusal, match=r"'offset': expected numbers up to 65504.*got 101325"):
        make("fp16", toy(tmp_path, 101325.0) / "toy.onnx", tmp_path / "half.onnx", [])


def test_an_opset_without_a_scale_for_each_channel_is_named(tmp_path: Path) -> None:
    """ONNX Runtime writes an invalid model: Unrecognized attribute: axis."""
    path = toy(tmp_path) / "toy.onnx"
    model = onnx.load(path)
    model.opset_import[0].version = 11
    onnx.save(model, path)
    with pytest.raises(Refusal, match=r"opset: expected 13 or newer.*got 11; export the network"):
        make("int8-tensorrt", path, tmp_path / "half.onnx", [])


def test_the_verdict_comes_from_the_maximum_and_the_loop() -> None:
    random = np.random.default_rng(1)
    wanted = random.uniform(-1, 1, (1000, 2))
    got = wanted.copy()
    got[500, 1] += 0.3  # one bad answer in a thousand
    bad = Judged("bad", size=0.5)
    set_errors(bad, wanted, got, ["left", "right"])
    assert bad.mean is not None
    assert bad.mean < 0.001
    judge(bad, {"bad": 0.5}, trusted=True)
    assert (bad.verdict, bad.element) == (HARMS, "right")
    falling = Judged("falling", size=0.5, falls_more=True)
    set_errors(falling, wanted, wanted, ["left", "right"])
    judge(falling, {"falling": 0.5}, trusted=True)
    assert falling.verdict == HARMS
    nothing = Judged("nothing", share=float("nan"))
    judge(nothing, {}, trusted=True)
    assert nothing.verdict == HARMS


def split_toy(folder: Path) -> Path:
    """The toy with a hidden layer, and its weights in `toy.onnx.data`; the spec has checksums."""
    toy(folder)
    random = np.random.default_rng(3)
    stored = {"w": random.normal(0, 0.3, (13, 128)).astype(np.float32),
              "v": random.normal(0, 0.1, (128, 2)).astype(np.float32)}  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["obs", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["b"]),
         helper.make_node("MatMul", ["b", "v"], ["actions"])],
        "toy",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, 13])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(one, name) for name, one in stored.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path = folder / "toy.onnx"
    save_model(model, path, most=1024)
    keys = model_entry(read_model_facts(path))
    assert keys["data"]
    text = (folder / "policy.yaml").read_text()
    begin, end = text.index("model:"), text.index("control_dt:")
    block = yaml.safe_dump({"model": keys}, sort_keys=False)
    (folder / "policy.yaml").write_text(f"{text[:begin]}{block}# kept\n{text[end:]}")
    return folder


def test_weights_next_to_the_graph_are_optimized_like_others(tmp_path: Path) -> None:
    folder = split_toy(tmp_path)
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    names = [name for name in VARIANTS if name != "onnxslim" or find_spec("onnxslim")]
    found = optimize_policy(folder, names=names)
    assert [row.name for row in found.rows if row.verdict == NOT_MADE] == []
    half = next(row for row in found.rows if row.name == "fp16")
    assert half.size is not None
    assert half.size < 0.75  # of graph and weights together
    # ONNX Runtime's quantization writes next to the model that it reads.
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before


@pytest.mark.parametrize("outside", [False, True])
def test_a_folder_with_another_model_has_its_checksums(tmp_path: Path, outside: bool) -> None:
    (tmp_path / "old").mkdir()
    folder = split_toy(tmp_path / "old")
    new = tmp_path / "new" / "toy.onnx"
    new.parent.mkdir()
    model = onnx.load(folder / "toy.onnx")
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    save_model(model, new, most=1024 if outside else None)
    spec_file = read_spec(folder)
    with_model(spec_file, folder / "toy.onnx", new, tmp_path / "made")
    assert (tmp_path / "made" / "toy.onnx.data").exists() == outside
    load_policy(tmp_path / "made").close()
    spec = yaml.safe_load((tmp_path / "made" / "policy.yaml").read_text())
    old = yaml.safe_load((folder / "policy.yaml").read_text())
    assert spec["model"] == model_entry(read_model_facts(tmp_path / "made" / "toy.onnx")) | (
        {} if outside else {"data": {}}
    )
    assert "# kept" in (tmp_path / "made" / "policy.yaml").read_text()
    assert {**spec, "model": None} == {**old, "model": None}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{data: {a.data: x}, sha256: y}", '{data: {"b.data": "d"}, sha256: s}'),
        ("\n  data:\n    a.data: x\n  # why\n  sha256: y  # when\n",
         '\n  data:\n    {"b.data": "d"}\n  # why\n  sha256: s  # when\n'),
        ("{file: a.onnx, sha256: , data: null}", "{file: a.onnx, sha256: , data: null}"),
    ],
)  # fmt: skip
def test_only_the_checksums_of_a_spec_change(old: str, new: str) -> None:
    rest = "name: toy\nmodel: %s\ncontrol_dt: 0.02\n"
    assert with_checksums(rest % old, "s", {"b.data": "d"}) == rest % new


def test_the_closed_loop_drives_the_spec_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    folder = toy(tmp_path / "toy")
    (folder / "policy.yaml").rename(folder / "second.yaml")
    driven: list[str] = []

    def drive(spec: Path) -> tuple[str, bool]:
        driven.append(read_spec(spec).path.name)
        return "", False

    optimize_policy(folder / "second.yaml", names=["fp16", "fp16"], closed_loop=drive)
    assert driven == ["second.yaml"]  # once, though it was named twice


def test_a_folder_of_links_gets_another_model(tmp_path: Path) -> None:
    """As colcon's --symlink-install makes it."""
    (tmp_path / "source").mkdir()
    (tmp_path / "installed").mkdir()
    new = toy(tmp_path / "source") / "toy.onnx"
    for one in new.parent.iterdir():
        (tmp_path / "installed" / one.name).symlink_to(one)
    spec_file = read_spec(tmp_path / "installed")
    with_model(spec_file, spec_file.next_to("toy.onnx", "model.file"), new, tmp_path / "made")
    load_policy(tmp_path / "made").close()
    assert not any(one.is_symlink() for one in (tmp_path / "made").iterdir())


@pytest.mark.parametrize(
    ("size", "latency", "trusted", "verdict"),
    [
        (1.0, 0.8, True, HELPS),
        (1.0, 0.8, False, NO_GAIN),  # A/A was off
        (0.5, 1.0, True, HELPS),
        (0.5, 1.5, True, NO_GAIN),
        (1.0, 1.0, True, NO_GAIN),
    ],
)
def test_what_helps(size: float, latency: float, trusted: bool, verdict: str) -> None:
    row = Judged("x", size=size, share=0.001, element="left")
    judge(row, {"x": latency}, trusted)
    assert row.verdict == verdict


def test_nothing_is_applied_where_nothing_helps() -> None:
    slow = Judged("slow", verdict=NO_GAIN, latency=1.2)
    small = Judged("small", verdict=HELPS, latency=1.0, size=0.5)
    fast = Judged("fast", verdict=HELPS, latency=0.7, size=1.0)
    assert best([slow]) is None
    assert best([slow, small, fast]) is fast


def test_check_names_a_graph_of_one_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(toy(tmp_path) / "toy.onnx")
    model.graph.node[1].op_type, model.graph.node[1].domain = "FusedMatMul", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, tmp_path / "toy.onnx")
    text = (tmp_path / "policy.yaml").read_text()
    sha = read_model_facts(tmp_path / "toy.onnx").sha256
    old = text.split("sha256: ")[1].split("\n")[0]
    (tmp_path / "policy.yaml").write_text(text.replace(old, sha))
    assert main(["check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "com.microsoft.FusedMatMul were written by ONNX Runtime" in out
