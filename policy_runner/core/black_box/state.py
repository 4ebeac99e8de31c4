"""The whole state of a pipeline as plain values: found once, saved and restored by path.

`PipelineState` walks from the pipeline to every object that it can reach. It keeps the places that
may change: attributes with numbers, texts and arrays, arrays in containers, cells of functions.
So the state of a new kind of policy is included without any code of its own.
"""

from __future__ import annotations

import enum
import functools
import math
import sys
import types
from collections import deque
from typing import Any

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.safety.freshness import Freshness
from policy_runner.core.safety.operator_requests import Operator
from policy_runner.core.settings import MOVING, RUNNING, STOPPED, Settings
from policy_runner.core.timing import Window

_PLAIN = (type(None), bool, int, float, str)
_PLAIN_TYPES = frozenset(_PLAIN)
_OURS = "policy_runner.core."
# Their objects are rules, figures for reports, or are judged from records of their own.
_LEFT_OUT = (Freshness, Operator, Window, deque, Settings, types.BuiltinFunctionType)
_NOT_STATE = (f"{_OURS}spec", f"{_OURS}settings")
_FOREIGN = frozenset({"numpy", "pydantic", "pydantic_core", "onnxruntime", "yaml", "policy_runner"})
_CONSTANTS = {"running": RUNNING, "moving": MOVING, "stopped": STOPPED}
_Place = tuple[str, Any, str]  # path, owner, attribute; no attribute: the owner is an array


