"""Cache of the engines built on this machine, in a private folder, found by their key.

An entry is one file: a magic line; the sha256 of everything after it; one line of JSON with the
key and facts of the build; the engine. An invalid file is reported and its engine is built again:
for example a truncated file, a file of another user, or a renamed one.
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
    """One engine of the cache."""

    key: EngineKey
    facts: Mapping[str, Any]  # measured by the builder
    path: Path
    size: int  # of the file [B]
    used: float  # time of the last use [s since 1970]
    plan: bytes = b""  # the engine; empty if only the header was read


class _Unusable(Exception):
    """A file that is not a valid entry, and why."""


class EngineCache:
    """Finds engines, builds them under a lock, limits the cache's size. One instance a thread."""

    def __init__(
        self,
        folder: Path | None = None,
        limit_bytes: int = LIMIT_BYTES,
        log: Log = lambda _line: None,
    ) -> None:
        """Open the cache.

        Args:
            folder: None means `default_folder()`.
            limit_bytes: size above which engines are removed, the longest unused first.
            log: gets one line at a time.

        Raises:
            Refusal: other users can access the folder.
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
        """Close the folder; no other method may be called after it."""
        self._folder.close()

    def __enter__(self) -> EngineCache:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def load(self, key: EngineKey) -> Entry | None:
        """Return the engine of a key; None if there is no valid one."""
        name = key.digest() + SUFFIX
        try:
            entry = self._read(name)
            if entry.key != key:
                raise _Unusable("it holds another engine than its name says")
        except FileNotFoundError:
            return None
        except (_Unusable, OSError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            # Do not remove it: without the lock, it may be a new file by now. A build replaces it.
            self._log(f"{self.path / name}: not used: {why}; the engine has to be built again")
            return None
        self._folder.touch(name)  # `_trim` removes the longest unused engine first
        return entry

    def build(
        self,
        key: EngineKey,
        build: Callable[[], tuple[bytes, Mapping[str, Any]]],
        rebuild: bool = False,
    ) -> Entry:
        """Return the engine of a key; builds it if it is missing, in one process at a time.

        Args:
            key: of the engine.
            build: returns the engine and facts of the build to store (JSON).
            rebuild: build even if the engine is in the cache.

        Raises:
            Refusal: `build` refused, or the engine cannot be stored.
        """
        with self._folder.locked(self._say_waiting):
            self._sweep()
            entry = None if rebuild else self.load(key)
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
        """Return every entry without its engine, the last used one first."""
        found = []
        for name in self._folder.names():
            if name.endswith(SUFFIX):
                try:
                    found.append(self._read(name, header_only=True))
                except FileNotFoundError:
                    continue
                except (_Unusable, OSError) as error:
                    why = reason(error) if isinstance(error, OSError) else str(error)
                    self._log(f"{self.path / name}: not an engine of this cache: {why}")
        return sorted(found, key=lambda entry: -entry.used)

    def clean(self, unused_for_s: float = 0.0) -> list[str]:
        """Remove unused engines and invalid files.

        Args:
            unused_for_s: keep engines that were used in this time [s]; 0 removes all.

        Returns:
            Names of the removed files.
        """
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
                raise _Unusable("it does not begin like an engine of this cache")
            digest, _, rest = head[len(MAGIC) :].partition(b"\n")
            header, end, _ = rest.partition(b"\n")
            if not end:
                raise _Unusable("it ends too early")
            plan = b""
            if not header_only:
                # Read at once, without a copy and without the GIL: the control loop may be running.
                file.seek(len(MAGIC) + len(digest) + 1 + len(header) + 1)
                plan = file.readall()
                found_digest = hashlib.sha256(header + end)
                found_digest.update(plan)
                if found_digest.hexdigest().encode() != digest:
                    raise _Unusable("its content has changed (sha256 differs)")
        try:
            stored = json.loads(header)
            key, facts = EngineKey.from_json(stored["key"]), dict(stored["facts"])
        except (ValueError, TypeError, KeyError) as error:
            raise _Unusable("its header cannot be read") from error
        return Entry(key, facts, self.path / name, found.st_size, found.st_mtime, plan)

    def _sweep(self) -> list[str]:
        """Remove temporary files of a killed builder; we hold the lock, so no process writes."""
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
