"""Whether MuJoCo can be imported. The modules next to this one import it without asking."""

from __future__ import annotations

import os
from importlib.util import find_spec

from policy_runner.core.errors import refuse


def need_mujoco(where: str = "simulation") -> None:
    """Refuse a simulation where MuJoCo cannot be imported.

    Args:
        where: the command, for the error.

    Raises:
        Refusal: it is not installed, or the OpenGL that MUJOCO_GL names is not: MuJoCo loads that
            when it is imported.
    """
    if find_spec("mujoco") is None:
        remedy = "pip install 'policy_runner[sim]'"
        raise refuse("", where, "the Python module mujoco", "none", remedy)
    try:
        import mujoco  # noqa: F401
    except Exception as error:  # PyOpenGL raises AttributeError without libosmesa6, for instance
        chosen = os.environ.get("MUJOCO_GL", "")
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        expected = f"the Python module mujoco with MUJOCO_GL={chosen or '(not set)'}"
        remedy = "unset MUJOCO_GL, or install libosmesa6 for MUJOCO_GL=osmesa"
        raise refuse("", where, expected, got, remedy) from error
