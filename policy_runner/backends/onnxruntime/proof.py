"""Proves that ONNX Runtime runs a model on the requested provider.

ONNX Runtime does not report this itself. If a provider cannot be created, the session runs on the
CPU, with only a log line. The list of available providers is fixed when ONNX Runtime is compiled.
So three things are checked: the session's providers, the provider of each node, and the results.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.backends.onnxruntime.libraries import (
    NEED_GPU_WHEEL,
    missing_library,
    preload,
    remedy_for,
    several_installed,
)
from policy_runner.backends.onnxruntime.refusals import explained
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import Buffer

EXACT = 1e-3  # relative to the largest output: fp32 sums in another order
ROUNDED = 3e-2  # relative to the largest output: TF32 or fp16 products
_CUDA_ERROR = re.compile(r"CUDA (?:failure|error) [^;]+")
_ELSEWHERE = "set onnxruntime.allow_cpu_nodes: true to allow that, or run on the CPU"
Samples = Sequence[Mapping[str, npt.NDArray[np.generic]]]


def check_installed(provider: str) -> None:
    """Refuse an installation in which the provider cannot work; names the missing library.

    Raises:
        Refusal: two distributions in one folder, a wheel without the provider, or a library
            that cannot be loaded.
    """
    import onnxruntime as ort

    twice = several_installed()
    if twice is not None:
        raise Refusal([twice])
    if provider not in ort.get_available_providers():
        got = f"{', '.join(ort.get_available_providers())} in onnxruntime {ort.__version__}"
        raise refuse("", "onnxruntime", provider, got, NEED_GPU_WHEEL)
    preload(provider)
    lacks = missing_library(provider)
    if lacks:
        raise refuse("", provider, "its libraries", lacks, remedy_for(provider, lacks))


def check_session(session: Any, provider: str) -> None:
    """Refuse a session that silently fell back to another provider.

    Raises:
        Refusal: the session's first provider is not `provider`.
    """
    found = list(session.get_providers())
    if found[:1] != [provider]:
        lacks = missing_library(provider)
        got = f"a session on {', '.join(found)}" + (f" ({lacks})" if lacks else "")
        remedy = remedy_for(provider, lacks) if lacks else "`policy-runner doctor` says more"
        raise refuse("", "onnxruntime", f"a session on {provider}", got, remedy)


def assignment(session: Any) -> Counter[str] | None:
    """Return the number of nodes per provider; None if this ONNX Runtime cannot report it.

    The session needs the entry session.record_ep_graph_assignment_info = 1. ONNX Runtime 1.31
    reports it. 1.23 does not; see `profiled_assignment`.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    nodes: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        nodes[part.ep_name] += len(part.get_nodes())
    return nodes


def profiled_assignment(profile: Path) -> Counter[str]:
    """Return the number of nodes per provider from a profile, which has an event per node run."""
    nodes: dict[str, str] = {}
    for event in json.loads(profile.read_text(encoding="utf-8")):
        ran_on = event.get("args", {}).get("provider")
        if event.get("cat") == "Node" and ran_on:
            nodes[event["name"]] = ran_on
    return Counter(nodes.values())


def check_assignment(nodes: Counter[str], provider: str, path: Path, allowed: bool) -> str:
    """Check the provider of each node.

    Args:
        nodes: number of nodes per provider.
        provider: the requested one.
        path: the ONNX file, for messages.
        allowed: nodes may also run on other providers.

    Returns:
        The numbers in words, for diagnostics.

    Raises:
        Refusal: no node is on the provider, or some are on another one and that is not allowed.
    """
    text = ", ".join(f"{count} on {name}" for name, count in nodes.most_common())
    elsewhere = sum(nodes.values()) - nodes[provider]
    if not nodes[provider] or (elsewhere and not allowed):
        raise refuse(
            str(path), "", f"every operation on {provider}", text or "no operation",
            _ELSEWHERE,
        )  # fmt: skip
    return text


