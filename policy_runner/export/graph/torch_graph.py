"""Exports a module with torch's exporters, quietly, and says in one sentence why it failed.

`torch.export` for modules, tracing for TorchScript, which the other refuses. Both return an ONNX
model in memory without the trainer's paths and source lines.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Refusal, refuse
from policy_runner.export.graph.probes import random_inputs
from policy_runner.export.sources.trained_policy import TrainedPolicy, named_results

OPSET = 18  # with IR 8 it loads on every ONNX Runtime from 1.15 on
IR_VERSION = 8
LEAST_OPSET, MOST_OPSET = 18, 20
EXAMPLE_ROWS = 3  # of a dynamic batch: with 1 or 2 torch may take the size for a constant
BATCH = "batch"


def export_graph(policy: TrainedPolicy, opset: int = OPSET, dynamic: bool = False) -> Any:
    """The module as an onnx.ModelProto, named, without metadata.

    Raises:
        Refusal: the exporter cannot say it, with the line or operation.
    """
    import torch

    axes = [0] * len(policy.inputs) + [state.batch_axis for state in policy.states]
    rows = EXAMPLE_ROWS if dynamic else 1
    given = tuple(random_inputs(policy.arguments, rows, 1.0, batch_axes=axes))
    names = [one.name for one in policy.arguments]
    module = _ordered(policy)
    if dynamic:
        _check_batch(policy, module, given)
    with _quiet() as told, torch.no_grad():
        try:
            if policy.script:
                model = _traced(policy.module, given, names, policy.results, opset, dynamic, axes)
            else:
                model = _exported(module, given, names, policy.results, opset, dynamic, axes)
        except Refusal:
            raise
        except Exception as error:
            raise _failed(policy, error) from error
    for warning in told:
        if _is_tracers(warning) and policy.script:
            place = f"{Path(warning.filename).name}:{warning.lineno}"
            text = " ".join(str(warning.message).split())[:200]
            raise refuse(policy.kind, place, "no decision on data", text)
    return model


def _check_batch(policy: TrainedPolicy, module: Any, given: tuple[Any, ...]) -> None:
    """Refuse a module that runs with one row, and not with several.

    Raises:
        Refusal: what torch says of it.
    """
    import torch

    try:
        with torch.no_grad():
            module(*(one.clone() for one in given))
    except Exception as error:  # the module is any code: an assertion, an index, torch's own
        lines = [one for one in str(error).splitlines() if one.strip()]
        text = lines[-1].removeprefix("RuntimeError: ")[:200] if lines else type(error).__name__
        raise refuse(
            policy.kind, "batch", "a batch of any size",
            f"a batch that the network's code fixes ({text})",
            "use shape[0] or -1 in place of the number, or export without --dynamic-batch",
        ) from error  # fmt: skip


def _ordered(policy: TrainedPolicy) -> Any:
    """The module with its outputs in the policy's order, however it names them."""
    import torch

    if policy.script:
        return policy.module

    class Ordered(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = policy.module

        def forward(self, *given: Any) -> tuple[Any, ...]:
            found = named_results(self.network(*given), policy)
            return tuple(found[name] for name in policy.results)

    return Ordered().eval()


def _exported(
    module: Any, given: tuple[Any, ...], names: list[str], results: list[str], opset: int,
    dynamic: bool, axes: list[int],
) -> Any:  # fmt: skip
    import torch

    shapes = None
    if dynamic:
        batch = torch.export.Dim(BATCH)
        # One entry for *given: the tensors are its elements.
        shapes = (tuple({axis: batch} for axis in axes),)
    program = torch.onnx.export(
        module, given, None, dynamo=True, opset_version=opset, input_names=names,
        output_names=results, dynamic_shapes=shapes, external_data=False, verbose=False,
    )  # fmt: skip
    if program is None:
        raise RuntimeError("the exporter gave nothing")
    return program.model_proto


def _traced(
    module: Any, given: tuple[Any, ...], names: list[str], results: list[str], opset: int,
    dynamic: bool, axes: list[int],
) -> Any:  # fmt: skip
    import onnx
    import torch

    file = io.BytesIO()
    free = {name: {axis: BATCH} for name, axis in zip(names, axes, strict=True)}
    states = len(axes) - sum(axis == 0 for axis in axes)
    outputs = {name: {0: BATCH} for name in results[: len(results) - states]}
    torch.onnx.export(
        module, given, file, dynamo=False, opset_version=opset, input_names=names,
        output_names=results, dynamic_axes={**free, **outputs} if dynamic else None,
    )  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


@contextlib.contextmanager
def _quiet() -> Iterator[list[Any]]:
    """No progress on stdout, no log lines; argument checks of distributions off. The warnings."""
    import torch

    distribution = torch.distributions.Distribution
    was = distribution.arg_constraints is not None and _validates()
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    distribution.set_default_validate_args(False)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        try:
            yield told
        finally:
            distribution.set_default_validate_args(was)
            logging.disable(level)


def _validates() -> bool:
    """Whether torch's distributions check their arguments; on unless Python runs with -O."""
    return bool(__debug__)


def _is_tracers(warning: Any) -> bool:
    foreign = "site-packages" in warning.filename or "dist-packages" in warning.filename
    return warning.category.__name__ == "TracerWarning" and not foreign


# What the exporters' errors mean, from their texts (torch 2.13).
_MEANINGS = (
    (r"(?:No ONNX function found for|Exporting the operator) .*?'([\w.:]+)'",
     "operations that ONNX has", "no conversion of {0}",
     "write it with other operations, or take it out of the network"),
    (r"Could not guard on data-dependent|Could not extract specialized integer|"
     r"data-dependent|GuardOnDataDependentSymNode",
     "no decision on data", "a branch or a number of rounds that depends on data",
     "torch.where, torch.clamp or torch.cond can say it in a graph"),
    (r"Eq\(s\d+, (\d+)\)|Constraints violated|inferred to be a constant|not a constant|not in VR\[",
     "a batch of any size", "a batch that the network's code fixes",
     "use shape[0] or -1 in place of the number, or export without --dynamic-batch"),
    (r"mat1 and mat2 must have the same dtype", "float32 everywhere", "double data next to it",
     "convert the module: module.float()"),
    (r"Unsupported onnx_opset_version|added in version", "an opset that the exporter has",
     "one that it has not", "leave --opset out"),
)  # fmt: skip


def _failed(policy: TrainedPolicy, error: Exception) -> Refusal:
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(texts) < 8:
        texts.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    whole = "\n".join(texts)
    place = _place(whole)
    for pattern, expected, got, remedy in _MEANINGS:
        found = re.search(pattern, whole)
        if found:
            name = found[1] if found.groups() and found[1] else ""
            return refuse(policy.kind, place, expected, got.format(name), remedy)
    text = " ".join(texts[-1].split())[:300]
    return refuse(policy.kind, place, "a module that torch can export", text)


def _place(text: str) -> str:
    """The last source line outside torch that an error's text names."""
    lines = [
        (name, number)
        for name, number in re.findall(r'File "([^"]+)", line (\d+)', text)
        if "site-packages" not in name and f"policy_runner{'/'}export" not in name
    ]
    return f"{Path(lines[-1][0]).name}:{lines[-1][1]}" if lines else ""


def strip(model: Any) -> None:
    """Remove what tells of the trainer's machine: stack traces, class names, source lines."""
    model.doc_string = ""
    del model.metadata_props[:]
    model.ir_version = IR_VERSION
    del model.functions[len(model.functions) :]
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        graph.doc_string = ""
        parts = (graph.node, graph.initializer, graph.input, graph.output, graph.value_info)
        for part in parts:
            for one in part:
                one.doc_string = ""
                if hasattr(one, "metadata_props"):
                    del one.metadata_props[:]
        if hasattr(graph, "metadata_props"):
            del graph.metadata_props[:]
        for node in graph.node:
            for attribute in node.attribute:
                attribute.doc_string = ""
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += list(attribute.graphs)
