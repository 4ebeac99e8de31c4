"""Reads the numbers of a pickled VecNormalize without running the pickle's code.

A pickle is a program. This file runs as its own process (`python -I this_file PICKLE`), with
limited memory and time. Only numpy's array functions are real in it. Classes of Stable-Baselines3
and gym are stand-ins that do nothing. Any other name in the pickle is refused. It writes an .npz
to stdout: `<key>mean`, `<key>var` (key: '', or 'KEY.' for observations that are a dict), epsilon,
clip_obs.
"""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_BYTES = 4 << 30
LIMIT_SECONDS = 60
# Packages whose objects become `Inert`: only their attributes are read, no code runs.
INERT = ("stable_baselines3.", "gymnasium.", "gym.", "numpy.random.", "shimmy.")
NUMPY_FUNCTIONS = {"_reconstruct", "scalar", "_frombuffer"}
NUMPY_MODULES = {
    *("numpy.core.multiarray", "numpy._core.multiarray"),
    *("numpy.core.numeric", "numpy._core.numeric"),
}
PLAIN = {
    ("collections", "OrderedDict"): dict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "complex"): complex,
    ("builtins", "slice"): slice,
    ("builtins", "range"): range,
}


class Refused(Exception):
    """The pickle asks for something that statistics do not need."""


class Inert:
    """Stand-in for any class: accepts every call, does nothing, keeps the attributes."""

    state: Any = None

    def __init__(self, *_arguments: object, **_named: object) -> None:
        """Accept and ignore the arguments of the real class."""

    def __setstate__(self, state: Any) -> None:
        self.state = state[0] if isinstance(state, tuple) and state else state

    def __setitem__(self, _key: object, _value: object) -> None:
        return None

    def append(self, _item: object) -> None:
        """Ignore the item; pickle calls it for subclasses of list."""

    def extend(self, _items: object) -> None:
        """Ignore the items; pickle calls it for subclasses of list."""

    def __hash__(self) -> int:
        return id(self)

    def __call__(self, *_arguments: object, **_named: object) -> Inert:
        return Inert()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    # Protocol 2 writes bytes as `_codecs.encode(text, "latin1")`; other codecs could run code.
    if encoding != "latin1":
        raise Refused(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")


def _reconstruct(kind: Any, _base: object, _state: object) -> Any:
    """Replace `copyreg._reconstructor`, with which protocols 0 and 1 make objects."""
    if kind is not Inert:
        raise Refused(f"an object of {kind!r}")
    return Inert()


class StatisticsUnpickler(pickle.Unpickler):
    """Unpickler that knows only arrays, plain containers and stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object for a name in the pickle.

        Raises:
            Refused: an unknown name.
        """
        # Protocols 0 to 2 use Python 2's names.
        module = {"copy_reg": "copyreg", "__builtin__": "builtins"}.get(module, module)
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module in NUMPY_MODULES and name in NUMPY_FUNCTIONS:
            return _numpy_function(name)
        if (module, name) == ("_codecs", "encode"):
            return _encode
        if (module, name) == ("copyreg", "_reconstructor"):
            return _reconstruct
        if (module, name) == ("builtins", "object"):
            return object
        if f"{module}.".startswith(INERT):
            return Inert
        raise Refused(f"{module}.{name}")


def _numpy_function(name: str) -> Any:
    import importlib

    for place in ("numpy._core", "numpy.core"):
        for part in ("multiarray", "numeric"):
            try:
                module = importlib.import_module(f"{place}.{part}")
            except ImportError:
                continue
            if hasattr(module, name):
                return getattr(module, name)
    raise Refused(f"numpy {name}")


def statistics(content: bytes) -> dict[str, Any]:
    """Read the arrays of a pickled VecNormalize.

    Args:
        content: of the pickle.

    Returns:
        The arrays by their names in the .npz, float64.

    Raises:
        Refused: the pickle has an unknown name, or is not a VecNormalize.
    """
    loaded = StatisticsUnpickler(io.BytesIO(content)).load()
    state = loaded.state if isinstance(loaded, Inert) else None
    if not isinstance(state, dict) or "obs_rms" not in state:
        raise Refused("no VecNormalize in it (no obs_rms)")
    if not state.get("norm_obs", True):
        raise Refused("norm_obs is false: observations were not normalized")
    rms = state["obs_rms"]
    wanted = state.get("norm_obs_keys")
    parts = rms if isinstance(rms, dict) else {"": rms}
    found: dict[str, Any] = {}
    for key, one in parts.items():
        if wanted and key and key not in wanted:
            continue
        values = one.state if isinstance(one, Inert) else {}
        prefix = f"{key}." if key else ""
        for name in ("mean", "var"):
            if name not in values:
                raise Refused(f"no {name} in obs_rms")
            found[f"{prefix}{name}"] = np.asarray(values[name], dtype=np.float64)
    found["epsilon"] = np.float64(state.get("epsilon", 1e-8))
    found["clip_obs"] = np.float64(state.get("clip_obs", 10.0))
    return found


def _limit() -> None:
    try:
        import resource
    except ImportError:  # this system has no limits; it is still a separate process
        return
    for kind, most in ((resource.RLIMIT_AS, LIMIT_BYTES), (resource.RLIMIT_CPU, LIMIT_SECONDS)):
        resource.setrlimit(kind, (most, most))


def main() -> int:
    """Read one pickle and write an .npz to stdout; a refusal is one line on stderr."""
    _limit()
    try:
        found = statistics(Path(sys.argv[1]).read_bytes())
    except Exception as error:  # noqa: BLE001 - a hostile file may raise anything
        words = " ".join(str(error).split()) or "no text"
        print(f"{type(error).__name__}: {words}"[:500], file=sys.stderr)  # noqa: T201
        return 1
    buffer = io.BytesIO()
    np.savez(buffer, **found)
    sys.stdout.buffer.write(buffer.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
