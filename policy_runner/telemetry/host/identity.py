"""Which machine this is: model, serial or host name, uptime."""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy_runner.telemetry.host_files import HostFiles, Reading

_DEVICE_TREE = "proc/device-tree"
_DMI = "sys/class/dmi/id"
# Names that mainboard makers leave in the DMI tables.
_EMPTY_DMI = {
    "",
    "none",
    "default string",
    "to be filled by o.e.m.",
    "system product name",
}


@dataclass(frozen=True)
class Identity:
    """What does not change while the machine runs. Unknown texts are empty."""

    model: str
    serial: str
    host: str
    compatible: tuple[str, ...]

    @property
    def hardware_id(self) -> str:
        """Unique string of the machine for `DiagnosticStatus.hardware_id`.

        The model is the same on every board of a kind, and copied images share their host name.
        """
        return " ".join(word for word in (self.host, self.model, self.serial) if word)


def read_identity(files: HostFiles) -> Identity:
    """Read the identity once; every missing source leaves its text empty."""
    model = files.text_or(f"{_DEVICE_TREE}/model") or _dmi_model(files)
    compatible = files.text_or(f"{_DEVICE_TREE}/compatible").split("\0")
    return Identity(
        model=model or _processor(files),
        serial=files.text_or(f"{_DEVICE_TREE}/serial-number"),
        host=files.text_or("proc/sys/kernel/hostname"),
        compatible=tuple(name for name in compatible if name),
    )


def uptime(files: HostFiles) -> Reading:
    """Seconds since boot."""
    return files.number("proc/uptime")


def _dmi_model(files: HostFiles) -> str:
    parts = [files.text_or(f"{_DMI}/{name}") for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part.lower() not in _EMPTY_DMI)


def _processor(files: HostFiles) -> str:
    """Name of the processor, where neither device tree nor DMI tell a model (virtual machines)."""
    found = re.search(r"^model name\s*:\s*(.+)$", files.text_or("proc/cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else ""


XAVIER, ORIN, THOR, OLDER = "Xavier", "Orin", "Thor", "older Jetson"
# By prefix: JetPack 5 device trees also say tegra23x.
_FAMILIES = (
    ("nvidia,tegra19", XAVIER),
    ("nvidia,tegra23", ORIN),
    ("nvidia,tegra26", THOR),
    ("nvidia,tegra", OLDER),
)
_MODULES = {
    "p3834-0008": "AGX Thor T5000",
    "p3701-0000": "AGX Orin",
    "p3701-0004": "AGX Orin 32GB",
    "p3701-0005": "AGX Orin 64GB",
    "p3701-0008": "AGX Orin Industrial",
    "p3767-0000": "Orin NX 16GB",
    "p3767-0001": "Orin NX 8GB",
    "p3767-0003": "Orin Nano 8GB",
    "p3767-0004": "Orin Nano 4GB",
    "p3767-0005": "Orin Nano 8GB",
}
_BOARDS = {"p3668": "Xavier NX", "p2888": "AGX Xavier", "p3448": "Nano"}
_JETPACKS = {
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.5": "5.1.7",
    "36.2.0": "6.0 DP",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "36.5.2": "6.2.3",
    "38.4.0": "7.1",
    "39.0.0": "7.2 EA",
    "39.2.0": "7.2",
    "39.2.1": "7.2.1",
    "39.2.2": "7.2.2",
}
_MAJORS = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7", "39": "7"}


@dataclass(frozen=True)
class Jetson:
    """Texts are empty where the board does not tell; `family` is empty on other machines."""

    family: str = ""
    module: str = ""
    l4t: str = ""
    jetpack: str = ""


def read_jetson(files: HostFiles, identity: Identity) -> Jetson:
    """Identify the board. A container may lack the release file; it has the device tree."""
    release = files.text_or("etc/nv_tegra_release")
    l4t = l4t_version(release)
    family = next(
        (name for prefix, name in _FAMILIES for c in identity.compatible if c.startswith(prefix)),
        "",
    )
    if not family and (release or "NVIDIA" in identity.model):
        # A bare listing or an old container: the model's words are all there is.
        family = next((name for name in (THOR, ORIN, XAVIER) if name in identity.model), "")
        family = family or (OLDER if release else "")
    return Jetson(family, _module(identity.compatible), l4t, jetpack(l4t))


def l4t_version(release: str) -> str:
    """`36.4.3` from the first line of /etc/nv_tegra_release; BOARD there is always generic."""
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release.split("\n", 1)[0])
    return f"{found[1]}.{found[2]}" if found else ""


def jetpack(l4t: str) -> str:
    """JetPack of an L4T version; only its major number where the exact one is not known."""
    if not l4t:
        return ""
    parts = (l4t.split(".") + ["0", "0"])[:3]
    if parts[:2] == ["38", "2"]:
        return "7.0"
    return _JETPACKS.get(".".join(parts), _MAJORS.get(parts[0], ""))


def _module(compatible: tuple[str, ...]) -> str:
    numbers = [number for name in compatible for number in re.findall(r"p\d{4}-\d{4}", name)]
    for number in numbers:
        if number in _MODULES:
            return _MODULES[number]
        if number[:5] in _BOARDS:
            return _BOARDS[number[:5]]
    return ""
