"""Writes a policy folder as a whole or not at all: next to the target, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from policy_runner.core.errors import refuse


def check_target(folder: Path, force: bool = False) -> None:
    """Refuse a folder that exists, before anything long begins.

    Raises:
        Refusal: it exists and is not empty, or is a file.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if (folder.exists() or folder.is_symlink()) and not (force and folder.is_dir()):
        got = "a folder with files" if folder.is_dir() else "a file"
        raise refuse(str(folder), "", "no such folder yet", got, "name another, or use --force")


@contextlib.contextmanager
def new_folder(target: Path, force: bool = False) -> Iterator[Path]:
    """A folder to fill; it becomes `target` at the end, and is removed after any error.

    Raises:
        Refusal: the target exists, or the disk refuses, such as a full one.
    """
    check_target(target, force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _disk(target, error) from error
    try:
        partial.chmod(0o755)
        yield partial
        _replace(partial, target)
    except OSError as error:
        raise _disk(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(aside / "old")
    try:
        partial.rename(target)
    except OSError:
        (aside / "old").rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _disk(target: Path, error: OSError) -> Exception:
    text = error.strerror or str(error)
    return refuse(str(target), "", "a folder that can be written", text, "nothing was left there")


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file of a folder, by its name, in order."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
            found[path.relative_to(folder).as_posix()] = digest.hexdigest()
    return found
