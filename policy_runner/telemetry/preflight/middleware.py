"""What the middleware needs of the host: socket buffers and shared memory."""

from __future__ import annotations

import os
import re

from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.preflight.advice import MISSING, OK, HostAdvice, size_text

_NET = "proc/sys/net/core"
# An image of 640 x 480 pixels in colour is 0.9 MB; two of them fit.
_ENOUGH_BUFFER = 2_000_000
_WANTED_BUFFER = 8_388_608
_ENOUGH_SHM = 250_000_000  # bytes; Docker's default is 64 MB
_LEAST_FREE = 0.1  # of /dev/shm
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def socket_buffers(files: HostFiles) -> HostAdvice:
    """Check how much of a burst of UDP packets the kernel keeps for a receiver."""
    what = "socket buffers"
    why = "an image, a scan or a point cloud that does not fit is lost; small messages always fit"
    most = {name: files.number(f"{_NET}/{name}_max").value for name in ("rmem", "wmem")}
    usual = files.number(f"{_NET}/rmem_default").value
    if most["rmem"] is None or most["wmem"] is None:
        # A container has a network namespace of its own, where some kernels hide these.
        return HostAdvice(what, OK, "unknown: the kernel does not show them here", why)
    text = f"receive at most {size_text(most['rmem'])}, send at most {size_text(most['wmem'])}"
    text += f"; receive by default {size_text(usual)}" if usual is not None else ""
    if min(most["rmem"], most["wmem"]) >= _ENOUGH_BUFFER:
        return HostAdvice(what, OK, text, why)
    names = " ".join(f"net.core.{name}_max={_WANTED_BUFFER}" for name in ("rmem", "wmem"))
    return HostAdvice(what, MISSING, text, why, f"sudo sysctl -w {names}")


def shared_memory(files: HostFiles) -> HostAdvice:
    """Check the size and the free part of /dev/shm."""
    what = "shared memory"
    why = "Fast DDS of other nodes exchanges messages there; our own nodes use UDP"
    remedy = "sudo mount -o remount,size=512M /dev/shm; Docker: --shm-size 512m"
    mounts = files.text_or("proc/self/mounts") or files.text_or("proc/mounts")
    found = re.findall(r"^\S+ /dev/shm (\S+) (\S+)", mounts, re.MULTILINE)
    if not found:
        return HostAdvice(what, MISSING, "/dev/shm is not mounted", why, remedy)
    options = found[-1][1].split(",")
    if "ro" in options:
        return HostAdvice(what, MISSING, "/dev/shm is read-only", why, remedy)
    size = _size(files, options)
    if size is None:
        return HostAdvice(what, OK, "/dev/shm of unknown size", why)
    free = _free(files)
    text = f"{size_text(size)}, {size_text(free)} free" if free is not None else size_text(size)
    # Fast DDS 2 (Jazzy) and Fast DDS 3 (Kilted) name them differently.
    left = sum(len(files.glob(f"dev/shm/{family}_*")) for family in ("fastrtps", "fastdds"))
    text += f", {left} files of Fast DDS" if left else ""
    if size < _ENOUGH_SHM:
        return HostAdvice(what, MISSING, text, why, remedy)
    if free is not None and free < _LEAST_FREE * size:
        remedy = (
            "while no node runs: `fastdds shm clean`, or remove /dev/shm/fastrtps_* and fastdds_*"
        )
        return HostAdvice(what, MISSING, f"{text}: nearly full", why, remedy)
    return HostAdvice(what, OK, text, why)


def _size(files: HostFiles, options: list[str]) -> float | None:
    """Size in bytes: what the mount says, else half of the memory, the kernel's default."""
    memory = re.search(r"^MemTotal:\s+(\d+) kB", files.text_or("proc/meminfo"), re.MULTILINE)
    total = float(memory[1]) * 1024 if memory else None
    for option in options:
        found = re.fullmatch(r"size=(\d+)([kmg%]?)", option.lower())
        if found and found[2] == "%":
            return None if total is None else total * int(found[1]) / 100
        if found:
            return float(found[1]) * _UNITS[found[2]]
    return None if total is None else total / 2


def _free(files: HostFiles) -> float | None:
    """Free bytes; None for the files of another machine, where nothing is mounted."""
    path = files.path("dev/shm")
    if not os.path.ismount(path):
        return None
    try:
        figures = os.statvfs(path)
    except OSError:
        return None
    return float(figures.f_bavail * figures.f_frsize)
