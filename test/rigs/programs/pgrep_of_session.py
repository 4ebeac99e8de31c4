"""`pgrep -f TEXT` that finds processes of this test session only: others run on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    mark, option, text = sys.argv[1:]
    assert option == "-f"
    ours = f"{mark}={os.environ[mark]}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            marked = ours in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        # Neither this process nor the shell that called it: their command lines have the text, too.
        if marked and text in line and "pgrep" not in line:
            found.append(folder.name)
    print("\n".join(found))  # noqa: T201
    sys.exit(0 if found else 1)
