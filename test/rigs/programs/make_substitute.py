"""`make demo ARGS="…"` without making an environment: the command that the Makefile runs."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

if __name__ == "__main__":
    makefile = (Path(__file__).resolve().parents[3] / "Makefile").read_text("utf-8")
    target, *rest = sys.argv[1:]
    recipe = re.search(rf"^{target}:.*\n\t@\$\(BIN\)/(.*) \$\(ARGS\)$", makefile, re.MULTILINE)
    if recipe is None:
        sys.exit(f"no target {target} that runs one command with ARGS")
    words = [word for one in rest for word in shlex.split(one.removeprefix("ARGS="))]
    program, *first = recipe[1].split()
    os.execvp(program, [program, *first, *words])
