"""Questions to the newest messages: the norm of a command, whether it is small, a Bool."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.sources import Sources
from policy_runner.core.spec import SmallSignal

TWISTS = {"geometry_msgs/msg/Twist": "", "geometry_msgs/msg/TwistStamped": "twist."}
AXES = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
_PLANAR = ("linear.x", "linear.y", "angular.z")


class SmallCommand(Protocol):
    """The keys of a spec that say when a command is small."""

    @property
    def axes(self) -> Sequence[str] | None:
        """Axes of the norm."""

    @property
    def groups(self) -> Sequence[Sequence[str]] | None:
        """Axes or paths in groups."""

    @property
    def fields(self) -> Sequence[str] | None:
        """Paths of the norm's numbers."""

    @property
    def below(self) -> float | Sequence[float] | None:
        """The threshold, or one per group."""

    @property
    def inclusive(self) -> bool:
        """Whether the threshold itself is small, too."""


def bool_of(input_name: str, sources: Sources, key: str) -> Callable[[], bool]:
    """Make a function that returns the newest value of a std_msgs/Bool.

    Args:
        input_name: the input.
        sources: the data that terms read.
        key: the key in the spec that has `input`, for error messages.

    Raises:
        Refusal: the input is no Bool.
    """
    slot = sources.slot(input_name, key)
    if slot.spec.type != "std_msgs/msg/Bool":
        raise refuse(sources.file, f"{key}.input", "a std_msgs/msg/Bool", slot.spec.type)
    value = sources.numbers(slot, "data", 1, f"{key}.input")
    return lambda: bool(value[0] > 0.5)


def norm_of(
    input_name: str,
    axes: Sequence[str] | None,
    fields: Sequence[str] | None,
    sources: Sources,
    key: str,
) -> tuple[Callable[[], float], Callable[[], float] | None]:
    """Make a function of the Euclidean norm, and of the number itself if there is only one.

    Args:
        input_name: the input.
        axes: of a twist; None with `fields` None: linear.x, linear.y and angular.z.
        fields: paths in any message.
        sources: the data that terms read.
        key: the key in the spec that has `input`, for error messages.

    Raises:
        Refusal: both axes and fields, axes of another message, or a path that does not exist.
    """
    if axes is not None and fields is not None:
        raise refuse(sources.file, key, "one of `axes` and `fields`", "both")
    if fields is None:
        sources.slot_of(input_name, key, *TWISTS)
    arrays = single_numbers(input_name, fields or axes or _PLANAR, fields is None, sources, key)
    return _norm(arrays), (lambda: float(arrays[0][0])) if len(arrays) == 1 else None


def small(spec: SmallCommand, input_name: str, sources: Sources, key: str) -> Callable[[], bool]:
    """Make a function that says whether the newest command is small.

    Args:
        spec: the numbers and their thresholds.
        input_name: the input that has them.
        sources: the data that terms read.
        key: the key in the spec that has `input`, for error messages.

    Raises:
        Refusal: the numbers are named twice or not at all, or thresholds do not fit the groups.
    """
    given = [name for name in ("axes", "groups", "fields") if getattr(spec, name) is not None]
    if len(given) > 1:
        got = " and ".join(f"`{name}`" for name in given)
        raise refuse(sources.file, key, "one of `axes`, `groups` and `fields`", got)
    if spec.below is None:
        raise refuse(sources.file, f"{key}.below", "a threshold of the norm", "nothing")
    if spec.groups is None:
        norms = [norm_of(input_name, spec.axes, spec.fields, sources, key)[0]]
    else:
        twist = sources.slot(input_name, key).spec.type in TWISTS
        norms = [
            _norm(single_numbers(input_name, names, twist, sources, f"{key}.groups[{k}]"))
            for k, names in enumerate(spec.groups)
        ]
    limits = [*spec.below] if isinstance(spec.below, Sequence) else [spec.below] * len(norms)
    if len(limits) != len(norms):
        expected = f"one number, or {len(norms)}, one per group"
        raise refuse(sources.file, f"{key}.below", expected, f"{len(limits)}")
    pairs = list(zip(norms, limits, strict=True))
    if len(pairs) == 1 and not spec.inclusive:
        norm, limit = pairs[0]
        return lambda: norm() < limit
    if spec.inclusive:
        return lambda: all(norm() <= limit for norm, limit in pairs)
    return lambda: all(norm() < limit for norm, limit in pairs)


def all_small(
    conditions: Sequence[SmallSignal], input_name: str, sources: Sources, key: str
) -> Callable[[], bool]:
    """Make a function that says whether all of these signals are small, as they arrive.

    Args:
        conditions: the signals.
        input_name: the input of a condition that names none.
        sources: the data that terms read.
        key: the key in the spec that has the conditions, for error messages.

    Raises:
        Refusal: see `small`.
    """
    each = [
        small(one, one.input or input_name, sources, f"{key}[{k}]")
        for k, one in enumerate(conditions)
    ]
    return lambda: all(holds() for holds in each)


def _norm(arrays: Sequence[Array]) -> Callable[[], float]:
    return lambda: math.hypot(*(float(array[0]) for array in arrays))


def single_numbers(
    input_name: str, names: Sequence[str], axes: bool, sources: Sources, key: str
) -> list[Array]:
    """The arrays of single numbers of a message, float64 [1] each.

    Args:
        input_name: the input.
        names: axes of a twist, or paths.
        axes: the names are axes.
        sources: the data that terms read.
        key: the key in the spec that has the names, for error messages.

    Raises:
        Refusal: a name twice, an unknown one, or one of several numbers.
    """
    slot = sources.slot(input_name, key)
    if input_name in sources.mountings:
        expected = "an input without a mounting: these numbers are in the sensor's axes"
        raise refuse(sources.file, f"{key}.input", expected, input_name)
    for k, name in enumerate(names):
        if list(names).count(name) > 1:
            raise refuse(sources.file, key, "each of them once", f"'{name}' again")
        if axes and slot.spec.type in TWISTS and name not in AXES:
            raise refuse(sources.file, f"{key}[{k}]", f"one of {', '.join(AXES)}", f"'{name}'")
    head = TWISTS.get(slot.spec.type, "") if axes else ""
    arrays = []
    for name in names:
        array = sources.numbers(slot, head + name, 1, key)
        if array.size != 1:
            raise refuse(sources.file, key, "paths of single numbers", f"'{name}'")
        arrays.append(array)
    return arrays
