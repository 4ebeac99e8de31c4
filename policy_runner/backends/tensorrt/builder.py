"""Builds an engine from an ONNX file, with the functions that the installed TensorRT has.

The code checks for functions, not for versions. Exception: strong typing, which NVIDIA recommends
from 10.12 on. Nothing is quantized here. A model with its own Q/DQ operations is built unchanged.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from policy_runner.backends.interface import PRECISIONS
from policy_runner.backends.tensorrt.module import Line, log_of, said, tensorrt_module, version_of
from policy_runner.core.errors import Problem, Refusal, refuse

STRONGLY_TYPED_FROM = (10, 12)  # NVIDIA's migration guide: weak typing is deprecated from here
Progress = Callable[[str, float], None]


def build_engine(
    onnx_path: Path,
    precision: str,
    options: Mapping[str, Any],
    log: Line,
    progress: Progress | None = None,
) -> bytes:
    """Build the serialized engine of a model, batch 1.

    TensorRT changes the current GPU context here: do not call it from the control thread.

    Args:
        onnx_path: the ONNX file.
        precision: one of PRECISIONS.
        options: tensorrt.tf32 (bool), tensorrt.workspace [MiB], tensorrt.optimization_level.
        log: gets TensorRT's warnings and errors at once, from TensorRT's threads.
        progress: gets (phase, share done from 0 to 1) if TensorRT reports it (10 and newer).

    Raises:
        Refusal: TensorRT cannot parse or build the model; it has one problem per parser error.
    """
    if precision not in PRECISIONS:
        expected = f"one of {', '.join(PRECISIONS)}"
        raise refuse("", "parameter precision", expected, precision)
    tensorrt = tensorrt_module()
    lines = log_of(tensorrt)
    lines.take()
    with lines.forwarded(log):
        try:
            builder = tensorrt.Builder(lines.logger)
        except Exception as error:  # pybind raises TypeError if the factory returned nothing
            why = said(lines.take(), str(error))
            remedy = "check the GPU, and that all of libnvinfer's packages are installed"
            raise refuse("", "TensorRT", "a builder", why, remedy) from error
        made = _network(tensorrt, builder, onnx_path, precision, log)
        network, half_flag, _parser = made
        _fix_shapes(network, onnx_path)
        config = _configured(tensorrt, builder, options, half_flag)
        if progress is not None and hasattr(tensorrt, "IProgressMonitor"):
            config.progress_monitor = _monitor(tensorrt, progress)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            why = said(lines.take(), "TensorRT gave no reason")
            remedy = "try a larger tensorrt.workspace, or backend: onnxruntime"
            raise refuse(str(onnx_path), "", "a model that TensorRT can build", why, remedy)
        return bytes(plan)


def _network(
    tensorrt: Any, builder: Any, path: Path, precision: str, log: Line
) -> tuple[Any, bool, Any]:
    """Return the network, whether to allow fp16 kernels, and the parser.

    The network uses the parser's memory, so the caller must keep the parser.
    """
    can_allow_half = hasattr(tensorrt.BuilderFlag, "FP16")
    flags = tensorrt.NetworkDefinitionCreationFlag
    creation = 0
    if hasattr(flags, "EXPLICIT_BATCH"):  # TensorRT 8 needs it, 10 ignores it, 11 removed it
        creation |= 1 << int(flags.EXPLICIT_BATCH)
    typed = version_of(tensorrt) >= STRONGLY_TYPED_FROM and hasattr(flags, "STRONGLY_TYPED")
    if precision == "fp16" and can_allow_half:
        typed = False  # TensorRT chooses where fp16 is faster; a typed network refuses the flag
    if typed:
        creation |= 1 << int(flags.STRONGLY_TYPED)
    network, parser = _parsed(tensorrt, builder, creation, path, None)
    half = has_half(tensorrt, network)
    if precision == "fp32" and half:
        remedy = "set precision: as_exported, or export the model in float32"
        raise refuse(str(path), "precision", "float32 arithmetic for fp32", "float16", remedy)
    if precision == "fp16" and not can_allow_half and not half:
        log(f"{path.name}: converted to float16, since this TensorRT takes types from the model")
        network, parser = _parsed(tensorrt, builder, creation, path, converted_to_half(path))
    return network, can_allow_half and not typed and (half or precision == "fp16"), parser


def _parsed(
    tensorrt: Any, builder: Any, creation: int, path: Path, content: bytes | None
) -> tuple[Any, Any]:
    lines = log_of(tensorrt)
    network = builder.create_network(creation)
    if network is None:
        raise refuse("", "TensorRT", "a network", said(lines.take(), "none"))
    parser = tensorrt.OnnxParser(network, lines.logger)
    # Parse from the file, so that TensorRT finds weights in files next to it.
    good = parser.parse_from_file(str(path)) if content is None else parser.parse(content)
    if good:
        return network, parser
    problems = []
    for k in range(parser.num_errors):
        parser_error = parser.get_error(k)
        where = f"node {parser_error.node()}" if parser_error.node() >= 0 else ""
        expected = f"operations that TensorRT {tensorrt.__version__} has"
        text = " ".join(str(parser_error.desc()).split())
        remedy = "" if k else "export it with another opset, or set backend: onnxruntime"
        problems.append(Problem(str(path), where, expected, text, remedy))
    if not problems:
        why = said(lines.take(), "TensorRT gave no reason")
        problems = [Problem(str(path), "", "a model that TensorRT can parse", why)]
    raise Refusal(problems)


def _fix_shapes(network: Any, path: Path) -> None:
    """Set an open batch axis to 1: a static network needs no profile and can be captured."""
    problems: list[Problem | str] = []
    for k in range(network.num_inputs):
        tensor_in_network = network.get_input(k)
        shape = tuple(int(size) for size in tensor_in_network.shape)
        if shape and shape[0] == -1:
            shape = (1, *shape[1:])
            tensor_in_network.shape = shape
        if -1 in shape:
            expected = "fixed sizes after the batch axis"
            problems.append(
                Problem(str(path), f"input '{tensor_in_network.name}'", expected, f"{shape}")
            )
    if problems:
        raise Refusal(problems)
    for k in range(network.num_outputs):
        tensor_in_network = network.get_output(k)
        shape = tuple(int(size) for size in tensor_in_network.shape)
        if -1 in shape:
            expected = "a size that does not depend on the numbers"
            problems.append(
                Problem(str(path), f"output '{tensor_in_network.name}'", expected, f"{shape}")
            )
    if problems:
        raise Refusal(problems)


def _configured(tensorrt: Any, builder: Any, options: Mapping[str, Any], half_flag: bool) -> Any:
    config = builder.create_builder_config()
    if config is None:
        why = said(log_of(tensorrt).take(), "TensorRT gave no reason")
        raise refuse("", "TensorRT", "a builder's configuration", why, "check the GPU's memory")
    workspace = int(options.get("tensorrt.workspace", 64)) << 20
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, workspace)
    config.builder_optimization_level = int(options.get("tensorrt.optimization_level", 3))
    if not options.get("tensorrt.tf32", False):
        config.clear_flag(tensorrt.BuilderFlag.TF32)  # on by default, 10 bits of mantissa
    if half_flag:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    return config


def _monitor(tensorrt: Any, progress: Progress) -> Any:
    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc]
        """Counts steps per phase. Phases nest; only the outermost shows the whole progress."""

        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._outer = ""

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = max(1, num_steps)
            if not parent_phase:
                self._outer = phase_name
                progress(phase_name, 0.0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self._outer:
                progress(phase_name, min(1.0, (step + 1) / self._steps[phase_name]))
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name == self._outer:
                progress(phase_name, 1.0)

    return Monitor()


def has_half(tensorrt: Any, network: Any) -> bool:
    """Return whether any operation of a network outputs float16."""
    for k in range(network.num_layers):
        layer = network.get_layer(k)
        for j in range(layer.num_outputs):
            output = layer.get_output(j)
            if output is not None and output.dtype == tensorrt.DataType.HALF:
                return True
    return False


def converted_to_half(path: Path) -> bytes:
    """Convert a model to float16 arithmetic; the types of inputs and outputs do not change.

    Returns:
        The content of an ONNX file.

    Raises:
        Refusal: the converting packages are not installed, or their result is invalid.
    """
    needed = ("onnx", "onnxconverter_common")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise refuse(
            str(path), "precision", "a float16 model, or onnxconverter-common to convert it with",
            f"no {' and no '.join(missing)}",
            "pip install onnx onnxconverter-common, or export the model in float16 and set "
            "precision: as_exported",
        )  # fmt: skip
    import onnx
    from onnxconverter_common import float16

    model = float16.convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # a pybind type; the conversion fails on a Cast inside the model
        raise refuse(
            str(path), "precision", "a model that onnxconverter-common can convert to float16",
            " ".join(str(error).split()),
            "export the model in float16 and set precision: as_exported",
        ) from error  # fmt: skip
    return bytes(model.SerializeToString())
