"""The TensorRT backend on a fake GPU that checks CUDA's rules: numbers, threads, states."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fake_tensorrt import VERSIONS
from gpu_rig import RANDOM, W_OBS, W_STATE, GpuRig, dense, recurrent, save
from onnx import helper

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.tensorrt.model import model_of_plan
from policy_runner.core.errors import Refusal

BINDINGS = ("pycuda", "cuda.bindings")


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> GpuRig:
    return GpuRig(monkeypatch)


def in_thread(call: Callable[[], None]) -> None:
    """Call it in a thread that ends, like the control thread, not in the loader's thread."""
    with ThreadPoolExecutor(1, "control") as threads:
        threads.submit(call).result()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_numbers_like_numpy(
    rig: GpuRig, tmp_path: Path, version: str, binding: str, integrated: bool, graph: bool
) -> None:
    rig.plug(version, binding, integrated=integrated)
    model = rig.load(dense(tmp_path / "p.onnx", batch="batch"), cuda_graph=graph)
    assert model.facts["cuda graph"] == ("yes" if graph else "no: tensorrt.cuda_graph is false")
    assert "warning" not in model.facts
    assert model.inputs["obs"].shape == (1, 5)
    launches = rig.gpu.launches

    def drive() -> None:
        for _ in range(4):
            x = RANDOM.normal(size=(1, 5)).astype(np.float32)
            model.inputs["obs"][:] = x
            model.run()
            np.testing.assert_allclose(model.outputs["act"], np.tanh(x @ W_OBS), atol=1e-6)

    in_thread(drive)
    in_thread(drive)  # a second control thread, which may have the first one's id
    assert rig.gpu.launches - launches == (8 if graph else 0)
    assert model.take_log() == []
    model.close()
    model.close()
    assert not rig.gpu.stack, "the loader's thread got its own context back"


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("wait", ["spin", "block"])
def test_closing_gives_the_gpu_everything_back(
    rig: GpuRig, tmp_path: Path, binding: str, wait: str
) -> None:
    rig.plug("10.13.3", binding)
    model = rig.load(dense(tmp_path / "p.onnx"), wait=wait)
    in_thread(model.run)
    action = model.outputs["act"]
    expected = action.copy()
    model.close()
    gc.collect()
    assert rig.gpu.leaked == 0
    np.testing.assert_array_equal(action, expected)  # still readable after `close`
    with pytest.raises(RuntimeError, match="closed"):
        model.run()


@pytest.mark.parametrize("binding", BINDINGS)
def test_closing_goes_on_after_a_failure(rig: GpuRig, tmp_path: Path, binding: str) -> None:
    rig.plug(binding=binding)
    model = rig.load(dense(tmp_path / "p.onnx"))
    rig.gpu.streams.clear()  # as after a sticky CUDA error
    with pytest.raises(Exception, match="CUDA_ERROR_INVALID_HANDLE"):
        in_thread(model.run)
    model.close()
    assert model.take_log()[-1].startswith("closing p.onnx: ")
    gc.collect()
    assert rig.gpu.leaked == 0
    assert not rig.gpu.stack


def test_a_thread_that_ends_leaves_nothing_on_pycudas_stack(rig: GpuRig, tmp_path: Path) -> None:
    rig.plug(binding="pycuda")
    model = rig.load(dense(tmp_path / "p.onnx"))
    in_thread(model.run)  # pycuda would end the process with this thread
    assert set(rig.pycuda.Context.left.values()) == {0}


