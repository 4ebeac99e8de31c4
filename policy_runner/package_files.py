"""Where the files that are not Python lie: models, configurations, launch files.

They belong to the code that runs, so its own tree is asked first: the source tree (an editable
install copies no data files), then the prefix that this module was installed into (colcon,
merged or isolated, and pip), then the ROS overlays, then the interpreter's own prefix.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "policy_runner"


def share_path(*parts: str) -> Path:
    """Absolute path of one shared file or folder, such as `share_path("models", "balancer")`.

    Raises FileNotFoundError, in one sentence, when no installation is found or it lacks the file.
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
