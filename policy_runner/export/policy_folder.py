"""Writes a policy folder as a whole or not at all: next to the target, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse

MOST_IN_ONE_FILE = (2 << 30) - (64 << 20)  # protobuf ends at 2 GiB


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


def save_model(model: Any, path: Path, most: int = MOST_IN_ONE_FILE) -> None:
    """Write an onnx.ModelProto: one file, or with `path`.data where it is larger than `most`.

    The same model gives the same bytes.
    """
    import onnx

    size = sum(len(one.raw_data) for one in model.graph.initializer)
    if size <= most:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    data = f"{path.name}.data"
    onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=1024)


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
