"""The whole state of a pipeline: copied by the control thread, encoded later, restored by path.

A copy has two parts: the bytes of the arrays, which go into the memory of the black box, and the
other values. These never change, or were copied, so another thread can encode them.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from policy_runner.core.black_box.encoding import OURS, PLAIN_TYPES, attributes, decode, encode
from policy_runner.core.black_box.places import Found, Place
from policy_runner.core.errors import refuse
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.settings import MOVING, RUNNING, STOPPED, Settings

LARGE_ARRAY = 65_536  # [bytes]
_CONSTANTS = {"running": RUNNING, "moving": MOVING, "stopped": STOPPED}
# Not state: the recorder, and what the settings of a restored state make again. The last three
# refer to the inputs' own objects.
_DERIVED = (
    "pipeline.recorder",
    "pipeline._robot_watch._bounds",
    "pipeline._robot_watch._watched_bounds",
    "pipeline._robot_watch._speeds",
)
EDITED = "a state as the node wrote it"
_ALIAS, _LEFT_OUT = "@", "-"


@dataclass(frozen=True)
class Form:
    """The arrays of a copy: what other copies with the same arrays share.

    Attributes:
        arrays: place of each array, and its type, shape and bytes; or what is saved in its place.
        size: of all arrays together [bytes].
    """

    arrays: Sequence[tuple[int, tuple[Any, ...]]]
    size: int


@dataclass(frozen=True)
class Copy:
    """The values of all places at one time; the bytes of the arrays are not in it."""

    form: Form
    values: list[Any]
    settings: Settings | None  # None: the state of a part

    def encode(self, numbers: bytes) -> list[Any]:
        """Return the settings, if there are any, and every value, in the order of the paths.

        Args:
            numbers: the bytes of the arrays.
        """
        known = _known(self.settings)
        found = [one.value if type(one) is _Encoded else encode(one, known) for one in self.values]
        at = 0
        for place, form in self.form.arrays:
            if form[0] in (_ALIAS, _LEFT_OUT):
                found[place] = form
                continue
            dtype, shape, size = form
            found[place] = ("a", dtype, shape, numbers[at : at + size])
            at += size
        return found if self.settings is None else [encode(self.settings, {}), *found]


class _Encoded:
    """A value that can change, so the control thread had to encode it."""

    def __init__(self, value: Any) -> None:
        self.value = value


class State:
    """The state of a part of a pipeline.

    Attributes:
        outside: see `Found`.
        form: of the newest copy.
    """

    def __init__(self, root: Any, path: str, skip: Collection[str] = ()) -> None:
        """Find the places; see `Found`."""
        found = Found(root, path, skip)
        self.outside = found.outside
        self.form = Form((), 0)
        self._arrange(found.places)
        self._unneeded: set[int] = set()
        self._kinds: list[type] = []
        self._held: list[int] = []  # places whose values may change inside
        self._array_at: list[int] = []
        self._arrays: list[Any] = []
        self._ids: list[int] = []  # of the arrays, which `_arrays` keeps alive
        self._parts: list[Any] = []
        self._strided: list[tuple[int, Any]] = []

    def _arrange(self, places: Sequence[Place]) -> None:
        """Order the places so that few calls read all of them: by owner, arrays first."""
        by_owner: dict[int, list[Place]] = {}
        for place in places:
            if place[2]:
                by_owner.setdefault(id(place[1]), []).append(place)
        several = [of for of in by_owner.values() if len(of) > 1]
        single = [of[0] for of in by_owner.values() if len(of) == 1]
        fixed = [place for place in places if not place[2]]
        self._places = [*fixed, *chain.from_iterable(several), *single]
        self._fixed = [owner for _, owner, _ in fixed]
        self._several = [(attrgetter(*[name for _, _, name in of]), of[0][1]) for of in several]
        self._single = [(attrgetter(name), owner) for _, owner, name in single]

    @property
    def paths(self) -> list[str]:
        """The path of every value of a copy."""
        return [path for path, _, _ in self._places]

    def exchange(self, before: Any, now: Any) -> None:
        """The object `now` has taken the place of another of its class."""
        self._arrange([(p, now if one is before else one, name) for p, one, name in self._places])

    def leave_out(self, arrays: Collection[Any]) -> None:
        """Leave out these arrays if they are large: a replay does not need them."""
        self._unneeded = {id(one) for one in arrays}
        self._kinds = []

    def take(self) -> tuple[Copy, list[Any]]:
        """Copy the values; return the copy, and the arrays, to be joined to bytes at once."""
        values = [*self._fixed, *chain.from_iterable([get(one) for get, one in self._several])]
        values += [get(one) for get, one in self._single]
        kinds = list(map(type, values))
        if kinds != self._kinds:
            self._kinds, self._ids = kinds, []
            self._array_at = [k for k, kind in enumerate(kinds) if kind is np.ndarray]
            self._held = [k for k, kind in enumerate(kinds) if not _stays(kind)]
        arrays = [values[k] for k in self._array_at]
        ids = list(map(id, arrays))
        if ids != self._ids:
            self._look_at(arrays)
            self._ids = ids
        for k in self._array_at:
            values[k] = None
        for k in self._held:
            values[k] = self._hold(values[k])
        for k, array in self._strided:
            self._parts[k] = array.tobytes()
        return Copy(self.form, values, self._settings()), self._parts

    def _look_at(self, arrays: list[Any]) -> None:
        """Find the form and the parts of a copy with these arrays."""
        forms: list[tuple[int, tuple[Any, ...]]] = []
        first: dict[int, str] = {}
        self._arrays, self._parts, self._strided = arrays, [], []
        size = 0
        for k, array in zip(self._array_at, arrays, strict=True):
            alias = first.setdefault(id(array), self._places[k][0])
            if alias is not self._places[k][0]:
                forms.append((k, (_ALIAS, alias)))
                continue
            if id(array) in self._unneeded and array.nbytes > LARGE_ARRAY:
                forms.append((k, (_LEFT_OUT, None)))
                continue
            if array.dtype.hasobject:
                raise TypeError(f"{self._places[k][0]} is an array of objects")
            if not array.flags.c_contiguous:
                self._strided.append((len(self._parts), array))
            self._parts.append(array)
            forms.append((k, (array.dtype.str, array.shape, array.nbytes)))
            size += array.nbytes
        self.form = Form(forms, size)

    def _hold(self, value: Any) -> Any:
        """Return a value that does not change when this one does."""
        kind = type(value)
        if kind is dict:
            if all(map(_is_constant, value.values())):
                return value.copy()
        elif kind is list or kind is set:
            if PLAIN_TYPES.issuperset(map(type, value)) or all(map(_is_constant, value)):
                return value.copy()
        elif isinstance(value, (tuple, frozenset)) and all(map(_is_constant, value)):
            return value
        return _Encoded(encode(value, _known(self._settings())))

    def _settings(self) -> Settings | None:
        return None

    def restore(self, saved: dict[str, Any], file: str) -> None:
        """Set the state.

        Args:
            saved: value by path.
            file: the file that it is from, for errors.

        Raises:
            Refusal: the values belong to another pipeline or version, or were edited.
        """
        paths = self.paths
        missing = [path for path in paths if path not in saved]
        if missing or len(saved) != len(paths):
            got = f"no value for {missing[0]}" if missing else "values of other places"
            raise refuse(file, "state", "the state of this policy and this version", got)
        try:
            self._restore(saved)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            text = f"{type(error).__name__}: {error}"
            raise refuse(file, "state", EDITED, text) from error

    def _restore(self, saved: dict[str, Any]) -> None:
        known = {**_CONSTANTS, **self._restore_settings(saved)}
        now: dict[str, Any] = {}  # array by path
        used: set[int] = set()
        for path, owner, name in self._places:
            given = saved[path]
            letter = given[0] if isinstance(given, (list, tuple)) else ""
            present = getattr(owner, name) if name else owner
            if letter == _LEFT_OUT:
                value = present
            elif letter == _ALIAS:
                value = now[given[1]]
            else:
                value = _into(present, decode(given, known), used)
            if isinstance(value, np.ndarray):
                now[path] = value
                used.add(id(value))
            if not name:
                if value is not present:
                    raise ValueError(f"{path}: {_form(value)} in place of {_form(present)}")
            elif value is not present:
                setattr(owner, name, value)

    def _restore_settings(self, saved: dict[str, Any]) -> dict[str, Any]:
        return {}


class PipelineState(State):
    """The state of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Find the places; see `Found`."""
        self._pipeline = pipeline
        self._safety = pipeline.safety
        super().__init__(pipeline, "pipeline", _DERIVED)

    @property
    def paths(self) -> list[str]:
        """The path of every value of a copy; the first one is the settings."""
        return ["settings", *super().paths]

    def take(self) -> tuple[Copy, list[Any]]:
        """See `State.take`."""
        safety = self._pipeline.safety
        if safety is not self._safety:  # this pipeline continues from another one
            self.exchange(self._safety, safety)
            self._safety = safety
        return super().take()

    def leave_out_tensors(self) -> None:
        """Leave out the built tensors and their histories, which are recorded with each tick."""
        found: list[Any] = []
        for builder, buffer in self._pipeline.policy.every_tensor:
            found.append(buffer)
            for name in attributes(builder):
                value = getattr(builder, name)
                inside = attributes(value) if type(value).__module__.startswith(OURS) else ()
                found += [value, *(getattr(value, one) for one in inside)]
        self.leave_out([one for one in found if isinstance(one, np.ndarray)])

    def _settings(self) -> Settings | None:
        return self._pipeline.settings

    def _restore_settings(self, saved: dict[str, Any]) -> dict[str, Any]:
        settings = decode(saved["settings"], {})
        if not isinstance(settings, Settings):
            raise TypeError(f"settings are {type(settings).__name__}")
        self._pipeline.settings = settings
        return {"settings": settings, "limits": settings.limits, "stops": settings.stops}


def slot_states(pipeline: Pipeline) -> dict[str, State]:
    """Return the state of each input by name, without its newest message, which may be large."""
    return {
        name: State(slot, f"inputs[{name}]", (f"inputs[{name}].keepers",))
        for name, slot in pipeline.slots.items()
    }


def _known(settings: Settings | None) -> dict[int, str]:
    """The names of the objects that a pipeline compares by identity."""
    known = {id(one): name for name, one in _CONSTANTS.items()}
    if settings is not None:
        known.update({
            id(settings): "settings", id(settings.limits): "limits", id(settings.stops): "stops"
        })  # fmt: skip
    return known


def _stays(kind: type) -> bool:
    """Whether values of a type never change; arrays are copied separately."""
    if kind in PLAIN_TYPES or issubclass(kind, (enum.Enum, np.generic, np.ndarray)):
        return True
    parameters = getattr(kind, "__dataclass_params__", None)
    return kind.__module__ == f"{OURS}settings" and parameters is not None and parameters.frozen


def _is_constant(value: Any) -> bool:
    if type(value) in PLAIN_TYPES or isinstance(value, (enum.Enum, np.generic)):
        return True
    return isinstance(value, tuple) and all(map(_is_constant, value))


def _into(present: Any, value: Any, used: set[int]) -> Any:
    """Put a value into the present container if both fit; return what the place has then."""
    if isinstance(present, np.ndarray) and isinstance(value, np.ndarray):
        alike = present.shape == value.shape and present.dtype == value.dtype
        # An array with two names now may have been two arrays then.
        if alike and present.flags.writeable and id(present) not in used:
            np.copyto(present, value)
            return present
    elif isinstance(present, dict) and isinstance(value, dict):
        present.clear()
        present.update(value)
        return present
    elif isinstance(present, list) and isinstance(value, list):
        present[:] = value
        return present
    return value


def _form(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
