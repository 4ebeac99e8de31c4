"""A torch module by its import path, or a TorchScript file."""

from __future__ import annotations

import contextlib
import importlib
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.export.sources.trained_policy import (
    NetworkTruth,
    StateTensor,
    Statistics,
    TensorShape,
    TrainedPolicy,
)


def is_import_path(source: str) -> bool:
    """Whether a source is written `package.module:name`."""
    module, colon, name = source.partition(":")
    parts = module.split(".")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in parts)


def imported(source: str, folder: Path | None = None) -> Any:
    """What an import path names; called where it is a function or a class.

    What the source prints while it is imported goes to stderr.

    Args:
        folder: where modules are looked for first; default: the working directory.

    Raises:
        Refusal: no such module or name, or its code fails.
    """
    import torch

    module_name, _, name = source.partition(":")
    place = str((folder or Path.cwd()).resolve())
    sys.path.insert(0, place)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            module = importlib.import_module(module_name)
            if not hasattr(module, name):
                known = [one for one in vars(module) if not one.startswith("_")]
                hint = did_you_mean(name, known)
                raise refuse(source, "", f"a name of {module_name}", f"'{name}'", hint)
            found = getattr(module, name)
            if isinstance(found, torch.nn.Module):
                return found
            return found() if callable(found) else found
    except Refusal:
        raise
    except ModuleNotFoundError as error:
        remedy = f"modules are looked for in {place} and among the installed packages"
        raise refuse(source, "", "a module that can be imported", str(error), remedy) from error
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise refuse(source, "", "a module that can be imported and called", text) from error
    finally:
        sys.path.remove(place)


def of_module(
    source: str,
    module: Any,
    inputs: Sequence[TensorShape],
    outputs: Sequence[str],
    states: Sequence[str] = (),
    statistics: Mapping[str, Statistics] | None = None,
    normalized_inside: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    script: bool = False,
) -> TrainedPolicy:
    """A torch module with the names that the caller gives it.

    Args:
        inputs: in the order of forward's arguments, the states among them.
        states: `INPUT:OUTPUT`, each of `inputs` and `outputs`.

    Raises:
        Refusal: no module, no inputs, or a state that is not among them.
    """  # fmt: skip
    import torch

    if not isinstance(module, torch.nn.Module):
        got = type(module).__name__
        raise refuse(source, "", "a torch.nn.Module, or a function that returns one", got)
    if not inputs:
        remedy = "name each argument of forward, such as --input obs=1x48"
        raise refuse(source, "--input", "the network's inputs", "none", remedy)
    names = [one.name for one in inputs]
    outputs = list(outputs) or ["actions"]
    pairs: list[tuple[str, str]] = []
    problems: list[Problem | str] = []
    for text in states:
        first, _, second = text.partition(":")
        for name, known in ((first, names), (second, outputs)):
            if name not in known:
                expected = f"INPUT:OUTPUT of {', '.join(names)} and {', '.join(outputs)}"
                hint = did_you_mean(name, known)
                problems.append(Problem(source, "--state", expected, f"'{text}'", hint))
        pairs.append((first, second))
    for name in sorted({one for one in (*names, *outputs) if (names + outputs).count(one) > 1}):
        problems.append(Problem(source, "--input, --output", "every name once", f"'{name}' twice"))
    if problems:
        raise Refusal(problems)
    kept = {first for first, _ in pairs}
    by_name = {one.name: one for one in inputs}
    last = [one.name for one in inputs if one.name not in kept] + [one for one, _ in pairs]
    given = [second for _, second in pairs]
    if last != names or [o for o in outputs if o not in given] + given != outputs:
        module = _reordered(module, names, last, outputs, given)
    policy = TrainedPolicy(
        kind=source,
        module=module,
        inputs=[one for one in inputs if one.name not in kept],
        outputs=[one for one in outputs if one not in given],
        states=[StateTensor(by_name[a], b, _batch_axis(by_name[a])) for a, b in pairs],
        statistics=dict(statistics or {}),
        normalized_inside=frozenset(normalized_inside),
        facts={"source": source, **(facts or {})},
        script=script,
        truth=lambda: NetworkTruth(policy),
    )
    return policy


def _batch_axis(state: TensorShape) -> int:
    """Recurrent layers of torch keep [layers, batch, size]; other states [batch, ...]."""
    return 1 if len(state.shape) == 3 else 0


def _reordered(
    module: Any, names: list[str], wanted: list[str], outputs: list[str], states: list[str]
) -> Any:
    """The module with its states last, among the arguments and among the results."""
    import torch

    order = [wanted.index(name) for name in names]
    results = [one for one in outputs if one not in states] + states

    class Reordered(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = module
            self.training = module.training

        def forward(self, *given: Any) -> Any:
            found = self.network(*[given[k] for k in order])
            if isinstance(found, Mapping):
                return {name: found[name] for name in results}
            return tuple(found[outputs.index(name)] for name in results)

    return Reordered()


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: it holds code, not only weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any("/code/" in name for name in names) and any(
        name.endswith("constants.pkl") for name in names
    )


def load_torchscript(path: Path) -> Any:
    """The module of a TorchScript file. TorchScript is no Python: nothing of it is run here.

    Raises:
        Refusal: torch cannot read it.
    """
    import torch

    try:
        return torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise refuse(str(path), "", "a TorchScript file", text) from error


def load_module_pickle(path: Path, trusted: bool) -> Any:
    """A module that torch.save wrote whole, which is a pickle.

    Raises:
        Refusal: not trusted, or something else.
    """
    import torch

    if not trusted:
        raise pickle_refusal(path, "a whole pickled module")
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise refuse(str(path), "", "a pickled torch module", text) from error
    if not isinstance(found, torch.nn.Module):
        raise refuse(str(path), "", "a pickled torch module", type(found).__name__)
    return found


def pickle_refusal(path: Path, what: str) -> Refusal:
    """The sentence that refuses a pickle, and says what --trust-pickle would do."""
    return refuse(
        str(path), "", "weights alone", f"{what}, which is a program",
        "--trust-pickle runs it with your rights: use it only for files that you wrote yourself",
    )  # fmt: skip
