"""Engines that were built on this machine, in a private folder, found by their ingredients.

An entry is one file: a magic line; the sha256 of all that follows; one line of JSON with the
key and what is known of the build; the engine. Whatever does not fit is said and built again:
a truncated file, another user's, one that was renamed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_runner.backends.private_folder import PrivateFolder, default_folder, reason
from policy_runner.backends.tensorrt.engine_key import EngineKey

MAGIC = b"policy_runner engine 1\n"
SUFFIX = ".engine"
_LONGEST_HEAD = 1 << 16  # magic, sha256 and header [B]
LIMIT_BYTES = 2_000_000_000
_SAY_EVERY_S = 10.0
Log = Callable[[str], None]
Build = Callable[[], tuple[bytes, Mapping[str, Any]]]


@dataclass(frozen=True)
class Entry:
    """One engine of the cache. `facts` holds what its builder measured, `used` is [s] of 1970."""

    key: EngineKey
    facts: Mapping[str, Any]
    path: Path
    size: int  # of the file [B]
    used: float
    plan: bytes = b""  # empty where only the header was read


class _Unusable(Exception):
    """Why a file is no entry of ours."""


class EngineCache:
    """Looks up, builds under a lock, keeps within a size. One instance a thread."""

    def __init__(
        self,
        folder: Path | None = None,
        limit_bytes: int = LIMIT_BYTES,
        log: Log = lambda _line: None,
    ) -> None:
        """`folder` None: `default_folder()`.

        Raises:
            Refusal: the folder is not this user's alone.
        """
        given = default_folder() if folder is None else folder.expanduser().absolute()
        self._folder = PrivateFolder(given)
        self._limit = limit_bytes
        self._log = log

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    def close(self) -> None:
        """Give the folder back; nothing may follow."""
        self._folder.close()

    def __enter__(self) -> EngineCache:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def load(self, key: EngineKey) -> Entry | None:
        """The engine of these ingredients; None where there is none, or none that is whole."""
        name = key.digest() + SUFFIX
        try:
            entry = self._read(name)
            if entry.key != key:
                raise _Unusable("it is another engine's, under this one's name")
        except FileNotFoundError:
            return None
        except (_Unusable, OSError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            # Not removed: without the lock, it might be a new one by now. A build replaces it.
            self._log(f"{self.path / name}: not used: {why}; the engine has to be built again")
            return None
        self._folder.touch(name)  # what was used last goes last
        return entry

    def build(
        self,
        key: EngineKey,
        build: Callable[[], tuple[bytes, Mapping[str, Any]]],
        anew: bool = False,
    ) -> Entry:
        """The engine of these ingredients, built if need be: by one process at a time.

        `build` gives the engine and what to remember of the build (JSON). `anew`: build in any
        case.

        Raises:
            Refusal: `build` refused, or the engine cannot be stored.
        """
        with self._folder.locked(self._say_waiting):
            self._sweep()
            entry = None if anew else self.load(key)
            if entry is not None:
                return entry
            begun = time.monotonic()
            plan, facts = build()
            known = {"built": time.time(), "seconds": time.monotonic() - begun, **facts}
            return self._store(key, plan, known)

    def _store(self, key: EngineKey, plan: bytes, facts: Mapping[str, Any]) -> Entry:
        name = key.digest() + SUFFIX
        header = json.dumps({"key": json.loads(key.as_json()), "facts": facts}).encode() + b"\n"
        digest = hashlib.sha256(header)
        digest.update(plan)
        head = MAGIC + digest.hexdigest().encode() + b"\n" + header
        try:
            self._folder.write(name, head, plan)
        except OSError as error:
            megabytes = (len(head) + len(plan)) / 1e6
            expected = f"room to store an engine of {megabytes:.1f} MB"
            raise self._folder.refusal(expected, error) from error
        self._trim(name)
        return Entry(key, facts, self.path / name, len(head) + len(plan), time.time(), plan)

    def entries(self) -> list[Entry]:
        """Every engine, the one used last first; engines themselves are not read."""
        found = []
        for name in self._folder.names():
            if name.endswith(SUFFIX):
                try:
                    found.append(self._read(name, header_only=True))
                except FileNotFoundError:
                    continue
                except (_Unusable, OSError) as error:
                    why = reason(error) if isinstance(error, OSError) else str(error)
                    self._log(f"{self.path / name}: no engine of this cache: {why}")
        return sorted(found, key=lambda entry: -entry.used)

    def clean(self, unused_for_s: float = 0.0) -> list[str]:
        """Remove what was not used for so long, and what is no engine; names of what went."""
        begun, gone = time.time(), []
        with self._folder.locked(self._say_waiting):
            gone += self._sweep()
            kept = {entry.path.name for entry in self.entries()
                    if unused_for_s and entry.used > begun - unused_for_s}  # fmt: skip
            for name in self._folder.names():
                if name.endswith(SUFFIX) and name not in kept and self._folder.remove(name):
                    gone.append(name)
        return gone

    def _read(self, name: str, header_only: bool = False) -> Entry:
        with self._folder.opened(name) as (file, found):
            head = file.read(_LONGEST_HEAD)
            if not head.startswith(MAGIC):
                raise _Unusable("it does not begin as an engine of this cache does")
            digest, _, rest = head[len(MAGIC) :].partition(b"\n")
            header, end, _ = rest.partition(b"\n")
            if not end:
                raise _Unusable("it ends too early")
            plan = b""
            if not header_only:
                # In one piece, without a copy and without the GIL: a reload reads beside the loop.
                file.seek(len(MAGIC) + len(digest) + 1 + len(header) + 1)
                plan = file.readall()
                found_digest = hashlib.sha256(header + end)
                found_digest.update(plan)
                if found_digest.hexdigest().encode() != digest:
                    raise _Unusable("its content is not what was written (sha256 differs)")
        try:
            stored = json.loads(header)
            key, facts = EngineKey.from_json(stored["key"]), dict(stored["facts"])
        except (ValueError, TypeError, KeyError) as error:
            raise _Unusable("its header cannot be read") from error
        return Entry(key, facts, self.path / name, found.st_size, found.st_mtime, plan)

    def _sweep(self) -> list[str]:
        """Remove what a killed builder left; the lock is ours, so nobody is writing."""
        left = [name for name in self._folder.names() if name.endswith(".tmp")]
        return [name for name in left if self._folder.remove(name)]

    def _trim(self, newest: str) -> None:
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        for entry in reversed(entries):
            if total <= self._limit:
                return
            if entry.path.name != newest and self._folder.remove(entry.path.name):
                total -= entry.size
                self._log(f"{entry.path}: removed, since the cache is above its limit")

    def _say_waiting(self, waited_s: float) -> None:
        if waited_s % _SAY_EVERY_S < 0.1:
            self._log(f"{self.path}: another process builds an engine; waiting ({waited_s:.0f} s)")
