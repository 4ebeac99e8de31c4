"""A folder that only this user can write to: its content may be executed.

A serialized engine is executable code. So a folder is refused if another user could have replaced
it or one of its parents. All files are opened through one descriptor of the folder, and links are
not followed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from policy_runner.core.errors import Refusal, refuse

_WAIT_S = 0.1


class PrivateFolder:
    """Files that only this user can access, in a folder of mode 0700."""

    def __init__(self, path: Path) -> None:
        """Open the folder, or make it if it is missing; check it and its parents.

        Args:
            path: absolute path of the folder.

        Raises:
            Refusal: the folder cannot be made, belongs to another user, or others can access it.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = path.parent.resolve() / path.name
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self.path, flags)
        except OSError as error:
            remedy = "give another folder (parameter engines.folder)"
            expected = "a folder that can be made, and is not a link"
            raise refuse(str(path), "", expected, reason(error), remedy) from error
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        here, user = os.fstat(self._fd), os.geteuid()
        where = str(self.path)
        if here.st_uid != user:
            expected, got = f"a folder of user {user}, who runs this", f"user {here.st_uid}'s"
            raise refuse(where, "", expected, got, "give another (parameter engines.folder)")
        if here.st_mode & 0o077:
            expected = "mode 0700: engines are executable code, and hold the model's weights"
            got = f"{stat.S_IMODE(here.st_mode):04o}"
            raise refuse(
                where, "", expected, got, f"check the files in it, then `chmod 700 {where}`"
            )
        # Root can access everything anyway. In a container, / may belong to a user of the host.
        trusted = {0, user, os.stat("/").st_uid}
        groups = {0, os.getegid()}  # many systems give each user a group of its own
        for parent in self.path.parents:
            found = os.stat(parent)
            if found.st_uid not in trusted:
                got = f"a parent folder {parent} of user {found.st_uid}, who could exchange it"
                raise refuse(where, "", f"parents of user {user} or root", got)
            if found.st_mode & stat.S_ISVTX:
                continue  # sticky bit: users cannot replace other users' files there
            got = ""
            if found.st_mode & stat.S_IWOTH:
                got = f"a parent folder {parent} that all users may write to"
            elif found.st_mode & stat.S_IWGRP and found.st_gid not in groups:
                got = f"a parent folder {parent} that group {found.st_gid} may write to"
            if got:
                expected = "parents that others cannot write to"
                raise refuse(where, "", expected, got, "give another (parameter engines.folder)")

    def close(self) -> None:
        """Close the folder's descriptor; no other method may be called after it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def names(self) -> list[str]:
        """Names of its files and folders, sorted."""
        return sorted(os.listdir(self._fd))

    def read(self, name: str, most: int = -1) -> tuple[bytes, os.stat_result]:
        """Read the first `most` bytes of a file (-1: all), and its status; see `opened`."""
        with self.opened(name) as (file, found):
            return file.read(most), found

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[tuple[io.FileIO, os.stat_result]]:
        """Open a file for reading; yields it with its status.

        Raises:
            FileNotFoundError: no such file.
            PermissionError: not a plain file of this user, or other users can write to it.
        """
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                         dir_fd=self._fd)  # fmt: skip
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise PermissionError("a link") from error
            raise
        with open(fd, "rb", buffering=0) as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise PermissionError("no plain file")
            if found.st_uid != os.geteuid():
                raise PermissionError(f"a file of user {found.st_uid}")
            if found.st_mode & 0o022:
                mode = stat.S_IMODE(found.st_mode)
                raise PermissionError(f"a file that others may write to (mode {mode:04o})")
            yield file, found

    def write(self, name: str, *parts: bytes) -> None:
        """Write a file atomically; replaces an existing file of that name.

        Args:
            name: of the file.
            parts: its content, in this order.

        Raises:
            OSError: for example a full disk; no partial file is left.
        """
        temporary = f".{name}.{os.getpid()}.tmp"
        with contextlib.suppress(FileNotFoundError):  # left by a killed process with our pid
            os.unlink(temporary, dir_fd=self._fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=self._fd)
        try:
            with open(fd, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(fd)  # else a power cut could leave an empty file under the new name
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)
        except BaseException:
            self.remove(temporary)
            raise

    def remove(self, name: str) -> bool:
        """Remove a file; returns True if it does not exist afterwards."""
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def touch(self, name: str) -> None:
        """Set the file's time to now."""
        with contextlib.suppress(OSError):
            os.utime(name, dir_fd=self._fd, follow_symlinks=False)

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[float], None] = lambda _s: None) -> Iterator[None]:
        """Hold the folder's lock; the system releases it when the holding process ends.

        Args:
            waiting: called ten times a second while waiting, with the time waited so far [s].

        Raises:
            Refusal: the lock file cannot be made, for example on a full disk.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open("lock", flags, 0o600, dir_fd=self._fd)
        except OSError as error:
            raise self.refusal("a lock in the folder", error) from error
        begun = time.monotonic()
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting(time.monotonic() - begun)
                    time.sleep(_WAIT_S)
            yield
        finally:
            os.close(fd)

    def refusal(self, expected: str, error: OSError) -> Refusal:
        """Return the refusal for an error of the system.

        Args:
            expected: what could not be done, for the message.
            error: the system's error.
        """
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free some room, or give another folder (parameter engines.folder)" if full else ""
        return refuse(str(self.path), "", expected, reason(error), remedy)


def reason(error: OSError) -> str:
    """Return the system's error text, without its number."""
    return error.strerror or str(error)


def default_folder() -> Path:
    """Return XDG_CACHE_HOME/policy_runner/engines; ~/.cache if it is unset or relative (XDG).

    Raises:
        Refusal: neither exists, for example for a service user without a home folder.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    except RuntimeError as error:
        remedy = "set XDG_CACHE_HOME, or the parameter engines.folder"
        raise refuse("", "engines.folder", "a home folder", str(error), remedy) from error
    return base / "policy_runner" / "engines"