def samples_for(inputs: Mapping[str, Buffer], count: int = 2) -> list[dict[str, Buffer]]:
    """Make plausible inputs, the same in every process.

    Floats are N(0, 1). Integers and booleans are 0 in the first sample, 1 in the second, and so on.

    Args:
        inputs: arrays with the shapes and types, by tensor name.
        count: number of samples.
    """
    random = np.random.default_rng(20)
    made = []
    for k in range(count):
        sample: dict[str, Buffer] = {}
        for name, array in inputs.items():
            if array.dtype.kind == "f":
                sample[name] = random.standard_normal(array.shape).astype(array.dtype)
            else:
                sample[name] = np.full(array.shape, k % 2, array.dtype)
        made.append(sample)
    return made


def run_on(model: Any, sample: Mapping[str, Buffer]) -> dict[str, npt.NDArray[np.float64]]:
    """Run a model on one sample; returns copies of its outputs as float64."""
    for name, array in sample.items():
        np.copyto(model.inputs[name], array)
    model.run()
    return {name: np.array(array, np.float64) for name, array in model.outputs.items()}


def check_answers(model: Any, reference: Any, provider: str, path: Path, tolerance: float) -> None:
    """Compare a model with the reference on two inputs, and again on the first.

    So a CUDA graph that always repeats one answer is found.

    Args:
        model: the model on the GPU; its tensors are zero afterwards.
        reference: the same model on the CPU.
        provider: of `model`, for messages.
        path: the ONNX file, for messages.
        tolerance: of a difference, relative to (1 + the reference's largest output).

    Raises:
        Refusal: a difference exceeds the tolerance, or two inputs give the same output although
            the reference's outputs differ.
    """
    first, second = samples_for(model.inputs)
    wanted = [run_on(reference, first), run_on(reference, second)]
    order = ((first, wanted[0]), (second, wanted[1]), (first, wanted[0]))
    got = [run_on(model, sample) for sample, _ in order]
    problems = []
    for name in wanted[0]:
        differ = not np.array_equal(wanted[0][name], wanted[1][name], equal_nan=True)
        if differ and np.array_equal(got[0][name], got[1][name], equal_nan=True):
            expected = "another answer to another input"
            problems.append(Problem(str(path), f"output '{name}'", expected, "the first again"))
            continue
        error = max(_apart(g[name], w[name]) for g, (_, w) in zip(got, order, strict=True))
        if not error <= tolerance:
            problems.append(
                Problem(
                    str(path), f"output '{name}'", f"the CPU's answer within {tolerance:g}",
                    f"{error:.3g} from it on {provider}", "run on the CPU, and report this",
                )
            )  # fmt: skip
    for array in (*model.inputs.values(), *model.outputs.values()):
        array.fill(0)
    if problems:
        raise Refusal(problems)


def _apart(got: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> float:
    if got.size == 0:
        return 0.0
    finite = np.isfinite(wanted)
    if not np.array_equal(np.isnan(got), np.isnan(wanted)):
        return float("inf")
    scale = 1.0 + float(np.max(np.abs(wanted[finite]), initial=0.0))
    return float(np.max(np.abs(got[finite] - wanted[finite]), initial=0.0)) / scale


def one_sentence(error: BaseException) -> str:
    """Return an ONNX Runtime error on one line; for a CUDA error only CUDA's part."""
    words = " ".join(str(error).split())
    found = _CUDA_ERROR.search(words)
    return found[0].strip() if found else words or type(error).__name__


def tried(path: Path, expected: str, remedy: str, action: Callable[[], Any]) -> Any:
    """Call an action of ONNX Runtime and return its result.

    Args:
        path: the ONNX file, for messages.
        expected: what the action should give, for messages.
        remedy: for messages, if the error has no more specific one.
        action: the call.

    Raises:
        Refusal: the action raised any exception; with its text.
    """
    try:
        return action()
    except Refusal:
        raise
    except Exception as error:  # ORT raises its own pybind types, one per status code
        text = one_sentence(error)
        known = explained(path, text)
        if known is not None:
            raise known from error
        if "no kernel image" in text:
            remedy = f"this onnxruntime has no code for this GPU: {NEED_GPU_WHEEL}"
        elif "assigned to the default CPU EP" in text:
            text, remedy = "operations that this provider lacks", _ELSEWHERE
        elif text.startswith("CUDA "):
            remedy = "`policy-runner doctor` says which GPUs there are; or run on the CPU"
        raise refuse(str(path), "", expected, text, remedy) from error
