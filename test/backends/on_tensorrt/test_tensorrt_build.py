"""Builds engines on each version's API: the builder's settings, and every failure."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from fake_tensorrt import VERSIONS, plan_facts
from gpu_rig import GpuRig, dense, save
from onnx import helper

from policy_runner.backends.tensorrt import builder as tensorrt_half
from policy_runner.backends.tensorrt.builder import build_engine
from policy_runner.backends.tensorrt.module import log_of, machine_facts
from policy_runner.core.errors import Refusal

TYPED = {"8.6.1": False, "10.3.0": False, "10.13.3": True, "11.4.0": True}


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> GpuRig:
    return GpuRig(monkeypatch)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["as_exported", "fp32"])
def test_types_are_the_models_and_tf32_is_off(
    rig: GpuRig, tmp_path: Path, version: str, precision: str
) -> None:
    facts = plan_facts(rig.plug(version).build(dense(tmp_path / "p.onnx"), precision))
    assert facts["typed"] is TYPED[version]
    assert facts["tf32"] is False
    assert facts["half"] is False
    assert facts["level"] == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_options_reach_the_builder(rig: GpuRig, tmp_path: Path, version: str) -> None:
    rig.plug(version)
    facts = plan_facts(rig.build(dense(tmp_path / "p.onnx"), tf32=True, optimization_level=5))
    assert facts["tf32"] is True
    assert facts["level"] == 5
    with pytest.raises(Refusal, match="no workspace"):
        rig.build(tmp_path / "p.onnx", workspace=0)


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "10.13.3"])
def test_fp16_is_allowed_where_the_flag_exists(rig: GpuRig, tmp_path: Path, version: str) -> None:
    facts = plan_facts(rig.plug(version).build(dense(tmp_path / "p.onnx"), "fp16"))
    assert facts["half"] is True
    assert facts["typed"] is False  # a typed network refuses the flag


def test_fp16_is_converted_where_the_flag_is_gone(
    rig: GpuRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(model: Any, keep_io_types: bool) -> Any:
        assert keep_io_types
        for one in model.graph.initializer:
            half = onnx.numpy_helper.to_array(one).astype(np.float16)
            one.CopyFrom(onnx.numpy_helper.from_array(half, one.name))
        for one in (*model.graph.input, *model.graph.output):
            one.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
        return model

    common, float16 = ModuleType("onnxconverter_common"), ModuleType("float16")
    float16.convert_float_to_float16 = convert
    common.float16 = float16
    monkeypatch.setitem(sys.modules, "onnxconverter_common", common)
    monkeypatch.setattr(tensorrt_half.importlib.util, "find_spec", lambda name: object())
    lines: list[str] = []
    rig.plug("11.4.0")
    path = dense(tmp_path / "p.onnx")
    plan = build_engine(path, "fp16", {}, lines.append)
    assert plan_facts(plan)["typed"] is True
    assert b"float16" not in plan_facts(plan)
    assert lines == ["p.onnx: converted to float16, since this TensorRT takes types from the model"]


def test_a_model_that_is_converted_wrongly_is_refused(
    rig: GpuRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(model: Any, keep_io_types: bool) -> Any:
        model.graph.node[0].input[0] = "nowhere"
        return model

    common, float16 = ModuleType("onnxconverter_common"), ModuleType("float16")
    float16.convert_float_to_float16 = convert
    common.float16 = float16
    monkeypatch.setitem(sys.modules, "onnxconverter_common", common)
    monkeypatch.setattr(tensorrt_half.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(Refusal, match="export the model in float16"):
        rig.plug("11.4.0").build(dense(tmp_path / "p.onnx"), "fp16")


def test_fp16_without_flag_and_without_converter_is_refused(
    rig: GpuRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.plug("11.4.0")
    monkeypatch.setitem(sys.modules, "onnxconverter_common", None)
    with pytest.raises(Refusal, match="pip install onnx onnxconverter-common"):
        rig.build(dense(tmp_path / "p.onnx"), "fp16")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_float16_model_is_built_as_it_is(rig: GpuRig, tmp_path: Path, version: str) -> None:
    rig.plug(version)
    path = dense(tmp_path / "p.onnx", np.float16)
    for precision in ("as_exported", "fp16"):
        facts = plan_facts(rig.build(path, precision))
        assert facts["half"] is not facts["typed"]
    with pytest.raises(Refusal, match="precision: as_exported"):
        rig.build(path, "fp32")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_open_batch_is_one_and_other_open_axes_are_refused(
    rig: GpuRig, tmp_path: Path, version: str
) -> None:
    rig.plug(version)
    assert plan_facts(rig.build(dense(tmp_path / "p.onnx", batch="n")))["shapes"] == {"obs": [1, 5]}
    nodes = [helper.make_node("Tanh", ["obs"], ["act"])]
    open_axis = save(tmp_path / "q.onnx", nodes, {"obs": ([1, "n"], 1)}, {"act": ([1, "n"], 1)})
    with pytest.raises(Refusal, match=r"input 'obs': expected fixed sizes after the batch axis"):
        rig.build(open_axis)


def test_an_output_whose_size_depends_on_numbers_is_refused(rig: GpuRig, tmp_path: Path) -> None:
    nodes = [helper.make_node("NonZero", ["obs"], ["act"])]
    path = save(tmp_path / "p.onnx", nodes, {"obs": ([1, 4], 1)}, {"act": ([2, "n"], 7)})
    with pytest.raises(Refusal, match=r"output 'act': expected a size that does not depend"):
        rig.plug().build(path)


def test_every_parser_error_is_a_problem_of_its_own(rig: GpuRig, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Strange", ["obs"], ["x"], domain="mine"),
        helper.make_node("Odd", ["x"], ["act"], domain="mine"),
    ]
    path = save(tmp_path / "p.onnx", nodes, {"obs": ([1, 4], 1)}, {"act": ([1, 4], 1)})
    with pytest.raises(Refusal) as caught:
        rig.plug("11.4.0").build(path)
    first, second = (str(problem) for problem in caught.value.problems)
    assert "node 0" in first
    assert "Plugin not found: Strange" in first
    assert "TensorRT 11.4.0" in first
    assert "Plugin not found: Odd" in second


@pytest.mark.parametrize("version", VERSIONS)
def test_none_from_the_builder_is_a_refusal_with_its_log(
    rig: GpuRig, tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.plug(version)
    path = dense(tmp_path / "p.onnx")
    lines: list[str] = []
    monkeypatch.setenv("FAKE_TRT_FAIL", "build")
    with pytest.raises(Refusal, match="Could not find any implementation"):
        build_engine(path, "as_exported", {}, lines.append)
    assert lines == ["TensorRT error: Could not find any implementation for node {ForeignNode}"]
    monkeypatch.setenv("FAKE_TRT_FAIL", "builder")
    with pytest.raises(Refusal, match="libnvinfer_builder_resource"):
        build_engine(path, "as_exported", {}, lines.append)


def test_no_onnx_file_is_a_refusal(rig: GpuRig, tmp_path: Path) -> None:
    (tmp_path / "p.onnx").write_bytes(b"no protobuf at all")
    with pytest.raises(Refusal, match="Failed to parse"):
        rig.plug().build(tmp_path / "p.onnx")


@pytest.mark.parametrize(("version", "tells"), [("8.6.1", False), ("10.3.0", True)])
def test_progress_is_that_of_the_outermost_phase(
    rig: GpuRig, tmp_path: Path, version: str, tells: bool
) -> None:
    rig.plug(version)
    told: list[tuple[str, float]] = []
    path = dense(tmp_path / "p.onnx")
    build_engine(path, "fp32", {}, lambda line: None, lambda *one: told.append(one))
    shares = [share for phase, share in told if phase == "Building Engine"]
    assert shares == ([0.0, 0.25, 0.5, 0.75, 1.0, 1.0] if tells else [])
    assert len(shares) == len(told)


def test_a_log_that_fails_does_not_end_the_build(rig: GpuRig, tmp_path: Path) -> None:
    rig.plug()

    def broken(line: str) -> None:
        raise OSError("disk full")

    log = log_of(rig.tensorrt)
    with log.forwarded(broken):
        log.logger.log(rig.tensorrt.ILogger.Severity.ERROR, "two\n lines")
        log.logger.log(rig.tensorrt.ILogger.Severity.INFO, "not kept")
    assert log.take() == ["TensorRT error: two lines"]
    assert log.take() == []


def test_a_builder_that_gives_no_configuration_is_refused(
    rig: GpuRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.plug("10.3.0")
    monkeypatch.setattr(rig.tensorrt.Builder, "create_builder_config", lambda _self: None)
    with pytest.raises(Refusal, match="TensorRT: expected a builder's configuration, got Tensor"):
        rig.build(dense(tmp_path / "p.onnx"))


@pytest.mark.parametrize("binding", ["pycuda", "cuda.bindings"])
def test_machine_facts(rig: GpuRig, binding: str) -> None:
    facts = machine_facts(0) if rig.plug("10.3.0", binding) else None
    assert facts is not None
    assert (facts.tensorrt, facts.gpu, facts.compute, facts.driver) == (
        "10.3.0", "Fake Orin", "8.7", "12060",
    )  # fmt: skip
    assert rig.gpu.leaked == 0
