"""Watches a module while it runs: decisions on data, numpy, random numbers, each with its line.

An exporter sees one run. What a run decides by the data, or computes outside of torch, is either
lost silently (tracing) or refused without a name (torch.export); so it is found here first.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# Methods that give Python or numpy what depends on the data, and what that means.
_LEAVES = {
    "__bool__": "a branch on data",
    "__int__": "a number of Python made of data (int)",
    "__float__": "a number of Python made of data (float)",
    "__index__": "a number of rounds or an index made of data",
    "__complex__": "a number of Python made of data (complex)",
    "equal": "a branch on data (torch.equal)",
    "allclose": "a branch on data (torch.allclose)",
    "is_nonzero": "a branch on data (is_nonzero)",
    "__contains__": "a branch on data (in)",
    "item": "a number of Python made of data (item)",
    "tolist": "a list of Python made of data (tolist)",
    "numpy": "a detour through numpy",
    "__array__": "a detour through numpy",
    "__dlpack__": "a detour through another library (dlpack)",
    "data_ptr": "a detour through an address",
}
# Parts of the names of torch's operations that draw random numbers.
_RANDOM = ("bernoulli", "normal_", "normal.", "rand", "multinomial", "uniform", "exponential",
           "poisson", "cauchy", "geometric", "native_dropout", "rrelu_with_noise")  # fmt: skip


@dataclass
class Watched:
    """What a run did that a graph cannot say: kind and place, each once."""

    left_torch: dict[str, str] = field(default_factory=dict)  # place -> what
    random: dict[str, str] = field(default_factory=dict)


def run_watched(module: Any, given: list[Any]) -> tuple[Any, Watched]:
    """Run the module once; what it gave and what it did.

    `left_torch` counts only tensors that depend on `given`: a number read from a constant buffer
    is no decision on data.
    """
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    seen = Watched()
    # Kept, so that no id is given twice.
    depends: dict[int, Any] = {id(one): one for one in given}

    class Functions(TorchFunctionMode):  # type: ignore[misc,unused-ignore]
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            values = [one for one in tree_flatten((args, kwargs or {}))[0] if _is_tensor(one)]
            tainted = any(id(one) in depends for one in values)
            name = getattr(function, "__name__", "")
            if tainted and name in _LEAVES:
                place = _calling_line()
                if place:
                    seen.left_torch.setdefault(place, _LEAVES[name])
            result = function(*args, **(kwargs or {}))
            if tainted:
                for one in (*tree_flatten(result)[0], *values):
                    if _is_tensor(one):
                        depends[id(one)] = one
            return result

    class Operations(TorchDispatchMode):  # type: ignore[misc,unused-ignore]
        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = str(function)
            if any(part in name for part in _RANDOM):
                dropout = _calls("dropout")
                what = (
                    "a dropout that eval() does not switch off" if dropout else f"a draw ({name})"
                )
                seen.random.setdefault(_calling_line(innermost=False) or "its forward", what)
            return function(*args, **(kwargs or {}))

    def _is_tensor(one: object) -> bool:
        return isinstance(one, torch.Tensor)

    with torch.no_grad(), Functions(), Operations():
        result = module(*given)
    return result, seen


def script_draws(module: Any) -> list[str]:
    """Operations of a TorchScript module that draw random numbers; a dropout may be off."""
    found = re.findall(r"aten::(\w+)", str(getattr(module, "inlined_graph", "")))
    parts = (*(part.rstrip(".") for part in _RANDOM), "dropout")
    return sorted({name for name in found if any(part in name for part in parts)})


def _own(name: str) -> bool:
    """Whether a file is torch's, numpy's, this package's, or the interpreter's own."""
    import torch

    inside = (
        *(str(Path(str(one.__file__)).parent) for one in (torch, np)),
        str(Path(__file__).parents[1]),
    )
    return name.startswith((*inside, "<"))


def _calling_line(innermost: bool = True) -> str:
    """`file.py:12 (forward)` of the line outside torch that called; '' where there is none.

    Args:
        innermost: only the line that made the call itself. What torch decides inside of its own
            functions is the exporter's business, which knows them.
    """
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if not _own(code.co_filename):
            return f"{Path(code.co_filename).name}:{frame.f_lineno} ({code.co_name})"
        here = code.co_filename.startswith(str(Path(__file__).parents[1]))
        if innermost and not here and not _plumbing(code.co_filename):
            return ""
        frame = frame.f_back
    return ""


def _plumbing(name: str) -> bool:
    if name.startswith(str(Path(np.__file__).parent)):
        return True  # np.clip(tensor): the line that calls numpy is the culprit
    return name.endswith(("_tensor.py", "overrides.py", "_python_dispatch.py", "_contextlib.py"))


def _calls(word: str) -> bool:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == word and "torch" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
