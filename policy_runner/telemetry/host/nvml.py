"""NVML through the optional `nvidia-ml-py`; many calls are not supported on integrated GPUs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from policy_runner.telemetry.host_files import Reading, missing

if TYPE_CHECKING:
    from policy_runner.telemetry.host.gpu import GpuReading

# Bits of the clock event reasons that mean a slowdown for heat, power or current.
_SLOWDOWNS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


def open_nvml() -> Any:
    """The `pynvml` module, initialized, or None where library or driver are missing.

    Call it in the process that reads: NVML does not survive a fork.
    """
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, there is no NVML here
        return None
    return nvml


def read_nvml(nvml: Any) -> GpuReading:
    """One sample of the first GPU; what is not supported is missing, with NVML's own reason."""
    from policy_runner.telemetry.host.gpu import GpuReading

    try:
        device = nvml.nvmlDeviceGetHandleByIndex(0)
    except Exception as error:  # noqa: BLE001 - NVML's error classes differ from version to version
        none = missing(_reason(error))
        return GpuReading("", "NVML", none, none, none, none, "", none, none, none)

    def number(call: Callable[[], Any], scale: float = 1.0) -> Reading:
        try:
            return Reading(float(call()) * scale)
        except Exception as error:  # noqa: BLE001
            return missing(_reason(error))

    def text(call: Callable[[], Any]) -> str:
        try:
            name = call()
        except Exception:  # noqa: BLE001
            return ""
        return name.decode() if isinstance(name, bytes) else str(name)

    sm = getattr(nvml, "NVML_CLOCK_SM", 1)
    return GpuReading(
        name=text(lambda: nvml.nvmlDeviceGetName(device)),
        source="NVML",
        load=number(lambda: nvml.nvmlDeviceGetUtilizationRates(device).gpu),
        clock=number(lambda: nvml.nvmlDeviceGetClockInfo(device, sm)),
        clock_low=missing("not told by NVML"),
        clock_high=number(lambda: nvml.nvmlDeviceGetMaxClockInfo(device, sm)),
        governor="",
        memory_used=number(lambda: nvml.nvmlDeviceGetMemoryInfo(device).used, 1e-6),
        power=number(lambda: nvml.nvmlDeviceGetPowerUsage(device), 1e-3),
        temperature=number(lambda: nvml.nvmlDeviceGetTemperature(device, 0)),
        slowdown=_slowdown(number(lambda: _event_reasons(nvml, device)).value),
    )


def _event_reasons(nvml: Any, device: Any) -> int:
    for name in ("EventReasons", "ThrottleReasons"):  # the older name of the same call
        call = getattr(nvml, f"nvmlDeviceGetCurrentClocks{name}", None)
        if call is not None:
            return int(call(device))
    raise LookupError("no call for the clock event reasons")


def _slowdown(bits: float | None) -> str:
    return ", ".join(words for bit, words in _SLOWDOWNS.items() if int(bits or 0) & bit)


def _reason(error: Exception) -> str:
    """`not supported by NVML` for the usual case, else NVML's words."""
    name = type(error).__name__
    return "not supported by NVML" if "NotSupported" in name else f"NVML: {error or name}"