def test_two_models_share_the_primary_context(rig: GpuRig, tmp_path: Path) -> None:
    rig.plug(binding="cuda.bindings")
    first, second = (rig.load(dense(tmp_path / f"{k}.onnx")) for k in range(2))

    def swap() -> None:
        first.run()
        second.run()

    in_thread(swap)
    first.close()
    in_thread(second.run)
    assert rig.gpu.retained == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("integrated", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_states_stay_on_the_gpu(
    rig: GpuRig, tmp_path: Path, version: str, binding: str, integrated: bool, graph: bool
) -> None:
    rig.plug(version, binding, integrated=integrated)
    model = rig.load(recurrent(tmp_path / "p.onnx"), cuda_graph=graph)
    assert list(model.inputs) == ["obs", "z", "step"]
    assert list(model.outputs) == ["z_next", "act"]
    assert model.inputs["step"].dtype == (np.int32 if version.startswith("8") else np.int64)
    initial = np.full((1, 3), 0.25, np.float32)
    reset = model.keep_states([(model.inputs["z"], model.outputs["z_next"], initial)])
    assert reset is not None
    assert model.facts["states"] == "on the GPU"
    model.inputs["step"][:] = 2

    def episode() -> None:
        z = initial
        for _ in range(5):
            x = RANDOM.normal(size=(1, 5)).astype(np.float32)
            model.inputs["obs"][:] = x
            model.run()
            z = np.tanh(x @ W_OBS + z @ W_STATE)
            np.testing.assert_allclose(model.outputs["act"], 2 * z, atol=1e-5)

    in_thread(episode)
    reset()  # from another thread
    in_thread(episode)
    assert "warning" not in model.facts


def test_states_of_another_model_are_left_to_the_core(rig: GpuRig, tmp_path: Path) -> None:
    model = rig.plug().load(recurrent(tmp_path / "p.onnx"))
    z = np.zeros((1, 3), np.float32)
    assert model.keep_states([(z, model.outputs["z_next"], z)]) is None


def test_a_model_that_cannot_be_captured_runs_without_and_says_so(
    rig: GpuRig, tmp_path: Path
) -> None:
    rig.plug(refuse_capture=True)
    model = rig.load(dense(tmp_path / "p.onnx"))
    assert model.facts["cuda graph"].startswith("no: execute_async_v3: refused")
    assert "not permitted when stream is capturing" in model.facts["warning"]
    model.inputs["obs"][:] = 1
    in_thread(model.run)
    np.testing.assert_allclose(model.outputs["act"], np.tanh(W_OBS.sum(0))[None], atol=1e-6)


def test_a_graph_that_replays_its_first_result_is_not_used(rig: GpuRig, tmp_path: Path) -> None:
    rig.plug(replay_stale=True)
    model = rig.load(dense(tmp_path / "p.onnx"))
    assert "differs from the engine's" in model.facts["warning"]
    assert not rig.gpu.executables


def test_warming_up_leaves_zeros(rig: GpuRig, tmp_path: Path) -> None:
    model = rig.plug().load(recurrent(tmp_path / "p.onnx"))
    assert not any(array.any() for array in (*model.inputs.values(), *model.outputs.values()))


def test_half_precision_tensors(rig: GpuRig, tmp_path: Path) -> None:
    model = rig.plug("8.6.1").load(dense(tmp_path / "p.onnx", np.float16))
    assert model.inputs["obs"].dtype == np.float16
    x = RANDOM.normal(size=(1, 5)).astype(np.float16)
    model.inputs["obs"][:] = x
    model.run()
    np.testing.assert_allclose(model.outputs["act"], np.tanh(x @ W_OBS), atol=4e-3)


def test_pycuda_comes_before_cuda_bindings(rig: GpuRig, tmp_path: Path) -> None:
    rig.plug(binding="both")
    path = dense(tmp_path / "p.onnx")
    assert rig.load(path).facts["cuda"].startswith("pycuda 2026.1")
    chosen = rig.load(path, cuda_binding="cuda.bindings")
    assert chosen.facts["cuda"].startswith("cuda-bindings")


@pytest.mark.parametrize(
    ("plugged", "options", "says"),
    [
        ({"version": None}, {}, "no such package"),
        ({"binding": None}, {}, "pip install cuda-bindings"),
        ({"binding": "pycuda"}, {"cuda_binding": "cuda.bindings"}, "no such package"),
        ({"binding": "pycuda", "count": 0}, {}, "got 0 GPUs"),
        ({"binding": "cuda.bindings", "count": 0}, {}, "got 0 GPUs"),
        ({"binding": "cuda.bindings", "memory_left": 16}, {}, "CUDA_ERROR_OUT_OF_MEMORY"),
        ({"binding": "pycuda", "memory_left": 16}, {}, "CUDA_ERROR_OUT_OF_MEMORY"),
        ({"version": "8.5.2"}, {}, "8.5.2"),
    ],
)
def test_what_is_missing_is_refused_and_never_runs_on_the_cpu(
    rig: GpuRig, tmp_path: Path, plugged: dict[str, object], options: dict[str, str], says: str
) -> None:
    path = dense(tmp_path / "p.onnx")
    plan = rig.plug().build(path)
    rig.plug(**plugged)
    named = {f"tensorrt.{name}": value for name, value in options.items()}
    with pytest.raises(Refusal, match=says):
        model_of_plan(BackendChoice("tensorrt", options=named), path, "sha", plan)
    gc.collect()
    assert rig.gpu.leaked == 0


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_driver_that_does_not_come_up_is_named(
    rig: GpuRig, tmp_path: Path, binding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = rig.plug().build(dense(tmp_path / "p.onnx"))
    rig.plug(binding=binding)

    def broken(*_: object) -> None:
        raise RuntimeError("libcuda.so.1: cannot open shared object file")

    driver = "pycuda.driver" if binding == "pycuda" else "cuda.bindings.driver"
    monkeypatch.setattr(f"{driver}.{'init' if binding == 'pycuda' else 'cuInit'}", broken)
    with pytest.raises(Refusal, match="cannot open shared object"):
        model_of_plan(BackendChoice("tensorrt"), tmp_path / "p.onnx", "sha", plan)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda plan: plan[:-3], "Error Code 1"),
        (lambda plan: b"", "Error Code 1"),
        (lambda plan: plan.replace(b"FAKE", b"EVIL"), "policy-runner engine remove"),
    ],
)
def test_a_spoilt_engine_is_refused(
    rig: GpuRig, tmp_path: Path, spoil: Callable[[bytes], bytes], says: str
) -> None:
    path = dense(tmp_path / "p.onnx")
    plan = rig.plug().build(path)
    with pytest.raises(Refusal, match=says):
        model_of_plan(BackendChoice("tensorrt"), path, "sha", spoil(plan))


