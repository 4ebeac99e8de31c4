"""Find leftovers of a test session: processes, and shared memory of the middleware.

Our processes have a mark in their environment, which grandchildren inherit. A worker of a session
has its own mark, which begins with the session's mark. A segment in /dev/shm is ours if one of our
processes was seen to map it, or if it is a port of our domain. Segments of other programs on the
same machine are ignored.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path

MARK = "POLICY_RUNNER_TEST_SESSION"
SHM = Path("/dev/shm")
PORTS_PER_DOMAIN = 250  # DDSI-RTPS 2.5, 9.6.2.3: port = 7400 + 250 * domain + offset
# Fast DDS 2 (Jazzy) names its segments fastrtps_*, Fast DDS 3 (Kilted) fastdds_*.
_FAMILIES = ("fastrtps", "fastdds")
_SEGMENT = re.compile(rf"/dev/shm/((?:{'|'.join(_FAMILIES)})_\w+)")
_seen: dict[str, set[int]] = {}
_killed: set[int] = set()


def mark_session() -> None:
    """Mark all processes that are started from now on, for this session or this worker."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    os.environ[MARK] = f"{os.environ[MARK]}.{worker}" if worker else uuid.uuid4().hex


def our_processes() -> dict[int, str]:
    """Pid and command line of every living process with our mark, except this one.

    For a worker these are only its own processes. For the session they include its workers and the
    workers' processes.
    """
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            values = (folder / "environ").read_bytes().split(b"\0")
            ours = any(value == mark or value.startswith(mark + b".") for value in values)
            if pid != os.getpid() and ours:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[pid] = words.decode("utf-8", "replace").strip()
    return found


def segments(pid: int | str) -> set[str]:
    """Names of the middleware's segments that a process maps; none if it cannot be read."""
    try:
        return set(_SEGMENT.findall(Path(f"/proc/{pid}/maps").read_text()))
    except OSError:
        return set()


def note_segments(pid: int) -> None:
    """Remember the segments that our process maps now; after its end they are not known."""
    for name in segments(pid):
        _seen.setdefault(name, set()).add(pid)


def note_all_segments() -> None:
    """Remember the segments that this process and all its descendants map now."""
    for pid in (os.getpid(), *our_processes()):
        note_segments(pid)


def remove_segments_of(pid: int) -> None:
    """Remove the segments of a killed process, if no living process maps them.

    A peer may still map a segment, to send to the killed process. Such a segment is tried again
    when the session ends.
    """
    _killed.add(pid)
    alive = _mapped_by_the_living()
    for name in [name for name, pids in _seen.items() if pid in pids]:
        if name not in alive:
            for path in _files(name):
                path.unlink(missing_ok=True)


def left_segments(domain: int, before: set[str]) -> list[str]:
    """Files of our segments that still exist, that no living process maps and that are new."""
    for pid in set(_killed):
        remove_segments_of(pid)
    first = 7400 + PORTS_PER_DOMAIN * domain
    ports = {
        f"{family}_port{port}"
        for family in _FAMILIES
        for port in range(first, first + PORTS_PER_DOMAIN)
    }
    # All domains share the ports below 7400, so a killed foreign program may have left one of them.
    ours = {name for name in _seen if "_port" not in name}
    names = (ours | ports) - _mapped_by_the_living()
    return sorted(path.name for name in names for path in _files(name) if path.name not in before)


def all_files() -> set[str]:
    """Names of all files of the middleware in /dev/shm."""
    if not SHM.is_dir():
        return set()
    return {path.name for family in _FAMILIES for path in SHM.glob(f"*{family}_*")}


def _files(name: str) -> list[Path]:
    candidates = (SHM / name, SHM / f"{name}_el", SHM / f"sem.{name}_mutex")
    return [path for path in candidates if path.exists()]


def _mapped_by_the_living() -> set[str]:
    return set().union(*(segments(folder.name) for folder in Path("/proc").glob("[0-9]*")))
