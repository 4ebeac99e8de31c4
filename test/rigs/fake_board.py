"""A board made of a few files in a folder, to try and test the sidecar without a real board.

`jetson_diagnostics --ros-args -p root:=FOLDER` reads such a folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from policy_runner.telemetry.host_files import read_bytes

GATED = "!EAGAIN"  # content of a file whose read fails with EAGAIN


def write_board(root: Path, files: Mapping[str, object]) -> Path:
    """Write (or overwrite) files below `root`; text or numbers by relative path."""
    for relative, content in files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        # Replace the file atomically, like sysfs: a reader never sees half a number.
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(f"{content}\n", encoding="utf-8")
        fresh.replace(path)
    return root


def manifest(file: Path) -> dict[str, tuple[str, str]]:
    """Read rows `path<TAB>value<TAB>C|F` of a board's listing: path -> (value, C or F)."""
    rows = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            path, value, origin = line.split("\t")
            rows[path] = (value, origin)
    return rows


def read_gated(path: str) -> bytes:
    """Replace `read_bytes`; really fail with EAGAIN for a file that contains `!EAGAIN`."""
    content = read_bytes(path)
    if content.strip() != GATED.encode():
        return content
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        return os.read(reading, 1)  # an empty pipe with a live writer: BlockingIOError
    finally:
        os.close(reading)
        os.close(writing)
