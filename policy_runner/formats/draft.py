"""A draft of a policy spec, made from a trainer's files; the user reads and corrects it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import refuse
from policy_runner.core.model import ModelFacts
from policy_runner.core.spec import SCHEMA
from policy_runner.core.spec.reader import TODO, todo_problems
from policy_runner.formats.trainer_yaml import WrongValue

INPUTS: dict[str, dict[str, str]] = {
    "imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu/data"},
    "joint_states": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
    "cmd_vel": {"type": "geometry_msgs/msg/TwistStamped", "topic": "cmd_vel"},
    "odom": {"type": "nav_msgs/msg/Odometry", "topic": "odom"},
}
# Exceptions that reading raises if a foreign file does not follow its format.
MALFORMED = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
    *(RecursionError, StopIteration),
)


@contextmanager
def well_formed(file: str, key: str, expected: str) -> Iterator[None]:
    """Refuse a foreign file if reading it raises an exception of `MALFORMED`.

    Args:
        file: path of the file, for the error.
        key: where in the file; may be empty.
        expected: what a file of this format has.

    Raises:
        Refusal: with the exception's type and text.
    """
    try:
        yield
    except WrongValue as error:
        raise refuse(
            file, ".".join(filter(None, (key, error.key))), error.expected, error.got
        ) from error
    except MALFORMED as error:
        raise refuse(file, key, expected, f"{type(error).__name__}: {error}") from error


def todo(text: str) -> str:
    """Return the draft's placeholder for a value that the source does not have.

    Args:
        text: what the user has to fill in.
    """
    return f"{TODO}: {text}"


@dataclass
class Draft:
    """A drafted spec, and remarks about its source."""

    dialect: str  # name of the source's format
    sources: list[Path]
    spec: dict[str, Any] = field(default_factory=dict)  # with the spec's keys
    # Taken from the format's deployment code or documentation, not from the files.
    assumed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # suspicious or lost values
    files: dict[str, bytes] = field(default_factory=dict)  # contents of files next to the spec
    exact: bool = False  # numbers are written bit by bit, not rounded to 12 decimals

    @property
    def unknown(self) -> list[tuple[str, str]]:
        """(key, what to fill in) of every TODO."""
        return [(problem.key, problem.expected) for problem in todo_problems(self.spec, "")]


def normalization_of(model: ModelFacts, tensor: str, otherwise: str) -> str:
    """Return `in_model` if the model begins with a normalizer, else `otherwise`.

    Args:
        model: facts of the model.
        tensor: name of its input.
        otherwise: the format's normalization.
    """
    return "in_model" if model.arithmetic.get(tensor) else otherwise


def remarks(model: ModelFacts) -> list[str]:
    """Return remarks about the model's graph for the user."""
    found = [
        f"the model begins with {', '.join(operations)} of stored vectors on '{name}': a "
        "normalizer inside it"
        for name, operations in model.arithmetic.items()
    ]
    stateless = [
        f"{node} keeps no state between two inferences: was the model exported without its state?"
        for node in model.stateless
    ]
    return [*found, *stateless, *model.suspicious]


def used_inputs(observation: Sequence[Mapping[str, Any]]) -> dict[str, Any] | str:
    """Return the inputs that drafted terms read, with their usual topics; a TODO if none.

    Args:
        observation: drafted tensors with their `terms`.
    """
    names: list[str] = []
    for tensor in observation:
        terms = tensor.get("terms")
        for term in terms if isinstance(terms, list) else []:
            if isinstance(term, dict) and term.get("input") in INPUTS:
                names.append(str(term["input"]))
    if not names:
        return todo("name: {type: package/msg/Name, topic: ...} of every message the terms read")
    return {name: dict(INPUTS[name]) for name in INPUTS if name in names}


def model_keys(model: ModelFacts, name: str) -> dict[str, Any]:
    """Return the first keys of every spec: schema, name, model."""
    file: dict[str, Any] = {"file": model.path.name, "sha256": model.sha256}
    if model.data_sha256:
        file["data"] = dict(model.data_sha256)
    folder = model.path.resolve().parent.name
    return {"schema": SCHEMA, "name": name or folder or model.path.stem, "model": file}


def rounded(values: Sequence[float], decimals: int) -> bool:
    """Return whether the values seem to be rounded to this number of decimals.

    At least three different values must need the last decimal, and at least half of those that are
    not whole numbers. People write 0.125, 0.075 or 22.5; so a last digit of 5 does not count.
    """
    different = {abs(v) for v in values}

    def fits(value: float, step: float) -> bool:
        return abs(value / step - round(value / step)) < 1e-9 * max(1.0, value / step)

    last = 10.0**-decimals
    using = [v for v in different if not fits(v, 5 * last)]
    return (
        all(fits(v, last) for v in different)
        and len(using) >= 3
        and 2 * len(using) >= len([v for v in different if not fits(v, 1.0)])
    )


class _Dumper(yaml.SafeDumper):
    """Writes short lists on one line, and aliases only for repeated TODOs."""

    def ignore_aliases(self, data: object) -> bool:
        return not (isinstance(data, str) and data.startswith(TODO))

    def generate_anchor(self, node: yaml.Node) -> str:
        """Return the name for `&` and `*` of a TODO that occurs twice."""
        self._anchors = getattr(self, "_anchors", 0) + 1
        return f"same_{self._anchors}"


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if value.startswith(TODO) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    return _exact(dumper, round(value, 12))  # writes 0.05 * 4 as 0.2, without a rounding error


def _exact(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    # YAML 1.1 reads 1e-08 as text: its floats need a point.
    text = re.sub(r"^(-?\d+)e", r"\1.0e", text)
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


class _ExactDumper(_Dumper):
    """The same, with every bit of a number."""


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
_ExactDumper.add_representer(float, _exact)


def spec_text(draft: Draft) -> str:
    """Return the draft as text of a `policy.yaml`: remarks as comments, then the keys."""
    lines = [f"# Imported from {', '.join(path.name for path in draft.sources)} ({draft.dialect})."]
    if not draft.exact:
        lines.append("# Read it, correct it, then: policy-runner check policy.yaml")
    for title, items in (
        ("Not said by the source; replace every TODO:", [f"{k}: {w}" for k, w in draft.unknown]),
        ("Taken from the format, not from the files; correct it where it is wrong:", draft.assumed),
        ("Look at:", draft.notes),
    ):
        if items:
            lines += [f"# {title}", *(f"#   - {item}" for item in items)]
    keys = _keys(draft.spec, _ExactDumper if draft.exact else _Dumper)
    return "\n".join(_printable(line) for line in lines) + "\n" + keys


def _printable(line: str) -> str:
    """Make a one-line comment: a line break in foreign text must not start a key of the spec."""
    return "".join(letter if letter.isprintable() else " " for letter in line)


def _keys(spec: Mapping[str, Any], dumper: type[_Dumper]) -> str:
    text = yaml.dump(
        dict(spec), Dumper=dumper, sort_keys=False, default_flow_style=None, width=100,
        allow_unicode=True,
    )  # fmt: skip
    return str(text)
