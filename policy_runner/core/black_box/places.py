"""The places of a pipeline's state, found once.

`Found` walks from the pipeline to every object that it can reach. It keeps the places that
may change: attributes with numbers, texts and arrays, arrays in containers, cells of functions.
So the state of a new kind of policy is included without any code of its own.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
from collections import deque
from collections.abc import Collection
from typing import Any

import numpy as np

from policy_runner.core.black_box.encoding import OURS, PLAIN, attributes
from policy_runner.core.safety.freshness import Freshness
from policy_runner.core.safety.operator_requests import Operator
from policy_runner.core.settings import Settings
from policy_runner.core.timing import Window

# Their objects are rules, figures for reports, or are judged from records of their own.
_LEFT_OUT = (Freshness, Operator, Window, deque, Settings, types.BuiltinFunctionType)
_NOT_STATE = (f"{OURS}spec", f"{OURS}settings")
_FOREIGN = frozenset({"numpy", "pydantic", "pydantic_core", "onnxruntime", "yaml", "policy_runner"})
Place = tuple[str, Any, str]  # path, owner, attribute


class Found:
    """The places below one object.

    Attributes:
        places: path, owner and attribute of each; without attribute, the owner is an array.
        outside: paths of state that is not in this process's memory, such as a recurrent state
            that stays on a GPU. It cannot be saved.
    """

    def __init__(self, root: Any, path: str, skip: Collection[str] = ()) -> None:
        """Find the places. Call this before any method of a pipeline is replaced.

        Args:
            root: the pipeline, or a part of it.
            path: its name, with which every path begins.
            skip: paths that are left out.
        """
        self.outside: list[str] = []
        self.places: list[Place] = []
        self._skip = skip
        self._seen: dict[int, Any] = {}
        self._arrays: set[int] = set()  # in containers
        self._walk(root, path)
        self._seen.clear()

    def _walk(self, value: Any, path: str) -> None:
        if isinstance(value, np.ndarray):
            if value.flags.writeable and id(value) not in self._arrays:
                self._arrays.add(id(value))
                self.places.append((path, value, ""))
            return
        if id(value) in self._seen or isinstance(value, (*PLAIN, enum.Enum, *_LEFT_OUT)):
            return
        self._seen[id(value)] = value  # kept: the id of a freed object may come again
        if isinstance(value, dict):
            for key, item in value.items():
                self._walk(item, f"{path}[{key}]")
        elif isinstance(value, (list, tuple, set, frozenset)):
            for k, item in enumerate(value):
                self._walk(item, f"{path}[{k}]")
        elif isinstance(value, functools.partial):
            self._walk((value.func, value.args, value.keywords), path)
        elif isinstance(value, types.MethodType):
            self._walk(value.__self__, f"{path}.self")
        elif isinstance(value, types.FunctionType):
            self._walk_cells(value, path)
        elif _is_frozen(value):
            for name in attributes(value):
                self._walk(getattr(value, name), f"{path}.{name}")
        elif _has_state(value):
            for name in attributes(value):
                self._look_at(value, name, f"{path}.{name}")

    def _walk_cells(self, function: types.FunctionType, path: str) -> None:
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or (), strict=True):
            try:
                cell.cell_contents  # noqa: B018 - an empty cell raises
            except ValueError:
                continue
            if id(cell) not in self._seen:
                self._seen[id(cell)] = cell
                self._look_at(cell, "cell_contents", f"{path}({name})")

    def _look_at(self, owner: Any, name: str, path: str) -> None:
        """Keep a place, or walk on from its value."""
        value = getattr(owner, name)
        if path in self._skip:
            return
        if callable(value) and str(getattr(value, "__module__", "")).startswith(_BACKENDS):
            self.outside.append(path)
        elif isinstance(value, np.ndarray) or _is_value(value):
            # Also an array that has another name, too: it may be replaced under one of them.
            self.places.append((path, owner, name))
        else:
            self._walk(value, path)


_BACKENDS = "policy_runner.backends"


def _is_frozen(value: Any) -> bool:
    parameters = getattr(type(value), "__dataclass_params__", None)
    return _has_state(value) and parameters is not None and bool(parameters.frozen)


def _has_state(value: Any) -> bool:
    module = type(value).__module__
    if not type(value).__dictoffset__ or isinstance(value, (type, types.ModuleType)):
        return False
    if module.startswith(OURS):
        return not module.startswith(_NOT_STATE)
    top = module.partition(".")[0]  # otherwise: objects of custom terms
    return top not in _FOREIGN and top not in sys.stdlib_module_names


def _is_value(value: Any) -> bool:
    """Whether a value is replaced as a whole, and has no arrays or objects inside."""
    if isinstance(value, (*PLAIN, enum.Enum, np.generic)):
        return True
    if isinstance(value, dict):
        return all(_is_value(one) for one in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_value(one) for one in value)
    return type(value).__module__ == f"{OURS}settings" and not isinstance(value, type)
