"""Read a policy's files completely, with a size limit and an optional sha256 check.

The limits are far above real files (a spec of 20 kB, statistics of some MB) and far below a robot's
memory.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from policy_runner.core.errors import refuse

MIB = 1 << 20
MOST_SPEC = MIB  # PyYAML reads about 100 kB per second
MOST_FOREIGN = 4 * MIB  # a trainer's YAML and JSON
MOST_STORED = 256 * MIB  # statistics, tensors and motions, also after decompression


def read_bounded(path: Path, most: int, what: str, sha256: str | None = None) -> bytes:
    """Read a regular file of at most `most` bytes.

    Args:
        path: the file.
        most: largest size [bytes].
        what: the kind of file, for error messages.
        sha256: expected sha256; None: not checked.

    Raises:
        Refusal: the file is not a regular file, is not readable, is too large, or has another
            sha256.
    """
    if not path.is_file():  # also refuses a pipe or a device, which might never end
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
    """Check the sha256 that the spec states, if it states one.

    Raises:
        Refusal: the content has another sha256.
    """
    if sha256 is None:
        return
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise refuse(str(path), "sha256", sha256, found, "the file is not the one the spec names")


def next_to(spec_path: Path, name: str, key: str) -> Path:
    """The resolved path of a file that the spec names.

    The file must be in the spec's folder, or, if the spec is a link, in the folder of the linked
    file. The second case is an installation made of links (colcon's --symlink-install).

    Args:
        spec_path: the spec file.
        name: path of the file, relative to the spec's folder.
        key: the key in the spec that names the file, for error messages.

    Raises:
        Refusal: the file is outside.
    """
    folder = spec_path.parent
    try:
        path = (folder / name).resolve()
        inside = any(
            path.is_relative_to(place) for place in (folder.resolve(), spec_path.resolve().parent)
        )
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, a loop of links
        raise refuse(str(spec_path), key, "a file inside the spec's folder", str(error)) from error
    if not inside:
        linked = Path(os.path.abspath(folder / name)).is_relative_to(folder.absolute())
        got = f"{name}, a link to {path}" if linked else name
        raise refuse(str(spec_path), key, "a file inside the spec's folder", got)
    return path
