"""Values of a pipeline's state as plain values, bytes, and tuples that begin with a letter.

The letters: "a" an array, "e" an enum, "n" a named tuple, "t l s f d" containers, "o" an object,
"=" one of the known objects, "?" a type that no file can have. `places` adds two: "@", the array
of another path, and "-", an array that was left out.
"""

from __future__ import annotations

import enum
import functools
import math
import sys
import types
from typing import Any

import numpy as np

OURS = "policy_runner.core."
PLAIN = (type(None), bool, int, float, str)
PLAIN_TYPES = frozenset(PLAIN)


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


def encode(value: Any, known: dict[int, str]) -> Any:
    """Return a value as plain values, bytes, and tuples that begin with a letter.

    Args:
        value: of a type that `decode` can build.
        known: names of objects that are compared by identity.
    """
    kind = type(value)
    if kind in PLAIN_TYPES:
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
    if kind.__module__.startswith(OURS) and kind.__dictoffset__:
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
    if not module.startswith(OURS) or not isinstance(found, type) or not issubclass(found, base):
        raise ValueError(f"'{name}' is no type of a pipeline's state")
    return found
