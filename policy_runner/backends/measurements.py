"""What `bench backends --remember` found here: names and figures, nothing that runs."""

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

    best: str  # a name of auto.CANDIDATES
    p99_us: Mapping[str, float]  # of an inference, by candidate
    rate: float  # Hz, with idle gaps
    date: str
    machine: str

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value:.0f}" for name, value in self.p99_us.items())
        return f"measured on {self.date} at {self.rate:g} Hz, p99 in µs: {figures}"


def best_of(p99_us: Mapping[str, float]) -> str:
    """The fastest; the CPU unless another is a tenth faster."""
    best = min(p99_us, key=lambda name: p99_us[name])
    cpu = p99_us.get("onnxruntime-cpu")
    if cpu is not None and p99_us[best] > GAIN * cpu:
        return "onnxruntime-cpu"
    return best


def machine_name() -> str:
    """What a measurement belongs to: another runtime, another kernel, another measurement."""
    parts = [platform.machine(), platform.release(), platform.node()]
    for package in ("onnxruntime", "onnxruntime-gpu", "tensorrt"):
        try:
            parts.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(parts)


def remember(choice: BackendChoice, sha256: str, found: Measured) -> Path:
    """Keep it for `auto`.

    Raises:
        Refusal: the folder is not this user's alone, or cannot be written to.
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
    """What was measured for this model in this precision on this machine; None if nothing."""
    try:
        folders = _folders(choice)
    except Refusal:  # a user without a home, who may have nothing at all
        return None
    found = (_read(where, _name(choice, sha256)) for where in folders)
    return next((one for one in found if one is not None), None)


def _folders(choice: BackendChoice) -> list[Path]:
    """Where measurements are, the first being where they are written.

    Raises:
        Refusal: nobody gave a folder, and there is no home.
    """
    given = str(choice.option("engines.folder", ""))
    if not given:
        return [default_folder().parent / "measured"]
    own = [Path(given).expanduser().absolute() / "measured"]
    with contextlib.suppress(Refusal):  # `bench backends` knows of no parameters
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
