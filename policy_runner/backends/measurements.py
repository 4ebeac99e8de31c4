"""Stored results of `bench backends --remember`: names and figures, no executable content."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.private_folder import PrivateFolder, default_folder
from policy_runner.core.errors import Refusal

GAIN = 0.9  # a GPU must be a tenth faster than the CPU to be worth its power and its risks
_LIMIT = 100_000  # bytes


@dataclass(frozen=True)
class Measured:
    """One measurement of one model on this machine."""

    best: str  # a key of load.CANDIDATES
    p99_us: Mapping[str, float]  # 99th percentile of an inference [us], by candidate
    rate: float  # of the inferences [Hz], idle in between
    date: str
    machine: str

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value:.0f}" for name, value in self.p99_us.items())
        return f"measured on {self.date} at {self.rate:g} Hz, p99 in µs: {figures}"


def best_of(p99_us: Mapping[str, float]) -> str:
    """Return the fastest candidate; the CPU, unless another is a tenth faster.

    Args:
        p99_us: 99th percentile of an inference [us], by candidate.
    """
    best = min(p99_us, key=lambda name: p99_us[name])
    cpu = p99_us.get("onnxruntime-cpu")
    if cpu is not None and p99_us[best] > GAIN * cpu:
        return "onnxruntime-cpu"
    return best


def machine_name() -> str:
    """Identify the machine of a measurement: CPU type, kernel, host name, runtimes' versions."""
    parts = [platform.machine(), platform.release(), platform.node()]
    for package in ("onnxruntime", "onnxruntime-gpu", "tensorrt"):
        try:
            parts.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(parts)


def remember(choice: BackendChoice, sha256: str, found: Measured) -> Path:
    """Store a measurement for `auto`; returns its file.

    Raises:
        Refusal: other users can access the folder, or it cannot be written to.
    """
    folder = PrivateFolder(_folders(choice)[0])
    try:
        text = json.dumps({**asdict(found), "precision": choice.precision})
        folder.write(_name(choice, sha256), text.encode())
    except OSError as error:
        raise folder.refusal("a folder to remember the measurement in", error) from error
    finally:
        folder.close()
    return folder.path / _name(choice, sha256)


def remembered(choice: BackendChoice, sha256: str) -> Measured | None:
    """Return the measurement of this model, precision and machine; None if there is none."""
    try:
        folders = _folders(choice)
    except Refusal:  # the user has no home folder, so there may be no measurement
        return None
    found = (_read(where, _name(choice, sha256)) for where in folders)
    return next((one for one in found if one is not None), None)


def _folders(choice: BackendChoice) -> list[Path]:
    """Folders of measurements; new ones are written to the first.

    Raises:
        Refusal: `engines.folder` is not set, and there is no home folder.
    """
    given = str(choice.option("engines.folder", ""))
    if not given:
        return [default_folder().parent / "measured"]
    own = [Path(given).expanduser().absolute() / "measured"]
    with contextlib.suppress(Refusal):  # `bench backends` runs without parameters
        own += [default_folder().parent / "measured"]
    return own


def _read(where: Path, file: str) -> Measured | None:
    try:
        if not where.is_dir():
            return None
        folder = PrivateFolder(where)
    except (Refusal, OSError):
        return None
    try:
        content, _ = folder.read(file, _LIMIT)
        given = json.loads(content)
        p99 = {str(name): float(value) for name, value in given["p99_us"].items()}
        found = Measured(
            str(given["best"]), p99, float(given["rate"]), str(given["date"]),
            str(given["machine"]),
        )  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    finally:
        folder.close()
    return found if found.machine == machine_name() else None


def _name(choice: BackendChoice, sha256: str) -> str:
    return f"{sha256}-{choice.precision}.json"
