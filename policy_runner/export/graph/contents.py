"""What a module keeps between two calls: in its parts, in their classes, and in what they read.

State in a class, a global or a closure is as lost in a graph as state in an attribute.
"""

from __future__ import annotations

import hashlib
import inspect
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

_BUFFER = " (buffer)"
# Packages whose objects keep no state of a policy. A logger remembers its levels.
_FOREIGN = {"torch", "numpy", "gymnasium", "gym", "policy_runner", *sys.stdlib_module_names}
_FOREIGN -= {"types", "__main__"}  # SimpleNamespace, and the trainer's own script
_LARGE = 1 << 20  # elements of a tensor of which a digest is kept, not a copy
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_MOST_DEPTH = 3
Restore = Callable[[], object]


class Kept(NamedTuple):
    """Something that a call changed; `lasts`: a buffer or a number, which is kept on purpose."""

    name: str
    lasts: bool


def same(a: Any, b: Any) -> bool:
    """Whether two tensors are equal; not-a-number is equal to itself."""
    import torch

    return a.shape == b.shape and bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))


def contents(module: Any) -> dict[str, Any]:
    """Copies of everything that a module holds or reads: tensors, arrays, numbers, by name."""
    import torch

    found: dict[str, Any] = {}

    def visit(name: str, value: Any, depth: int) -> None:
        if isinstance(value, torch.nn.Module) or depth > _MOST_DEPTH:
            return
        if isinstance(value, torch.Tensor):
            found[name] = _digest(value) if value.numel() > _LARGE else value.detach().clone()
        elif isinstance(value, np.ndarray):
            found[name] = value.tobytes()
        elif isinstance(value, (bool, int, float, str)) or value is None:
            found[name] = value
        elif isinstance(value, (set, frozenset)):
            found[name] = frozenset(value)
        elif isinstance(value, np.random.Generator):
            found[name] = str(value.bit_generator.state)
        elif isinstance(value, random.Random):
            found[name] = str(value.getstate())
        elif isinstance(value, (tuple, list, deque)):
            found[f"{name} (length)"] = len(value)
            for k, one in enumerate(value):
                visit(f"{name}[{k}]", one, depth + 1)
        elif isinstance(value, dict):
            for key, one in value.items():
                visit(f"{name}[{key!r}]", one, depth + 1)
        elif type(value).__module__ == "itertools":
            found[name] = repr(value)
        elif _is_own(type(value)) and hasattr(value, "__dict__"):
            for key, one in vars(value).items():
                visit(f"{name}.{key}", one, depth + 1)

    own = set(vars(torch.nn.Module()))  # torch's own bookkeeping
    for path, part in module.named_modules():
        at = f"{path}." if path else ""
        for name, one in (
            *part.named_buffers(recurse=False),
            *part.named_parameters(recurse=False),
        ):
            visit(f"'{at}{name}'", one, 0)
            found[f"'{at}{name}'{_BUFFER}"] = True
        for name, one in vars(part).items():
            if name not in own:
                visit(f"'{at}{name}'", one, 0)
    for outside in _outside(module):
        visit(outside.name, outside.value, 0)
    return found


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Kept]:
    """What differs between two `contents` of the same module."""
    import torch

    found = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        buffer = f"{name}{_BUFFER}" in before
        if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
            if not same(old, new):
                found.append(Kept(name, buffer))
        elif not name.endswith(_BUFFER) and (
            name not in before or name not in after or type(old) is not type(new)
            or (not isinstance(new, torch.Tensor) and old != new)
        ):  # fmt: skip
            number = isinstance(old, (bool, int, float)) and isinstance(new, (bool, int, float))
            found.append(Kept(name, number or buffer))
    return found


class Snapshot:
    """Attributes, class attributes, globals and closures of a module, as they are now."""

    def __init__(self, module: Any) -> None:
        self._restores: list[Restore] = []
        for part in module.modules():
            self._restores.append(_restore_mapping(vars(part)))
            self._restores += [one for value in vars(part).values() for one in _restores(value)]
        for outside in _outside(module):
            self._restores += [*_restores(outside.value), outside.put_back]

    def restore(self) -> None:
        """Put everything back."""
        for one in self._restores:
            one()


