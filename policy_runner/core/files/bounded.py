"""Read a policy's files completely, with a size limit and an optional sha256 check.

The limits are far above what is seen (a spec of 20 kB, statistics of some MB) and far below
what fills a robot's memory.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from policy_runner.core.errors import refuse

MIB = 1 << 20
MOST_SPEC = MIB  # PyYAML reads about 100 kB a second
MOST_FOREIGN = 4 * MIB  # a trainer's YAML and JSON
MOST_STORED = 256 * MIB  # statistics, tensors and motions, also after decompression


def read_bounded(path: Path, most: int, what: str, sha256: str | None = None) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        Refusal: no regular file, one that cannot be read, a larger one, or another sha256.
    """
    if not path.is_file():  # nor a pipe or a device, which might never end
        raise refuse(str(path), "", what, "no such file")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise refuse(str(path), "", "a readable file", str(error)) from error
    if len(content) > most:
        got = f"more than {most // MIB} MiB"
        raise refuse(str(path), "", f"{what} of at most {most // MIB} MiB", got)
    check_sha256(path, content, sha256)
    return content


def check_sha256(path: Path, content: bytes, sha256: str | None) -> None:
    """Nothing, where the spec names no sha256 or this one.

    Raises:
        Refusal: it names another.
    """
    if sha256 is None:
        return
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise refuse(str(path), "sha256", sha256, found, "the file is not the one the spec names")


def beside(spec_path: Path, name: str, key: str) -> Path:
    """The path of a file that the spec names, links followed.

    It lies in the spec's folder, or in the folder of the file that the spec is a link to: an
    installation made of links (colcon's --symlink-install) is one folder elsewhere.

    Raises:
        Refusal: it lies outside.
    """
    folder = spec_path.parent
    try:
        path = (folder / name).resolve()
        inside = any(
            path.is_relative_to(place) for place in (folder.resolve(), spec_path.resolve().parent)
        )
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
        raise refuse(str(spec_path), key, "a file inside the spec's folder", str(error)) from error
    if not inside:
        linked = Path(os.path.abspath(folder / name)).is_relative_to(folder.absolute())
        got = f"{name}, a link to {path}" if linked else name
        raise refuse(str(spec_path), key, "a file inside the spec's folder", got)
    return path
