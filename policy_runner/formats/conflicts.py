"""Finds contradictions between two sources of one policy; the user chooses.

Exporters write the same facts into several files: a YAML file and the model's metadata. If two
sources differ, one of them belongs to another policy or was edited. Each difference becomes a TODO
with both values, so `check` refuses the spec until the user has chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policy_runner.core.spec.reader import TODO
from policy_runner.formats.draft import Draft, todo

# Exporters round to 3 significant digits (unitree) or 3 decimals (mjlab).
RELATIVE, ABSOLUTE = 5.01e-3, 5.01e-4
BY_JOINT = ("default_joint_pos", "stiffness", "damping", "effort_limit")
SHOWN = 40  # elements of a list in a message


def mark_conflicts(draft: Draft, other: Draft) -> int:
    """Replace each value of a draft that another source contradicts by a TODO with both values.

    Args:
        draft: changed in place.
        other: draft of the other source, for the same model.

    Returns:
        The number of contradictions.
    """
    return _Comparison(draft, other).run()


class _Comparison:
    def __init__(self, draft: Draft, other: Draft) -> None:
        self.mine, self.theirs = draft.spec, other.spec
        self._draft = draft
        self._names = (_source(draft), _source(other))
        self._found = 0

    def run(self) -> int:
        self._joints()
        self._value(self.mine, "control_dt", self.theirs.get("control_dt"), 0.0)
        for key in BY_JOINT:
            theirs = self._in_my_order(self.theirs.get(key))
            self._value(self.mine, key, theirs, None)
        tensors = {_first(one): one for one in self.theirs.get("observation") or []}
        for tensor in self.mine.get("observation") or []:
            other = tensors.get(_first(tensor))
            if other is not None:
                self._terms(tensor, other)
        self._action()
        if self._found:
            self._draft.notes.append(
                f"{self._names[0]} and {self._names[1]} contradict each other in "
                f"{self._found} places: choose at each TODO, or find out which file is of "
                "another policy"
            )
        return self._found

    def _text(self, mine: Any, theirs: Any) -> str:
        self._found += 1
        return todo(
            f"choose: {self._names[0]} says {_brief(mine)}, {self._names[1]} says {_brief(theirs)}"
        )

    def _value(self, place: dict[str, Any], key: str, theirs: Any, default: Any) -> None:
        mine = place.get(key, default)
        if _unknown(mine) or _unknown(theirs) or _same(mine, theirs):
            return
        place[key] = self._text(mine, theirs)

    def _joints(self) -> None:
        mine, theirs = self.mine.get("joint_names"), self.theirs.get("joint_names")
        self._my_joints, self._their_joints = mine, theirs
        if not isinstance(theirs, list) or not theirs:
            return
        if isinstance(mine, str) and mine.startswith(TODO):
            hint = f"{mine}; {self._names[1]} lists {', '.join(theirs)}"
            _replace(self.mine, mine, hint)
        elif isinstance(mine, list) and mine != theirs:
            self.mine["joint_names"] = self._text(mine, theirs)

    def _in_my_order(self, values: Any) -> Any:
        mine, theirs = self._my_joints, self._their_joints
        if not isinstance(values, list) or not isinstance(mine, list):
            return values
        if not isinstance(theirs, list) or set(mine) != set(theirs) or len(values) != len(theirs):
            return values
        return [dict(zip(theirs, values, strict=True))[name] for name in mine]

    def _terms(self, tensor: dict[str, Any], other: Mapping[str, Any]) -> None:
        mine, theirs = tensor.get("terms"), other.get("terms")
        if not isinstance(mine, list) or not isinstance(theirs, list):
            return
        if any(isinstance(one, str) and one.startswith(f"{TODO}: choose") for one in mine):
            return  # another neighbour contradicts already
        listed = [[_what(one) for one in terms] for terms in (mine, theirs)]
        # A term that is unknown here has no name to compare.
        if None in listed[0] or None in listed[1]:
            if len(listed[0]) == len(listed[1]):
                return
        elif listed[0] == listed[1]:
            for term, their_term in zip(mine, theirs, strict=True):
                if isinstance(term, dict) and isinstance(their_term, dict):
                    self._value(term, "scale", their_term.get("scale", 1.0), 1.0)
                    if term.get("clip") is not None or their_term.get("clip") is not None:
                        self._value(term, "clip", their_term.get("clip"), None)
            self._history(tensor, other)
            return
        text = self._text([_label(one) for one in mine], [_label(one) for one in theirs])
        mine.append(f"{text}; then remove this line")

    def _history(self, tensor: dict[str, Any], other: Mapping[str, Any]) -> None:
        names = [_label(one) for one in tensor["terms"]]
        mine = _lengths(tensor, names)
        theirs = _lengths(other, [_label(one) for one in other["terms"]])
        if mine is not None and theirs is not None and mine != theirs:
            history = tensor.setdefault(
                "history", {"stack": "term", "order": "oldest_first", "fill": "repeat"}
            )
            history["length"] = self._text(mine, theirs)

    def _action(self) -> None:
        groups = [
            [group for one in spec.get("action") or [] if isinstance(one, dict)
             for group in one["groups"]]
            for spec in (self.mine, self.theirs)
        ]  # fmt: skip
        if len(groups[0]) != 1 or len(groups[1]) != 1:
            return
        mine, theirs = groups[0][0], groups[1][0]
        for key, default in (("kind", None), ("scale", 1.0), ("relative_to", "zero")):
            self._value(mine, key, theirs.get(key, default), default)
        if "offset" in theirs:
            self._value(mine, "offset", theirs["offset"], 0.0)


def _source(draft: Draft) -> str:
    path = draft.sources[-1]
    return f"{path.name}'s metadata" if path.suffix == ".onnx" else path.name


def _first(tensor: Mapping[str, Any]) -> str:
    return str(tensor.get("tensor"))


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.startswith(TODO))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= ABSOLUTE + RELATIVE * max(abs(one), abs(other))
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        if isinstance(one, str) or isinstance(other, str):
            return one == other
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, list) and isinstance(other, (int, float)):
        return all(_same(element, other) for element in one)
    if isinstance(other, list) and isinstance(one, (int, float)):
        return all(_same(one, element) for element in other)
    return bool(one == other)


def _what(term: Any) -> tuple[str, str] | None:
    return (term["term"], term.get("field", "")) if isinstance(term, dict) else None


def _label(term: Any) -> str:
    return str(term.get("name", term["term"])) if isinstance(term, dict) else "an unknown term"


def _lengths(tensor: Mapping[str, Any], names: list[str]) -> list[int] | None:
    history = tensor.get("history") or {}
    length = history.get("length", 1)
    if isinstance(length, int):
        return [length] * len(names)
    return [length.get(name, 1) for name in names] if isinstance(length, dict) else None


def _brief(value: Any) -> str:
    if isinstance(value, list):
        more = f", and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
        return f"[{', '.join(_brief(one) for one in value[:SHOWN])}{more}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _replace(place: Any, old: str, new: str) -> None:
    """Replace one TODO everywhere, and keep that it counts once: the object stays the same."""
    pairs = place.items() if isinstance(place, dict) else enumerate(place)
    for key, value in list(pairs):
        if value is old:
            place[key] = new
        elif isinstance(value, (dict, list)):
            _replace(value, old, new)