class _Outside(NamedTuple):
    """Something that the code of a module reads and that no part of it holds."""

    name: str
    value: Any
    put_back: Restore


def _outside(module: Any) -> Iterator[_Outside]:
    seen: set[tuple[int, str]] = set()
    for part in module.modules():
        functions = [one for key in _HOOKS for one in (vars(part).get(key) or {}).values()]
        for kind in type(part).__mro__:
            if not _is_own(kind):
                continue
            for name, value in list(vars(kind).items()):
                if isinstance(value, FunctionType):
                    functions.append(value)
                elif not name.startswith("__") and (id(kind), name) not in seen:
                    seen.add((id(kind), name))
                    if _is_state(value):
                        put_back = _setter(kind, name, value)
                        yield _Outside(f"'{kind.__name__}.{name}'", value, put_back)
        for function in functions:
            yield from _read_by(function, seen)


def _read_by(function: Any, seen: set[tuple[int, str]]) -> Iterator[_Outside]:
    """The globals and the closure of a function, without constants of other types than data."""
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None:
        return
    for name in _names(code):
        if name in known and (id(known), name) not in seen:
            seen.add((id(known), name))
            value = known[name]
            if _is_state(value):
                yield _Outside(f"global '{name}'", value, _item_setter(known, name, value))
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        if (id(cell), name) not in seen and _is_state(value):
            seen.add((id(cell), name))
            yield _Outside(f"closure '{name}'", value, _setter(cell, "cell_contents", value))


def _names(code: CodeType) -> Iterator[str]:
    """Global names that a function reads, and the functions inside it."""
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _names(one)


def _is_state(value: object) -> bool:
    """Whether a value outside of the parts may be a memory: data, and no function or module."""
    import torch

    kinds = (torch.Tensor, np.ndarray, np.random.Generator, random.Random, bool, int, float,
             dict, list, set, deque)  # fmt: skip
    if isinstance(value, kinds) or value is None:
        return True
    plain = not (isinstance(value, (type, torch.nn.Module)) or callable(value))
    return plain and not inspect.ismodule(value) and _is_own(type(value))


def _is_own(kind: type) -> bool:
    """Whether a class is neither Python's, torch's, numpy's nor this package's."""
    return kind.__module__.split(".")[0] not in _FOREIGN


def _setter(holder: Any, name: str, value: Any) -> Restore:
    return lambda: setattr(holder, name, value)


def _item_setter(holder: MutableMapping[str, Any], name: str, value: Any) -> Restore:
    return lambda: holder.update({name: value})


def _restore_mapping(given: Any) -> Restore:
    kept = dict(given)

    def restore() -> None:
        given.clear()
        given.update(kept)

    return restore


def _restores(value: Any) -> list[Restore]:
    """What puts back the inside of a container, an array or an object that is changed in place."""
    import torch

    if isinstance(value, (dict, set)):
        kept: Any = value.copy()
        return [lambda: (value.clear(), value.update(kept))]
    if isinstance(value, (list, deque)):
        items = list(value)
        return [lambda: (value.clear(), value.extend(items))]
    if isinstance(value, np.ndarray) and value.flags.writeable:
        array = value.copy()
        return [lambda: np.copyto(value, array)]
    if isinstance(value, torch.Tensor) and value.numel() <= _LARGE:
        numbers = value.detach().clone()
        return [lambda: value.detach().copy_(numbers) if value.shape == numbers.shape else None]
    plain = not isinstance(value, (type, torch.nn.Module)) and not inspect.ismodule(value)
    if plain and _is_own(type(value)) and isinstance(getattr(value, "__dict__", None), dict):
        return [_restore_mapping(vars(value))]
    return []


def _digest(value: Any) -> str:
    """A tensor's numbers as a digest: two copies of 2 GB of weights would double the memory."""
    import torch

    plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(plain.data, digest_size=16).hexdigest()
