"""What a built engine depends on: another value of any of these is another engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_NOTHING = object()
# Goes up when this package builds otherwise from the same ingredients.
BUILDER = 1
# Options of the tensorrt backend that say how an engine runs, not how it is built.
RUN_OPTIONS = ("tensorrt.cuda_graph", "tensorrt.cuda_binding", "tensorrt.wait")
# Options of the build and what they are when nobody gives them: a default is no ingredient, so
# that a command that knows only what differs finds the same engine.
BUILD_DEFAULTS: dict[str, Any] = {
    "tensorrt.tf32": False,
    "tensorrt.workspace": 64,  # MiB
    "tensorrt.optimization_level": 3,
}


@dataclass(frozen=True)
class EngineKey:
    """Ingredients of one engine. Sizes are element counts per axis, batch first."""

    model_sha256: str
    data_sha256: tuple[tuple[str, str], ...]  # (file name beside the model, sha256), by name
    tensorrt: str  # version
    gpu: str  # name
    compute: str  # capability, as 8.7
    driver: str  # a new one may choose other kernels, and on Jetson brings another CUDA
    precision: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # of the inputs
    options: tuple[tuple[str, str], ...]  # what else the builder is told, by name
    builder: int = BUILDER

    def digest(self) -> str:
        """Hexadecimal sha256 over all of it; the name of the engine in the cache."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    def as_json(self) -> str:
        """One line, the same for the same ingredients."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> EngineKey:
        """What `as_json` wrote, parsed.

        Raises:
            ValueError, TypeError, KeyError: something else.
        """
        values = dict(given)
        for name in ("data_sha256", "options"):
            values[name] = tuple((str(a), str(b)) for a, b in values[name])
        values["shapes"] = tuple((str(n), tuple(int(d) for d in s)) for n, s in values["shapes"])
        return cls(**values)


def build_options(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Those of a backend's options that are part of the key, by name."""
    return tuple(
        (name, str(value))
        for name, value in sorted(options.items())
        if name.startswith("tensorrt.")
        and name not in RUN_OPTIONS
        and BUILD_DEFAULTS.get(name, _NOTHING) != value
    )
