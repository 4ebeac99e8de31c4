"""The key of an engine: everything that a built engine depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_NOTHING = object()
# Increase it when this package builds a different engine from the same other fields.
BUILDER = 1
# Options of the tensorrt backend that affect how an engine runs, not how it is built.
RUN_OPTIONS = ("tensorrt.cuda_graph", "tensorrt.cuda_binding", "tensorrt.wait")
# Options of the build and their defaults. A default value is not part of the key, so a command
# that names only the differing options finds the same engine.
BUILD_DEFAULTS: dict[str, Any] = {
    "tensorrt.tf32": False,
    "tensorrt.workspace": 64,  # MiB
    "tensorrt.optimization_level": 3,
}


@dataclass(frozen=True)
class EngineKey:
    """The key of one engine. Shapes are numbers of elements per axis, batch first."""

    model_sha256: str
    data_sha256: tuple[tuple[str, str], ...]  # (weight file, sha256), sorted by name
    tensorrt: str  # version
    gpu: str  # name
    compute: str  # compute capability, for example 8.7
    driver: str  # a new driver may choose other kernels; on Jetson it has another CUDA
    precision: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # of the inputs
    options: tuple[tuple[str, str], ...]  # options of the build that differ from the default
    builder: int = BUILDER

    def digest(self) -> str:
        """Return the hexadecimal sha256 of the key; the engine's name in the cache."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    def as_json(self) -> str:
        """Return the key as one line of JSON; equal keys give equal lines."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> EngineKey:
        """Make a key from the parsed JSON of `as_json`.

        Raises:
            ValueError, TypeError, KeyError: it is not from `as_json`.
        """
        values = dict(given)
        for name in ("data_sha256", "options"):
            values[name] = tuple((str(a), str(b)) for a, b in values[name])
        values["shapes"] = tuple((str(n), tuple(int(d) for d in s)) for n, s in values["shapes"])
        return cls(**values)


def build_options(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the options that are part of the key, sorted by name."""
    return tuple(
        (name, str(value))
        for name, value in sorted(options.items())
        if name.startswith("tensorrt.")
        and name not in RUN_OPTIONS
        and BUILD_DEFAULTS.get(name, _NOTHING) != value
    )
