"""What a draft spec does not say yet: values that begin with TODO, each refused by its key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policy_runner.core.errors import Problem

TODO = "TODO"


def todo_problems(content: object, file: str) -> list[Problem]:
    """One problem for every TODO in a file's content; an aliased one counts once."""
    seen: set[int] = set()
    problems = []
    for key, text in _texts("", content):
        if text.startswith(TODO) and id(text) not in seen:
            seen.add(id(text))
            expected = text.removeprefix(TODO).lstrip(": ") or "a value"
            problems.append(Problem(file, key, expected, "TODO"))
    return problems


def without_todos(problems: Iterable[Problem], content: object) -> list[Problem]:
    """The problems at other places than those of the TODOs, whose cause is already said."""
    places = [key for key, text in _texts("", content) if text.startswith(TODO)]
    return [
        problem
        for problem in problems
        if not any(_within(problem.key, place) or _within(place, problem.key) for place in places)
    ]


def _within(key: str, place: str) -> bool:
    return key == place or key.startswith((f"{place}.", f"{place}["))


def _texts(key: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield key, content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            yield from _texts(f"{key}.{name}" if key else str(name), value)
    elif isinstance(content, list):
        for k, value in enumerate(content):
            yield from _texts(f"{key}[{k}]", value)
