"""Former names of commands. They still work, and print the new name on stderr."""

from __future__ import annotations

from collections.abc import Sequence

OLD_NAMES = {  # the first match counts
    "build-engine": "engine build",
    "engines list": "engine list",
    "engines clean": "engine remove",
    "engines": "engine",
    "selftest": "bench selftest",
    "convert-stats": "convert stats",
}
_OLD_OPTION, _OPTION = "--backends", "--only"  # old option of `bench`, new one of `bench backends`


def with_new_names(words: Sequence[str]) -> tuple[list[str], str]:
    """Replace the former name at the start of a command line.

    Returns:
        The command line with the new name, and the sentence to print; "" if nothing changed.
    """
    for old, new in OLD_NAMES.items():
        count = len(old.split())
        if list(words[:count]) == old.split():
            return [*new.split(), *words[count:]], now_called(old, new)
    if words[:1] == ["bench"]:
        for k, word in enumerate(words):
            if word.partition("=")[0] == _OLD_OPTION:
                option = word.replace(_OLD_OPTION, _OPTION, 1)
                new_words = ["bench", "backends", *words[1:k], option, *words[k + 1 :]]
                return new_words, now_called(f"bench {_OLD_OPTION}", "bench backends")
    return list(words), ""


def now_called(old: str, new: str) -> str:
    """Return the sentence for the use of a former name."""
    return f"policy-runner: `{old}` is now `{new}`; the old name still works"
