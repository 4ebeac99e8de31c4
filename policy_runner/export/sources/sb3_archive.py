"""Reads an archive of Stable-Baselines3 without running the pickles in it.

The archive keeps spaces, the policy's class and its arguments as pickles, which are programs. Only
spaces, arrays, classes of torch layers and the trainers' own policies are real here; everything
else ends the reading, unless the caller trusts the file.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import Refusal, refuse
from policy_runner.export.sources.module_source import pickle_refusal

MOST_BYTES = 1 << 30  # of one member, unpacked
_SPACES = "gymnasium.spaces."
_POLICIES = ("stable_baselines3.", "sb3_contrib.")
_LAYERS = ("torch.nn.modules.", "torch.optim.")
_PLAIN = {("collections", "OrderedDict"): dict, ("builtins", "set"): set,
          ("builtins", "slice"): slice, ("builtins", "range"): range}  # fmt: skip
_ARRAYS = {("numpy", "dtype"), ("numpy", "ndarray"), ("numpy", "float32"), ("numpy", "int64"),
           ("numpy", "uint8"), ("numpy", "float64"), ("numpy", "bool_")}  # fmt: skip
_ARRAY_FUNCTIONS = {"_reconstruct", "scalar", "_frombuffer"}
# What building the policy needs; the rest of an archive is about training.
NEEDED = ("policy_class", "policy_kwargs", "observation_space", "action_space")


class _Unknown(Exception):
    """A name in a pickle that a policy does not need."""


class _StandIn:
    """In place of numpy's random generators, which a space keeps and a policy never draws from."""

    def __init__(self, *_arguments: object, **_named: object) -> None:
        """Takes what the real one would."""

    def __setstate__(self, _state: object) -> None:
        return None


class _SpacesUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if (module, name) in _ARRAYS:
            return getattr(np, name)
        if module.startswith("numpy.random"):
            return _StandIn
        if module.startswith("numpy") and name in _ARRAY_FUNCTIONS:
            return getattr(importlib.import_module(module), name)
        if module.startswith(_SPACES) or (module == "gymnasium.spaces"):
            return self._class(module, name, "gymnasium.spaces", "Space")
        if f"{module}.".startswith(_LAYERS[0]) or f"{module}.".startswith(_POLICIES):
            return self._class(module, name, "torch.nn", "Module")
        if f"{module}.".startswith(_LAYERS[1]):
            return self._class(module, name, "torch.optim", "Optimizer")
        raise _Unknown(f"{module}.{name}")

    @staticmethod
    def _class(module: str, name: str, base_module: str, base: str) -> Any:
        found = getattr(importlib.import_module(module), name, None)
        wanted = getattr(importlib.import_module(base_module), base)
        if not (isinstance(found, type) and issubclass(found, wanted)):
            raise _Unknown(f"{module}.{name}")
        return found


@dataclass(frozen=True)
class Archive:
    """What an archive says: plain values of `data`, the objects of `NEEDED`, weights, version."""

    data: dict[str, Any]
    policy_class: Any
    policy_kwargs: dict[str, Any]
    observation_space: Any
    action_space: Any
    weights: dict[str, Any]
    version: str


def is_archive(path: Path) -> bool:
    """Whether a file is an archive of Stable-Baselines3."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"data", "policy.pth"} <= set(archive.namelist())


def read_archive(path: Path, trusted: bool = False) -> Archive:
    """Read an archive.

    Args:
        trusted: run pickles that hold code of their own.

    Raises:
        Refusal: a damaged archive, or one that needs code to be run.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            if max(one.file_size for one in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"a member of more than {MOST_BYTES >> 20} MiB")
            data = json.loads(archive.read("data"))
            weights = torch.load(
                io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True
            )
            names = archive.namelist()
            stated = "_stable_baselines3_version"
            version = archive.read(stated).decode("utf-8", "replace") if stated in names else "?"
        found = {name: _value(path, name, data.get(name), trusted) for name in NEEDED}
    except Refusal:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise refuse(str(path), "", "an archive that model.save wrote", text) from error
    for name in ("policy_class", "observation_space", "action_space"):
        if found[name] is None:
            raise refuse(str(path), name, "an object in the archive's data", "none")
    plain = {k: v for k, v in data.items() if not isinstance(v, dict)}
    return Archive(data=plain, weights=weights, version=version.strip(), **found)


def _value(path: Path, name: str, given: Any, trusted: bool) -> Any:
    if not (isinstance(given, dict) and ":serialized:" in given):
        return given
    content = base64.b64decode(given[":serialized:"])
    try:
        found = _SpacesUnpickler(io.BytesIO(content)).load()
        if name.endswith("_space"):
            found.seed(0)  # fresh generators in place of the stand-ins: SB3 samples a space once
        return found
    except (_Unknown, ImportError, AttributeError) as error:
        if not trusted:
            what = f"'{name}' as a pickle that asks for {' '.join(str(error).split())[:120]}"
            raise pickle_refusal(path, what) from error
    import cloudpickle

    return cloudpickle.loads(content)
