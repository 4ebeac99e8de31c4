"""The policy spec's limits, one per commanded element."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.core.spec.elements import ActionElement
from policy_runner.core.spec.spec_limits import NO_LIMIT, Limit


def limit_names(elements: Sequence[ActionElement]) -> list[str]:
    """What each element's limits are called: its joint, axis or name.

    `<joint>.<kind>` where one joint is commanded in several kinds, which have units of their own.
    """
    joints = [element.joint for element in elements]
    return [e.joint if joints.count(e.joint) == 1 else f"{e.joint}.{e.kind}" for e in elements]


def limits_by_element(
    limits: Mapping[str, Limit], elements: Sequence[ActionElement], file: str
) -> list[Limit]:
    """The limits of each element; a key is a name of `limit_names`, or a pattern of whole names.

    The exact name wins; not every element needs one.

    Raises:
        Refusal: a key that matches nothing, several patterns for one name, or lower above upper.
    """
    names = limit_names(elements)
    problems: list[Problem | str] = []
    found: list[list[str]] = [[] for _ in names]
    for key, limit in limits.items():
        try:
            matching = [k for k, name in enumerate(names) if re.fullmatch(key, name)]
        except re.error:
            matching = []
        matching = [names.index(key)] if key in names else matching
        if not matching:
            expected = f"a name or pattern of {', '.join(names[:40])}"
            hint = did_you_mean(key, names)
            problems.append(Problem(file, "limits", expected, f"'{key}'", hint))
        if limit.lower is not None and limit.upper is not None and limit.lower > limit.upper:
            expected = f"at most upper ({limit.upper:g})"
            problems.append(Problem(file, f"limits.{key}.lower", expected, f"{limit.lower:g}"))
        for k in matching:
            found[k].append(key)
    result = []
    for name, keys in zip(names, found, strict=True):
        chosen = [name] if name in keys else keys
        if len(chosen) > 1:
            got = " and ".join(f"'{key}'" for key in chosen)
            problems.append(Problem(file, "limits", f"one pattern for '{name}'", got))
        result.append(limits[chosen[0]] if chosen else NO_LIMIT)
    if problems:
        raise Refusal(problems)
    return result
