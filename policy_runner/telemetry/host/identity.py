"""Identity of the machine: model, serial number or host name, Jetson module, uptime."""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy_runner.telemetry.host_files import HostFiles, Reading

_DEVICE_TREE = "proc/device-tree"
_DMI = "sys/class/dmi/id"
# Placeholder names that mainboard makers leave in the DMI tables.
_EMPTY_DMI = {
    "",
    "none",
    "default string",
    "to be filled by o.e.m.",
    "system product name",
}


@dataclass(frozen=True)
class Identity:
    """Facts that do not change while the machine runs. Unknown texts are empty."""

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
    """Read the identity; a missing source leaves its text empty."""
    model = files.text_or(f"{_DEVICE_TREE}/model") or _dmi_model(files)
    compatible = files.text_or(f"{_DEVICE_TREE}/compatible").split("\0")
    return Identity(
        model=model or _processor(files),
        serial=files.text_or(f"{_DEVICE_TREE}/serial-number"),
        host=files.text_or("proc/sys/kernel/hostname"),
        compatible=tuple(name for name in compatible if name),
    )


def uptime(files: HostFiles) -> Reading:
    """Return the time since boot [s]."""
    return files.number("proc/uptime")


def _dmi_model(files: HostFiles) -> str:
    parts = [files.text_or(f"{_DMI}/{name}") for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part.lower() not in _EMPTY_DMI)


def _processor(files: HostFiles) -> str:
    """Name of the processor, for machines without a model in device tree or DMI (virtual ones)."""
    found = re.search(r"^model name\s*:\s*(.+)$", files.text_or("proc/cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else ""


XAVIER, ORIN, THOR, OLDER = "Xavier", "Orin", "Thor", "older Jetson"
# Matched by prefix, because JetPack 5 device trees also have tegra23x.
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
    """Facts of a Jetson. Unknown texts are empty; `family` is empty on other machines."""

    family: str = ""
    module: str = ""
    l4t: str = ""
    jetpack: str = ""


def read_jetson(files: HostFiles, identity: Identity) -> Jetson:
    """Identify the board. In a container the release file may be missing, not the device tree."""
    release = files.text_or("etc/nv_tegra_release")
    l4t = l4t_version(release)
    family = next(
        (name for prefix, name in _FAMILIES for c in identity.compatible if c.startswith(prefix)),
        "",
    )
    if not family and (release or "NVIDIA" in identity.model):
        # Without a device tree, for example in an old container, only the model's text is left.
        family = next((name for name in (THOR, ORIN, XAVIER) if name in identity.model), "")
        family = family or (OLDER if release else "")
    return Jetson(family, _module(identity.compatible), l4t, jetpack(l4t))


def l4t_version(release: str) -> str:
    """Return the L4T version, for example `36.4.3`; '' if unknown.

    Args:
        release: content of /etc/nv_tegra_release; only its first line is read. BOARD in it is
            always generic.
    """
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release.split("\n", 1)[0])
    return f"{found[1]}.{found[2]}" if found else ""


def jetpack(l4t: str) -> str:
    """Return the JetPack version of an L4T version; only its major number if it is not listed."""
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
