"""Refuses what an exporter would lose silently, with the culprit's name, before any export.

Runs the module four times on seeded inputs. Each rule answers a fault that torch's exporters
were seen to pass (torch 2.13): see docs/guides/export.md.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.export.graph.contents import Kept, Snapshot, changes, contents, same
from policy_runner.export.graph.watched_calls import run_watched, script_draws
from policy_runner.export.sources.trained_policy import (
    BOOL,
    FLOAT,
    TensorShape,
    TrainedPolicy,
    named_results,
)

SIGMAS = (1.0, 3.0, 30.0)
MOST_TOLD = 2  # culprits of one refusal
_SEED = 11
_SAME = 1e-5  # a watched call may take other kernels, whose last bits differ


def random_inputs(
    tensors: Sequence[TensorShape],
    rows: int,
    sigma: float,
    seed: int = _SEED,
    batch_axes: Sequence[int] = (),
) -> list[Any]:
    """Seeded N(mean, sigma spread) torch tensors; whole numbers are 0 and 1.

    Args:
        rows: batch, in place of the 1 of each tensor's batch axis.
        batch_axes: per tensor; default 0.
    """  # fmt: skip
    import torch

    draw = np.random.default_rng(seed)
    given = []
    for k, one in enumerate(tensors):
        shape = list(one.shape)
        if rows != 1:
            shape[batch_axes[k] if batch_axes else 0] = rows
        values = draw.normal(0.0, sigma, shape)
        if one.mean is not None and one.spread is not None:
            values = one.mean.reshape(one.shape) + values * one.spread.reshape(one.shape)
        if one.pixels:
            values = np.clip(np.round(127.5 + 50.0 * values), 0.0, 255.0)
        if one.dtype != FLOAT:
            values = np.where(values > 0, 1, 0)
        given.append(torch.from_numpy(values.astype(np.bool_ if one.dtype == BOOL else one.dtype)))
    return given


def make_ready(policy: TrainedPolicy) -> list[str]:
    """`eval()` on the module; the sentence that reports it, where something was training.

    Raises:
        Refusal: parameters in another type than float32, or a part that is TorchScript.
    """
    import torch

    module = policy.module
    scripted = [n for n, one in module.named_modules() if isinstance(one, torch.jit.ScriptModule)]
    if scripted and not policy.script:
        raise refuse(
            policy.kind, f"'{scripted[0]}'", "parts that are Python modules", "TorchScript",
            "leave torch.jit.script out, or export the whole as a TorchScript file",
        )  # fmt: skip
    check_parameters(policy)
    training = [name or "the module" for name, one in module.named_modules() if one.training]
    module.eval()
    doubles = [
        (name, one)
        for name, one in (*module.named_parameters(), *module.named_buffers())
        if one.is_floating_point() and one.dtype != torch.float32
    ]
    if doubles and not policy.script:
        name, one = doubles[0]
        raise refuse(
            policy.kind, f"'{name}'", "float32 parameters and buffers",
            f"{str(one.dtype).removeprefix('torch.')} ({len(doubles)} of them)",
            "convert the module: module.float()",
        )  # fmt: skip
    if not training:
        return []
    if len(training) == 1:
        return [f"eval() was set: {training[0]} was in training mode"]
    count = len(training) - 1
    return [f"eval() was set: {training[0]} and {count} parts of it were in training mode"]


def check_parameters(policy: TrainedPolicy) -> None:
    """Refuse parameters without numbers, or on another device.

    Raises:
        Refusal: with the name of the first.
    """
    import torch

    module = policy.module
    for name, one in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(one) or one.device.type == "meta":
            remedy = "load the trained weights; a lazy part gets its own in its first call"
            raise refuse(policy.kind, f"'{name}'", "numbers", "a place without numbers", remedy)
        if one.device.type != "cpu":
            raise refuse(policy.kind, f"'{name}'", "the CPU", str(one.device), "call module.cpu()")


def check_runs(policy: TrainedPolicy) -> dict[str, Any]:
    """Run the module; refuse what no graph can say.

    Returns:
        The outputs of the first run, by name.

    Raises:
        Refusal: all that was found, each with its name or line.
    """
    if policy.script:
        return _plain_run(policy)
    problems: list[Problem | str] = []
    before = contents(policy.module)
    start = Snapshot(policy.module)
    given = random_inputs(policy.arguments, 1, 1.0)
    kept = [one.clone() for one in given]
    result, seen = _first_run(policy, given)
    first = {name: one.detach().clone() for name, one in _results(policy, result).items()}
    changed = changes(before, contents(policy.module))
    problems += _assigned(policy, kept, given)
    # Rare branches and bounds lie far out, so wide inputs are watched, too.
    drawn = _draws()
    for sigma in SIGMAS[1:]:
        wide = random_inputs(policy.arguments, 1, sigma)
        copies = [one.clone() for one in wide]
        _, more = _first_run(policy, wide)
        seen.left_torch.update(more.left_torch)
        seen.random.update(more.random)
        problems += _assigned(policy, copies, wide)
    for name, state in _draws().items():
        if state != drawn[name]:
            seen.random.setdefault("forward", f"a draw of {name}")
    if changed and not seen.random:
        later = _results(policy, _call(policy, [one.clone() for one in kept]))
        if not any(one.lasts for one in changed):
            later = {**later, **_after_another_start(policy, start, kept, first)}
        told = _kept_state(policy, changed, first, later)
        if isinstance(told, Problem):
            problems.append(told)
        else:
            policy.notes.append(told)
    for place, what in seen.random.items():
        problems.append(Problem(
            policy.kind, place, "a module that answers the same twice", what,
            "give the deterministic answer, such as the distribution's mean",
        ))  # fmt: skip
    for place, what in seen.left_torch.items():
        problems.append(Problem(
            policy.kind, place, "operations of torch on what depends on the inputs", what,
            "torch.where, torch.clamp or torch.cond can say it in a graph",
        ))  # fmt: skip
    if not problems:
        # Plain calls: a watched one may take other kernels, whose last bits differ.
        once, again = (
            _results(policy, _call(policy, [one.clone() for one in kept])) for _ in range(2)
        )
        for name, one in once.items():
            if not same(one, again[name]):
                expected = "a module that answers the same twice"
                remedy = "look for a clock, a file or random numbers in its forward"
                problems.append(
                    Problem(policy.kind, f"output '{name}'", expected, "another answer", remedy)
                )
    problems += _types(policy, first)
    if problems:
        raise Refusal(list(dict.fromkeys(problems))[:MOST_TOLD])
    policy.notes += _without_effect(policy, kept, first)
    return first


def _without_effect(policy: TrainedPolicy, kept: list[Any], first: dict[str, Any]) -> list[str]:
    """A note for each input that changed no output, such as one that is multiplied by 0."""
    if len(kept) < 2:
        return []
    notes = []
    wide = [random_inputs(policy.arguments, 1, sigma) for sigma in SIGMAS[1:]]
    for k, one in enumerate(policy.arguments):
        found = []
        for other in wide:
            given = [value.clone() for value in (*kept[:k], other[k], *kept[k + 1 :])]
            found.append(_results(policy, _call(policy, given)))
        if all(_relative(value, r[name]) <= _SAME for r in found for name, value in first.items()):
            notes.append(f"no output changed with input '{one.name}' in {len(found)} tries")
    return notes


def _kept_state(
    policy: TrainedPolicy, changed: list[Kept], first: dict[str, Any], later: dict[str, Any]
) -> Problem | str:
    """The problem of what a module keeps; a note where it only writes, such as a last output.

    Args:
        changed: what the first call changed.
        first, later: answers to the same inputs, with other calls between them.
    """
    name = changed[0].name
    apart = max(_relative(one, later[key]) for key, one in first.items())
    written = [one.name for one in changed if one.lasts]
    if not written and apart <= _SAME:
        return f"{name} is written in each call; the answers did not depend on it"
    names = written + [one.name for one in changed if one.name not in written]
    others = f", and so did {', '.join(names[1:4])}" if len(names) > 1 else ""
    return Problem(
        policy.kind, names[0], "a module that keeps nothing between two calls",
        f"{names[0]} changed in a call{others}",
        "take the state as an input, return the next one, and name both by --state",
    )  # fmt: skip


def _after_another_start(
    policy: TrainedPolicy,
    start: Snapshot,
    kept: list[Any],
    first: dict[str, Any],
) -> dict[str, Any]:
    """The answers to `kept` after a first call with other inputs; {} where they are the same.

    What a module takes from its first inputs and keeps from then on never changes again.

    Args:
        start: of the module, before its first call.
    """
    start.restore()
    _call(policy, random_inputs(policy.arguments, 1, SIGMAS[1]))
    found = _results(policy, _call(policy, [one.clone() for one in kept]))
    apart = max(_relative(one, found[name]) for name, one in first.items())
    return found if apart > _SAME else {}


def _relative(one: Any, other: Any) -> float:
    if one.shape != other.shape:
        return float("inf")
    apart = (one.double() - other.double()).abs() / (1.0 + one.double().abs())
    return float(apart.max()) if apart.numel() else 0.0


def _assigned(policy: TrainedPolicy, kept: list[Any], given: list[Any]) -> list[Problem | str]:
    """The inputs that a run has changed."""
    return [
        Problem(
            policy.kind, f"input '{one.name}'", "inputs that the module only reads",
            "an assignment into it", f"work on a copy: {one.name} = {one.name}.clone()",
        )
        for one, old, new in zip(policy.arguments, kept, given, strict=True)
        if not same(old, new)
    ]  # fmt: skip


def _draws() -> dict[str, str]:
    """The state of the generators outside torch, as text."""
    return {
        "numpy's random numbers": str(np.random.get_state(legacy=False)),
        "Python's random numbers": str(random.getstate()),
    }


def _plain_run(policy: TrainedPolicy) -> dict[str, Any]:
    """TorchScript holds no Python: only what changes is looked for."""
    before = contents(policy.module)
    given = random_inputs(policy.arguments, 1, 1.0)
    kept = [one.clone() for one in given]
    first = {n: one.clone() for n, one in _results(policy, _call(policy, given)).items()}
    changed = changes(before, contents(policy.module))
    if changed:
        expected = "a module that keeps nothing between two calls"
        name = changed[0].name
        raise refuse(policy.kind, name, expected, f"{name} changed in a call")
    again = _results(policy, _call(policy, kept))
    for name, one in first.items():
        if not same(one, again[name]):
            expected, got = "a module that answers the same twice", "another answer"
            drawn = script_draws(policy.module)
            got += f" ({', '.join(drawn)})" if drawn else ""
            raise refuse(policy.kind, f"output '{name}'", expected, got)
    problems = _types(policy, first)
    if problems:
        raise Refusal(problems)
    return first


def _types(policy: TrainedPolicy, results: dict[str, Any]) -> list[Problem | str]:
    import torch

    found: list[Problem | str] = []
    for name, one in results.items():
        if one.is_complex():
            got, remedy = str(one.dtype).removeprefix("torch."), "return real and imaginary part"
            found.append(Problem(policy.kind, f"output '{name}'", "float32", got, remedy))
        elif one.is_floating_point() and one.dtype != torch.float32:
            got = str(one.dtype).removeprefix("torch.")
            remedy = "a constant of numpy, or of torch.float64, makes it double"
            if one.dtype != torch.float64:
                remedy = "return out.float(); `policy-runner optimize` makes an fp16 variant"
            found.append(Problem(policy.kind, f"output '{name}'", "float32", got, remedy))
        elif one.is_floating_point() and not bool(torch.isfinite(one).all()):
            found.append(Problem(policy.kind, f"output '{name}'", "finite numbers", "others"))
    for state in policy.states:
        if tuple(results[state.output].shape) != state.input.shape:
            expected = f"the shape of '{state.input.name}' {list(state.input.shape)}"
            got = f"{list(results[state.output].shape)}"
            found.append(Problem(policy.kind, f"output '{state.output}'", expected, got))
    return found


def _first_run(policy: TrainedPolicy, given: list[Any]) -> Any:
    try:
        return run_watched(policy.module, given)
    except Refusal:
        raise
    except Exception as error:
        raise _failed(policy, error) from error


def _call(policy: TrainedPolicy, given: list[Any]) -> Any:
    import torch

    try:
        with torch.no_grad():
            return policy.module(*given)
    except Exception as error:
        raise _failed(policy, error) from error


def _failed(policy: TrainedPolicy, error: Exception) -> Refusal:
    import torch

    for name, one in policy.module.named_parameters():
        if policy.script and one.dtype == torch.float64:
            remedy = "convert it before torch.jit: module.float()"
            return refuse(policy.kind, f"'{name}'", "float32 parameters", "float64", remedy)
    shapes = ", ".join(f"{one.name} {list(one.shape)}" for one in policy.arguments)
    text = " ".join(str(error).split())[:300]
    expected = f"a module that takes {shapes}"
    return refuse(policy.kind, "forward", expected, f"{type(error).__name__}: {text}")


def _results(policy: TrainedPolicy, given: Any) -> dict[str, Any]:
    import torch

    found = named_results(given, policy)
    for name, one in found.items():
        if not isinstance(one, torch.Tensor):
            raise refuse(policy.kind, f"output '{name}'", "a tensor", type(one).__name__)
    return {name: found[name] for name in policy.results}
