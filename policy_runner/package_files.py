"""Find the shared files that are not Python: models, configurations, launch files.

The files must match the running code, so the search starts in the code's own tree. The order:

1. the source tree, because an editable install copies no data files;
2. the prefix that this module was installed into (colcon, merged or isolated, and pip);
3. the ROS overlays;
4. the interpreter's own prefix.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "policy_runner"


def share_path(*parts: str) -> Path:
    """Absolute path of one shared file or folder, such as `share_path("models", "balancer")`.

    Args:
        parts: folder and file names below the share folder.

    Raises:
        FileNotFoundError: no installation is found, or it lacks the file. The message is one
            sentence.
    """
    folders = list(_candidates())
    root = next((folder for folder in folders if (folder / "package.xml").is_file()), None)
    if root is None:
        places = ", ".join(str(folder) for folder in folders)
        raise FileNotFoundError(
            f"the shared files of {PACKAGE} are missing: expected package.xml in one of {places}; "
            "install the package again or source its workspace"
        )
    path = root.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file in the shared files of {PACKAGE} at {root}; "
            "check the name, or install the package again"
        )
    return path


def _candidates() -> Iterator[Path]:
    module = Path(__file__).resolve()
    source = module.parents[1]
    if (source / "setup.py").is_file():
        yield source
    for prefix in module.parents[2:6]:  # <prefix>/lib/python3.x/site-packages/policy_runner
        yield prefix / "share" / PACKAGE
    for variable in ("AMENT_PREFIX_PATH", "COLCON_PREFIX_PATH"):
        for prefix_name in filter(None, os.environ.get(variable, "").split(os.pathsep)):
            yield Path(prefix_name) / "share" / PACKAGE
            yield Path(prefix_name) / PACKAGE / "share" / PACKAGE  # isolated colcon workspace
    yield Path(sys.prefix) / "share" / PACKAGE
