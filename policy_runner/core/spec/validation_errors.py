"""Convert pydantic's errors to sentences: keys as in the file, one problem per mistake.

If a key has several alternative types, pydantic reports an error for every alternative. This
module reports only the errors of the most likely alternative, so one mistake gives one sentence.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from policy_runner.core.errors import Problem, did_you_mean
from policy_runner.core.spec.base import TermArithmetic
from policy_runner.core.spec.policy import PolicySpec
from policy_runner.core.spec.tensors import Normalization

# At the place of the alternatives, these errors mean that the alternative was not meant.
_OTHER_KIND = {
    *("float_type", "float_parsing", "int_type", "int_parsing", "string_type", "bool_type"),
    *("list_type", "dict_type", "model_type", "model_attributes_type", "literal_error"),
}


@dataclass(frozen=True)
class _Found:
    """One error, and the alternatives on its way: (key, name of the alternative)."""

    problem: Problem
    kind: str
    alternatives: tuple[tuple[str, str], ...]


def spec_problems(content: Mapping[Any, Any], errors: Sequence[Any], file: str) -> list[Problem]:
    """The problems for pydantic's errors, in their order.

    Args:
        content: the content of the spec file.
        errors: `ValidationError.errors()` of its validation.
        file: the spec file.
    """
    found = [_found(content, error, file) for error in errors]
    found = [_statistics_without_a_place(content, item) for item in found]
    return list(dict.fromkeys(item.problem for item in _settle(found, 0)))


_BESIDE = re.compile(r"observation\[(\d+)\]\.(\w+)")


def _statistics_without_a_place(content: Mapping[Any, Any], found: _Found) -> _Found:
    """Explain a key of `normalization` that is next to it, or `in_model` with further keys."""
    one = found.problem
    match = _BESIDE.fullmatch(one.key)
    if match and found.kind == "extra_forbidden" and match[2] in Normalization.model_fields:
        in_model = content["observation"][int(match[1])].get("normalization") == "in_model"
        expected = "no such key next to `normalization: in_model`" if in_model else one.expected
        remedy = (
            "a normalizer is in the graph or outside it, not both"
            if in_model
            else f"`{match[2]}` is a key of `normalization`"
        )
        return _Found(Problem(one.file, one.key, expected, one.got, remedy), found.kind, ())
    if found.kind == "literal_error" and one.got in ("'in_model'", "'none'"):
        remedy = f"write `normalization: {one.got[1:-1]}`, without statistics"
        changed = Problem(one.file, one.key, one.expected, one.got, remedy)
        return _Found(changed, found.kind, found.alternatives)
    return found


def _settle(found: list[_Found], depth: int) -> list[_Found]:
    settled: list[_Found] = []
    places: dict[str, dict[str, list[_Found]]] = {}
    for item in found:
        if len(item.alternatives) <= depth:
            settled.append(item)
        else:
            place, which = item.alternatives[depth]
            places.setdefault(place, {}).setdefault(which, []).append(item)
    for place, alternatives in places.items():
        meant = [
            items
            for items in alternatives.values()
            if not any(i.problem.key == place and i.kind in _OTHER_KIND for i in items)
        ]
        if meant:
            settled += _settle(min(meant, key=len), depth + 1)
            continue
        firsts = [items[0] for items in alternatives.values()]
        expected = " or ".join(dict.fromkeys(item.problem.expected for item in firsts))
        one = firsts[0].problem
        merged = Problem(one.file, one.key, expected, one.got, one.remedy)
        settled.append(_Found(merged, firsts[0].kind, ()))
    return settled


def _found(content: Mapping[Any, Any], error: Any, file: str) -> _Found:
    """Follow the error's location through the file's content.

    A part of the location that is not in the content is the name of an alternative.
    """
    key = ""
    at: Any = content
    alternatives: list[tuple[str, str]] = []
    tagged = None  # key of the term whose kind was already passed; the next key may equal the kind
    location = error["loc"]
    for k, part in enumerate(location):
        last_key = k == len(location) - 1 and error["type"] in ("missing", "extra_forbidden")
        is_tag = isinstance(at, Mapping) and at.get("term") == part and tagged != key
        if isinstance(part, int) and isinstance(at, list) and part < len(at):
            key, at = f"{key}[{part}]", at[part]
        elif (isinstance(at, Mapping) and part in at and not is_tag) or last_key:
            key = f"{key}.{part}" if key else str(part)
            at = at.get(part) if isinstance(at, Mapping) else None
            is_tag = False
        elif is_tag:
            tagged = key
        elif part != "[key]":
            alternatives.append((key, str(part)))
    return _Found(_problem(file, key, error), error["type"], tuple(alternatives))


def _problem(file: str, key: str, error: Any) -> Problem:
    kind, context = error["type"], error.get("ctx", {})
    got = repr(error["input"])
    if len(got) > 80:
        got = got[:77] + "..."
    if kind == "extra_forbidden":
        hint = _hint_for_unknown(key, error["loc"])
        return Problem(file, key, "a known key", f"'{error['loc'][-1]}'", hint)
    if kind == "missing":
        return Problem(file, key, "this key", "nothing")
    if kind == "union_tag_invalid":
        tags = str(context["expected_tags"]).replace("'", "")
        tag = str(context["tag"])
        hint = did_you_mean(tag, tags.split(", "))
        return Problem(file, f"{key}.term", f"one of {tags}", f"'{tag}'", hint)
    if kind == "union_tag_not_found":
        return Problem(file, key, "a mapping with the key `term`", got)
    expected = {
        "literal_error": context.get("expected", ""),
        "string_pattern_mismatch": f"text like {context.get('pattern', '')}",
        "string_type": "text",
        "string_too_short": "some text",
        "float_type": "a number",
        "float_parsing": "a number",
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "list_type": "a list",
        "dict_type": "a mapping of keys",
        "mapping_type": "a mapping of keys",
        "model_type": "a mapping of keys",
        "invalid_key": "text as a key",
        "too_short": f"a list of at least {context.get('min_length')}",
        "too_long": f"a list of at most {context.get('max_length')}",
    }.get(kind) or error["msg"].removeprefix("Input should be ")
    hint = did_you_mean(str(error["input"]), _choices(expected)) if kind == "literal_error" else ""
    return Problem(file, key, expected, got, hint)


def _choices(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def _hint_for_unknown(key: str, location: Sequence[Any]) -> str:
    """Name a similar key that is known at this place, or the places that know this very key."""
    word = str(location[-1])
    path = key[: -len(word)].rstrip(".")
    places = _places_of(path, tuple(str(part) for part in location[:-1]))
    # Where a mapping may be one of two, the key may be one of the other's.
    here = [known for known, place in _known_keys() if place in places and known != word]
    paths = {place.plain_path for place in places}
    elsewhere = [
        place.text_for(word)
        for known, place in _known_keys()
        if known == word and place not in places and place.plain_path not in paths
    ]
    # A key that is right in another place is rarely a slip for one that only looks a bit alike.
    hint = did_you_mean(word, here, cutoff=0.8 if elsewhere else 0.6)
    if hint or not elsewhere:
        return hint
    different = list(dict.fromkeys(elsewhere))
    others = ", among others" if len(different) > _MOST_PLACES else ""
    return f"`{word}` is a key of {' or '.join(different[:_MOST_PLACES])}{others}"


@functools.lru_cache(maxsize=32)
def _places_of(path: str, location: tuple[str, ...]) -> frozenset[_Place]:
    return frozenset(place for _, place in _known_keys() if place.holds(path, location))


_MOST_PLACES = 3


@dataclass(frozen=True)
class _Place:
    """Where the file may hold a mapping: its path, and the kinds of term that it may be."""

    path: str  # as in a problem's key, without numbers: observation[].terms[]
    kinds: tuple[str, ...]

    def holds(self, path: str, location: tuple[str, ...]) -> bool:
        """Whether a problem's mapping at `path` is this place."""
        pattern = re.escape(self.path).replace(re.escape(_ANY), ".+").replace(r"\[\]", r"\[\d+\]")
        if self.kinds and not set(self.kinds) & set(location):
            return False
        return re.fullmatch(pattern, path) is not None

    @property
    def plain_path(self) -> str:
        """The path, without the models and policies that have the keys of the top level, too."""
        return _NESTED.sub("", self.path) or self.path

    def text_for(self, key: str) -> str:
        """The place's name in a sentence."""
        if self.kinds and key in TermArithmetic.model_fields:
            return "a term"
        return f"the term {self.kinds[0]}" if self.kinds else self.plain_path or "the top level"


_ANY = "<name>"
_NESTED = re.compile(rf"^(switch\.policies\.{_ANY}\.)?(models\.{_ANY}\.)?")


@functools.cache
def _known_keys() -> tuple[tuple[str, _Place], ...]:
    """Every key of the policy spec with each place that knows it."""
    keys: list[tuple[str, _Place]] = []

    def visit(annotation: Any, path: str) -> None:
        # Check for parts first: in Python 3.10, list[X] is an instance of type.
        origin = typing.get_origin(annotation)
        if origin is not None or isinstance(annotation, types.UnionType):
            if origin is list:
                path = f"{path}[]"
            elif isinstance(origin, type) and issubclass(origin, Mapping):
                path = f"{path}.{_ANY}"
            for part in typing.get_args(annotation):
                visit(part, path)
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            kind = annotation.model_fields.get("term")
            place = _Place(path, typing.get_args(kind.annotation) if kind else ())
            for name, info in annotation.model_fields.items():
                key = info.alias or name
                keys.append((key, place))
                visit(info.annotation, f"{path}.{key}" if path else key)

    visit(PolicySpec, "")
    return tuple(keys)