def test_an_engine_of_another_machine_or_model_is_refused(rig: GpuRig, tmp_path: Path) -> None:
    path, other = dense(tmp_path / "p.onnx"), recurrent(tmp_path / "other.onnx")
    plan = rig.plug("10.3.0").build(path)
    choice = BackendChoice("tensorrt")
    with pytest.raises(Refusal, match="the model's z"):
        model_of_plan(choice, other, "sha", plan)
    rig.plug("10.13.3")
    with pytest.raises(Refusal, match="not compatible"):
        model_of_plan(choice, path, "sha", plan)
    rig.plug("10.3.0", name="Fake Thor")
    with pytest.raises(Refusal, match="not compatible"):
        model_of_plan(choice, path, "sha", plan)


def test_no_context_is_a_refusal(
    rig: GpuRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRT_FAIL", "context")
    with pytest.raises(Refusal, match="execution context"):
        rig.plug().load(dense(tmp_path / "p.onnx"))


def test_a_name_that_the_model_repeats_is_there_by_position(rig: GpuRig, tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["obs"], ["act"])]
    path = save(tmp_path / "p.onnx", nodes, {"obs": ([1, 2], 1)}, {"act": ([1, 2], 1)})
    model = rig.plug().load(path)
    assert list(model.outputs) == ["act"]
