"""The data that observation terms read, the compiled form of a term, and the list of compilers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.inputs.slot import InputSlot, Read
from policy_runner.core.model import Array, Model
from policy_runner.core.observation.terms.counters import Clock
from policy_runner.core.observation.terms.rotation import Quaternion
from policy_runner.core.spec import PolicySpec

JOINT_STATE = "sensor_msgs/msg/JointState"
IMU = "sensor_msgs/msg/Imu"
# The gravity, float64 [3], body frame, NaN until measured; and the function that computes it from
# the newest message. It returns '' or why the message is unusable.
Gravity = tuple[Array, Callable[[], str]]


@dataclass
class Sources:
    """The data that terms read: inputs and previous action; and the data that they register."""

    spec: PolicySpec
    file: str
    slots: Mapping[str, InputSlot]
    robot_joints: Mapping[str, RobotJoint]
    last_action: Array
    action_joints: tuple[str, ...]
    action_kinds: tuple[str, ...] = ()
    previous_target: Array = field(default_factory=lambda: np.zeros(0))  # of the last inference
    mountings: Mapping[str, Quaternion] = field(default_factory=dict)  # input -> R(body, sensor)
    next_to: Callable[[str, str], Path] | None = None  # (file, key) -> path in the spec's folder
    clocks: list[Clock] = field(default_factory=list)  # advanced once per inference
    gravities: list[Gravity] = field(default_factory=list)  # one per projected_gravity term
    motions: dict[str, object] = field(default_factory=dict)  # name -> its shared table and clock
    models: Mapping[str, Model] = field(default_factory=dict)  # those that run before, by name
    previous_outputs: list[Clock] = field(default_factory=list)  # kept from inference to inference

    def slot(self, name: str, key: str) -> InputSlot:
        """The slot of the input with that name.

        Raises:
            Refusal: there is no such input.
        """
        if name not in self.slots:
            known = ", ".join(self.slots)
            raise refuse(
                self.file, f"{key}.input", f"one of {known}", name, did_you_mean(name, self.slots)
            )
        return self.slots[name]

    def slot_of(self, name: str, key: str, *types: str) -> InputSlot:
        """The slot of the input with that name, whose messages are of one of these types.

        Raises:
            Refusal: there is no such input, or it has another type.
        """
        slot = self.slot(name, key)
        if slot.spec.type not in types:
            others = "".join(f" or {one.rpartition('/')[2]}" for one in types[1:])
            expected = f"an input of type {types[0]}{others}"
            raise refuse(self.file, f"{key}.input", expected, slot.spec.type)
        return slot

    def numbers(self, slot: InputSlot, path: str, size: int | None, key: str) -> Array:
        """The array that a field of a message is written to.

        Args:
            slot: the input.
            path: of the field.
            size: number of elements, see `message_fields.leaves`.
            key: the key in the spec that names the field, for error messages.

        Raises:
            Refusal: the message has no such field.
        """
        try:
            return slot.field(path, size)
        except KeyError as error:
            expected = f"{error.args[0]} of {slot.spec.type}"
            last = path.split(".")[-1].split("[")[0]
            hint = did_you_mean(last, str(error.args[0]).removeprefix("one of ").split(", "))
            raise refuse(self.file, key, expected, f"'{path}'", hint) from error


@dataclass(frozen=True)
class CompiledTerm:
    """One compiled term.

    Attributes:
        name: the term's name, for diagnostics.
        elements: names of its numbers.
        relative: subtracted from the numbers, float64 [elements].
        bind: makes the function that writes the numbers into the frame.
    """

    name: str
    elements: Sequence[str]
    relative: Array
    bind: Callable[[Array], Read]

    @property
    def size(self) -> int:
        """Count of numbers in one frame."""
        return len(self.elements)


Compile = Callable[[Any, Sources, str], CompiledTerm]
COMPILERS: dict[type, Compile] = {}  # model of the spec -> the function that compiles its terms


def compiles(*models: type) -> Callable[[Compile], Compile]:
    """Register the decorated function as the compiler of these models of the spec.

    Its arguments are (term, sources, key of the term in the spec file). It raises `Refusal` if an
    input, field or joint does not exist.
    """

    def register(compile_one: Compile) -> Compile:
        for model in models:
            COMPILERS[model] = compile_one
        return compile_one

    return register


def absolute(name: str, elements: Sequence[str], bind: Callable[[Array], Read]) -> CompiledTerm:
    """Make a term from which nothing is subtracted."""
    return CompiledTerm(name, elements, np.zeros(len(elements)), bind)


def copy(name: str, elements: Sequence[str], source: Array) -> CompiledTerm:
    """Make a term that copies an array."""

    def bind(out: Array) -> Read:
        def read() -> str:
            np.copyto(out, source)
            return ""

        return read

    return absolute(name, elements, bind)


def gather(name: str, elements: Sequence[str], source: Array, index: list[int]) -> CompiledTerm:
    """Make a term that copies the elements of an array at `index`."""
    if index == list(range(source.size)):
        return copy(name, elements, source)
    take = np.array(index, dtype=np.intp)

    def bind(out: Array) -> Read:
        def read() -> str:
            source.take(take, out=out)
            return ""

        return read

    return absolute(name, elements, bind)


def joint_index(names: Sequence[str], wanted: Sequence[str], file: str, key: str) -> list[int]:
    """Indices of the wanted joints in `names`.

    Raises:
        Refusal: a joint is unknown or named twice.
    """
    for k, joint in enumerate(wanted):
        if joint not in names:
            expected = f"a joint of joint_names ({', '.join(names)})"
            raise refuse(file, f"{key}[{k}]", expected, f"'{joint}'", did_you_mean(joint, names))
    if len(set(wanted)) != len(wanted):
        twice = next(joint for joint in wanted if wanted.count(joint) > 1)
        raise refuse(file, key, "every joint once", f"'{twice}' twice")
    return [names.index(joint) for joint in wanted]