class PipelineState:
    """The places of one pipeline's state.

    Attributes:
        outside: paths of state that is not in this process's memory, such as a recurrent state
            that stays on a GPU. It cannot be saved.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        """Find the places. Call this before any method of the pipeline is replaced."""
        self.outside: list[str] = []
        self._pipeline = pipeline
        self._places: list[_Place] = []
        self._seen: dict[int, Any] = {}
        self._walk(pipeline, "pipeline")
        self._seen.clear()
        self._settings: tuple[Any, Any] = (None, None)
        self._before: dict[int, tuple[Any, Any]] = {}  # place -> its last value, encoded

    def save(self) -> list[Any]:
        """Return the values of all places, as plain values and bytes."""
        settings = self._pipeline.settings
        known = {
            id(settings): "settings", id(settings.limits): "limits", id(settings.stops): "stops",
            **{id(one): name for name, one in _CONSTANTS.items()},
        }  # fmt: skip
        if self._settings[0] is not settings:
            self._settings = (settings, encode(settings, {}))
            self._before.clear()  # what was named after the old settings has another name now
        saved: list[Any] = [self._settings[1]]
        for k, (_, owner, name) in enumerate(self._places):
            value = getattr(owner, name) if name else owner
            kind = type(value)
            if kind in _PLAIN_TYPES:
                saved.append(value)
            elif kind is np.ndarray:
                saved.append(("a", value.dtype.str, value.shape, value.tobytes()))
            else:
                before = self._before.get(k)
                # A tuple of texts is encoded once; lists, dicts and sets may change inside.
                if before is None or before[0] is not value or kind in (list, dict, set):
                    before = self._before[k] = (value, encode(value, known))
                saved.append(before[1])
        return saved

    @property
    def paths(self) -> list[str]:
        """The path of every value of `save`; the first one is the settings."""
        return ["settings", *(path for path, _, _ in self._places)]

    def restore(self, saved: dict[str, Any], file: str) -> None:
        """Set the state.

        Args:
            saved: value by path.
            file: the file that it is from, for errors.

        Raises:
            Refusal: the values belong to another pipeline or version.
        """
        missing = [path for path in self.paths if path not in saved]
        if missing or len(saved) != len(self._places) + 1:
            got = f"no value for {missing[0]}" if missing else "values of other places"
            raise refuse(file, "state", "the state of this policy and this version", got)
        settings = decode(saved["settings"], {})
        self._pipeline.settings = settings
        known = {
            "settings": settings, "limits": settings.limits, "stops": settings.stops, **_CONSTANTS
        }  # fmt: skip
        for path, owner, name in self._places:
            value = decode(saved[path], known)
            present = getattr(owner, name) if name else owner
            if isinstance(present, np.ndarray) and isinstance(value, np.ndarray):
                if present.shape == value.shape and present.dtype == value.dtype:
                    np.copyto(present, value)
                    continue
                if not name:
                    got = f"{value.dtype} {value.shape}"
                    raise refuse(file, path, f"{present.dtype} {present.shape}", got)
            if isinstance(present, dict) and isinstance(value, dict):
                present.clear()
                present.update(value)
            elif isinstance(present, list) and isinstance(value, list):
                present[:] = value
            else:
                setattr(owner, name, value)

    def _walk(self, value: Any, path: str) -> None:
        if id(value) in self._seen or isinstance(value, (*_PLAIN, enum.Enum, *_LEFT_OUT)):
            return
        self._seen[id(value)] = value  # kept: the id of a freed object may come again
        if isinstance(value, np.ndarray):
            if value.flags.writeable:
                self._places.append((path, value, ""))
        elif isinstance(value, dict):
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
        if path == "pipeline.recorder":
            return
        if callable(value) and str(getattr(value, "__module__", "")).startswith(_BACKENDS):
            self.outside.append(path)
        elif isinstance(value, np.ndarray):
            if value.flags.writeable and id(value) not in self._seen:
                self._seen[id(value)] = value
                self._places.append((path, owner, name))
        elif _is_value(value):
            self._places.append((path, owner, name))
        else:
            self._walk(value, path)


_BACKENDS = "policy_runner.backends"


def attributes(value: Any) -> list[str]:
    """Return the names of an object's own attributes, without a look at its `__dict__`.

    Python 3.11 and 3.12 keep attributes in the object itself until something asks for its
    `__dict__`. From then on every access is slower: the step of the balancer took 5 us longer.
    """
    kind = type(value)
    found = []
    for name in _mentioned(kind):  # type: ignore[arg-type,unused-ignore]
        if not hasattr(kind, name) or name in getattr(kind, "__dataclass_fields__", ()):
            try:
                getattr(value, name)
            except AttributeError:
                continue
            found.append(name)
    return found


@functools.cache
def _mentioned(kind: type) -> tuple[str, ...]:
    """The names in the code of a class, which include every attribute that a method sets."""
    found = dict.fromkeys(getattr(kind, "__dataclass_fields__", ()))
    codes = []
    for one in kind.__mro__:
        for member in vars(one).values():
            functions = (member, *(getattr(member, part, None) for part in _PROPERTY))
            codes += [f.__code__ for f in functions if isinstance(f, types.FunctionType)]
    while codes:
        code = codes.pop(0)
        found.update(dict.fromkeys(code.co_names))
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return tuple(found)


_PROPERTY = ("fget", "fset", "__func__")


def _is_frozen(value: Any) -> bool:
    parameters = getattr(type(value), "__dataclass_params__", None)
    return _has_state(value) and parameters is not None and bool(parameters.frozen)


def _has_state(value: Any) -> bool:
    module = type(value).__module__
    if not type(value).__dictoffset__ or isinstance(value, (type, types.ModuleType)):
        return False
    if module.startswith(_OURS):
        return not module.startswith(_NOT_STATE)
    top = module.partition(".")[0]  # otherwise: objects of custom terms
    return top not in _FOREIGN and top not in sys.stdlib_module_names


def _is_value(value: Any) -> bool:
    """Whether a value is replaced as a whole, and has no arrays or objects inside."""
    if isinstance(value, (*_PLAIN, enum.Enum, np.generic)):
        return True
    if isinstance(value, dict):
        return all(_is_value(one) for one in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_value(one) for one in value)
    return type(value).__module__ == f"{_OURS}settings" and not isinstance(value, type)


def encode(value: Any, known: dict[int, str]) -> Any:
    """Return a value as plain values, bytes, and tuples that begin with a letter.

    Args:
        value: of a type that `decode` can build.
        known: names of objects that are compared by identity.
    """
    kind = type(value)
    if kind in _PLAIN_TYPES:
        return value
    if id(value) in known:
        return ("=", known[id(value)])
    if isinstance(value, (np.ndarray, np.generic)):
        return ("a", value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, enum.Enum):
        return ("e", _name(kind), value.name)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return ("n", _name(kind), tuple(encode(one, known) for one in value))
    if isinstance(value, (tuple, list, set, frozenset)):
        letter = next(letter for letter, sort in _SORTS.items() if isinstance(value, sort))
        return (letter, tuple(encode(one, known) for one in value))
    if isinstance(value, dict):
        pairs = tuple((encode(k, known), encode(v, known)) for k, v in value.items())
        return ("d", pairs)
    if kind.__module__.startswith(_OURS) and kind.__dictoffset__:
        pairs = tuple((k, encode(getattr(value, k), known)) for k in attributes(value))
        return ("o", _name(kind), pairs)
    return ("?", _name(kind))  # a message of an image; its tensors are recorded


def decode(value: Any, known: dict[str, Any]) -> Any:
    """Return the value of `encode`.

    Only types of this package's core are built, without calling them.

    Raises:
        ValueError: a type that is not allowed.
    """
    if not isinstance(value, (list, tuple)):
        return value
    letter, given = value[0], value[1]
    if letter == "=":
        return known[given]
    if letter == "a":
        shape = tuple(value[2])
        array = np.frombuffer(value[3], np.dtype(given), math.prod(shape)).reshape(shape)
        return array.copy() if shape else array[()]
    if letter == "e":
        return _class(given, enum.Enum)[value[2]]
    if letter == "n":
        return tuple.__new__(_class(given, tuple), [decode(one, known) for one in value[2]])
    if letter == "d":
        return {decode(k, known): decode(v, known) for k, v in given}
    if letter == "o":
        made = object.__new__(_class(given, object))
        vars(made).update({str(k): decode(v, known) for k, v in value[2]})
        return made
    if letter == "?":
        return None
    return _SORTS[letter](decode(one, known) for one in given)


_SORTS: dict[str, type] = {
    "t": tuple, "l": list, "s": set, "f": frozenset
}  # fmt: skip


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str, base: type) -> Any:
    module, _, attribute = str(name).partition(":")
    found = getattr(sys.modules.get(module), attribute, None)
    if not module.startswith(_OURS) or not isinstance(found, type) or not issubclass(found, base):
        raise ValueError(f"'{name}' is no type of a pipeline's state")
    return found
