"""Which machine this is: model, serial or host name, uptime."""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy_runner.telemetry.host_files import Reading, Tree

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
        """Unique string of the machine for `DiagnosticStatus.hardware_id`."""
        return " ".join(word for word in (self.model, self.serial or self.host) if word)


def read_identity(tree: Tree) -> Identity:
    """Read the identity once; every missing source leaves its text empty."""
    model = tree.text_or(f"{_DEVICE_TREE}/model") or _dmi_model(tree)
    compatible = tree.text_or(f"{_DEVICE_TREE}/compatible").split("\0")
    return Identity(
        model=model or _processor(tree),
        serial=tree.text_or(f"{_DEVICE_TREE}/serial-number"),
        host=tree.text_or("proc/sys/kernel/hostname"),
        compatible=tuple(name for name in compatible if name),
    )


def uptime(tree: Tree) -> Reading:
    """Seconds since boot."""
    return tree.number("proc/uptime")


def _dmi_model(tree: Tree) -> str:
    parts = [tree.text_or(f"{_DMI}/{name}") for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part.lower() not in _EMPTY_DMI)


def _processor(tree: Tree) -> str:
    """Name of the processor, where neither device tree nor DMI tell a model (virtual machines)."""
    found = re.search(r"^model name\s*:\s*(.+)$", tree.text_or("proc/cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else ""
