"""A small mutation fuzzer: readers may only raise our own errors, soon, and open no other file.

Seeded: `POLICY_RUNNER_SOAK_SEED` (default 1) and the run's number determine every input, so a
finding can be repeated by its name. Without `POLICY_RUNNER_SOAK_SECONDS` a target gets part of a
second in `make test`. `make soak` gives each target the time in that variable.
"""

from __future__ import annotations

import copy
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = float(os.environ.get("POLICY_RUNNER_SOAK_SECONDS", "0"))
SEED = int(os.environ.get("POLICY_RUNNER_SOAK_SEED", "1"))
SHORT_SECONDS = 0.4
LIMIT_SECONDS = 5.0  # processor time of this process for one input
LONGEST_SENTENCE = 4000

NUMBERS = (0, -1, 1, 2, 127, 255, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63, 10**400)
FLOATS = (float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, -0.0, 0.5)
TEXTS = ("", " ", "\0", "a" * 300, "../../outside", "/etc/passwd", "(a+)+", "TODO: x", "x")
TEXTS += ("joint", "1", "nan", "-inf", "é\u202e", "a\nb", "[0:4]", "obs", "none", "=", "{}")


class TooSlow(BaseException):
    """One input took longer than LIMIT_SECONDS of processor time."""


class Watch:
    """Records the interpreter's events about files, processes and sockets while `on`."""

    def __init__(self) -> None:
        self.on = False
        self.folder = ""
        self.seen: list[str] = []
        # Modules imported on first use, and files that the C library reads.
        self._quiet = tuple({sys.prefix, sys.base_prefix, *filter(None, sys.path), "/proc/self"})
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, mode = arguments[0], arguments[1]
            if isinstance(path, int):
                return
            where = os.path.abspath(os.fsdecode(path))
            writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
            inside = where.startswith(self.folder)
            if not inside and (writes or not where.startswith(self._quiet)):
                self.seen.append(f"open {where} {mode}")
        elif event.startswith(("subprocess.", "socket.", "os.system", "os.exec", "os.fork")) or (
            event in ("pickle.find_class", "os.posix_spawn", "os.remove", "os.rename", "os.mkdir")
        ):
            self.seen.append(f"{event} {arguments!r}"[:200])


WATCH = Watch()


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Yield the list of files opened outside `folder`, processes started and connections made."""
    WATCH.folder, WATCH.seen, WATCH.on = str(folder.resolve()), [], True
    try:
        yield WATCH.seen
    finally:
        WATCH.on = False


@contextmanager
def limited() -> Iterator[None]:
    """Limit processor time, not wall time, because the machine may be busy.

    Uses no SIGALRM, because pytest-timeout uses it.
    """

    def ring(_number: int, _frame: object) -> None:
        raise TooSlow(f"more than {LIMIT_SECONDS:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def mutated_bytes(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Apply a few cuts, repetitions, flips and splices."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 40, 400)))
        kind = rng.randrange(9)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 10, 32, rng.randrange(256)))
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end] * rng.choice((1, 2, 30))
        elif kind == 4:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % (1 << 8 * size)
            data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 5:
            data[at:at] = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
        elif kind == 6:
            other = rng.choice(others)
            first = rng.randrange(len(other) + 1)
            data[at:end] = other[first : first + rng.choice((1, 8, 80))]
        elif kind == 7:
            del data[at:]
        else:
            data[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
    return bytes(data)


def odd_value(rng: random.Random, depth: int = 0) -> Any:
    """Return a value that is unexpected at its place."""
    kind = rng.randrange(8 if depth < 2 else 5)
    if kind == 0:
        return rng.choice(NUMBERS)
    if kind == 1:
        return rng.choice(FLOATS)
    if kind in (2, 3):
        return rng.choice(TEXTS)
    if kind == 4:
        return rng.choice((None, True, False))
    if kind == 5:
        return [odd_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 12)))]
    if kind == 6:
        return {rng.choice(TEXTS): odd_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))}
    nested: Any = rng.choice(([], {}, 1))
    for _ in range(rng.choice((3, 70))):
        nested = [nested]
    return nested


def mutated_tree(rng: random.Random, content: Any) -> Any:
    """Return plain data with some values replaced, left out, repeated or moved."""
    tree = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = list(_places(tree))
        if not places:
            return odd_value(rng)
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other, where = rng.choice(places)
            holder[key] = copy.deepcopy(other[where])
        elif kind == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 3 and isinstance(holder, dict):
            holder[rng.choice((*TEXTS, *holder))] = holder.pop(key)
        elif kind == 4 and isinstance(holder[key], str):
            holder[key] = rng.choice((holder[key] + rng.choice(TEXTS), holder[key][:-1]))
        else:
            holder[key] = odd_value(rng)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if _is_list(tree) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def _is_list(tree: Any) -> bool:
    return isinstance(tree, list)


def json_bytes(tree: Any) -> bytes:
    """Return JSON, with NaN and Infinity as Python writes them."""
    return json.dumps(tree).encode()


def fuzz(
    name: str,
    folder: Path,
    make: Callable[[random.Random], Any],
    read: Callable[[Any], object],
    ours: type[Exception] | tuple[type[Exception], ...],
    seconds: float | None = None,
) -> Counter[str]:
    """Create and read inputs for a while; fail with the seed of the first bad one.

    Returns the numbers of inputs that were read and refused.
    """
    seconds = seconds or SECONDS or SHORT_SECONDS
    found: Counter[str] = Counter()
    until = time.monotonic() + seconds
    run = 0
    while time.monotonic() < until or run < 20:
        given = make(random.Random(f"{SEED} {name} {run}"))
        found["inputs"] += 1
        why = ""
        with watched(folder) as opened:
            try:
                with limited():
                    read(given)
                found["read"] += 1
            except ours as error:
                found["refused"] += 1
                why = _bad_sentence(error)
            except (Exception, TooSlow) as error:  # noqa: BLE001 -- the fuzzer looks for these
                why = f"{type(error).__name__}: {error}"
                cause: BaseException = error
            else:
                cause = AssertionError(why)
        if why or opened:
            shown = repr(given)
            print(f"input: {shown[:3000]}")  # noqa: T201
            text = f"{name}, seed {SEED}, input {run}: {why[:500]} {opened}"
            raise AssertionError(text) from (cause if why and "cause" in locals() else None)
        run += 1
    print(f"{name}: {dict(found)} in {seconds:g} s, {found['inputs'] / seconds:.0f}/s")  # noqa: T201
    return found


def _bad_sentence(error: Exception) -> str:
    problems = getattr(error, "problems", (error,))
    for problem in problems:
        text = str(problem)
        if not text.isprintable() or not text.strip() or len(text) > LONGEST_SENTENCE:
            return f"a sentence of {len(text)} characters: {text[:200]}"
    return ""
