"""Clocks and idle states: how fast a core is, and how fast it is back, when a tick begins."""

from __future__ import annotations

from policy_runner.telemetry.host.cpu import core_list
from policy_runner.telemetry.host.identity import Jetson
from policy_runner.telemetry.host.power_mode import read_power_modes
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.preflight.advice import MISSING, OK, HostAdvice, cores_text

_CPU = "sys/devices/system/cpu"
_DEVFREQ = "sys/class/devfreq"
_GPUS = ("gpu", "gv11b", "ga10b", "gpu-gpc-0")
# A wake-up error of a punctual loop is about this long; deeper idle states dominate it.
LONGEST_WAKE_UP_US = 50
_HOLD = "sudo policy-runner power clocks on"


def governor(files: HostFiles, jetson: Jetson) -> HostAdvice:
    """Check who chooses the clock of the cores (cpufreq)."""
    why = "a clock that follows the load is low when a tick begins after a sleep"
    found: dict[str, list[str]] = {}
    for path in files.glob(f"{_CPU}/cpufreq/policy[0-9]*/scaling_governor"):
        name = files.text_or(path)
        if name:
            found.setdefault(name, []).append(path.split("/")[-2].removeprefix("policy"))
    if not found:
        return HostAdvice("governor", OK, "none: firmware or a hypervisor sets the clocks", why)
    text = ", ".join(f"{name} (cpu {', '.join(cores)})" for name, cores in found.items())
    if set(found) == {"performance"}:
        return HostAdvice("governor", OK, text, why)
    remedy = _HOLD if jetson.family else "sudo cpupower frequency-set --governor performance"
    return HostAdvice("governor", MISSING, text, why, remedy)


def idle_states(files: HostFiles) -> HostAdvice:
    """Check how long the cores need to leave their deepest enabled idle state (cpuidle)."""
    what = "idle states"
    why = "a core in a deep idle state (C-state) begins a tick this much later"
    deepest: tuple[float, str] = (-1.0, "")
    for path in files.glob(f"{_CPU}/cpu[0-9]*/cpuidle/state[0-9]*"):
        latency = files.number(f"{path}/latency").value
        disabled = files.number(f"{path}/disable").value
        if latency is not None and not disabled and latency > deepest[0]:
            deepest = (latency, files.text_or(f"{path}/name", path.rsplit("/", 1)[1]))
    latency, name = deepest
    if latency < 0:
        return HostAdvice(what, OK, "none: firmware or a hypervisor decides", why)
    text = f"deepest enabled: {name}, {latency:.0f} us to wake up"
    if latency < LONGEST_WAKE_UP_US:
        return HostAdvice(what, OK, text, why)
    remedy = (
        f"sudo cpupower idle-set --disable-by-latency {LONGEST_WAKE_UP_US} (until the next start),"
        " or a process that holds /dev/cpu_dma_latency open with the value 0"
    )
    return HostAdvice(what, MISSING, text, why, remedy)


def clock_locks(files: HostFiles, jetson: Jetson) -> HostAdvice | None:
    """Check whether the clocks of a Jetson are held at one value; None on other hosts."""
    if not jetson.family:
        return None
    why = "inference takes longer until the clocks of CPU and GPU have risen"
    ranges = [
        (f"cpu {path.rsplit('policy', 1)[1]}", f"{path}/scaling_min_freq",
         f"{path}/scaling_max_freq", 1e-3)
        for path in files.glob(f"{_CPU}/cpufreq/policy[0-9]*")
    ]  # fmt: skip
    for path in files.glob(f"{_DEVFREQ}/*"):
        if path.rsplit("/", 1)[1].rsplit(".", 1)[-1] in _GPUS:
            ranges.append(("gpu", f"{path}/min_freq", f"{path}/max_freq", 1e-6))
    moving, held = [], []
    for name, low_file, high_file, scale in ranges:
        low, high = (files.number(file, scale).value for file in (low_file, high_file))
        if low is None or high is None:
            continue
        if low < high:
            moving.append(f"{name} from {low:.0f} to {high:.0f} MHz")
        else:
            held.append(f"{name} {high:.0f} MHz")
    if not moving and not held:
        return HostAdvice("clock locks", MISSING, "the clocks cannot be read", why, _HOLD)
    if moving:
        return HostAdvice("clock locks", MISSING, f"not held: {', '.join(moving)}", why, _HOLD)
    return HostAdvice("clock locks", OK, f"held: {', '.join(held)}", why)


def power_mode(files: HostFiles, jetson: Jetson) -> HostAdvice | None:
    """Check whether the power mode of a Jetson limits it; None on other hosts."""
    if not jetson.family:
        return None
    why = "a power mode caps the clocks and switches cores off"
    modes = read_power_modes(files)
    present = core_list(files.text_or(f"{_CPU}/present"))
    online = core_list(files.text_or(f"{_CPU}/online"))
    off = sorted(set(present) - set(online)) if online else []
    remedy = "`policy-runner power list` shows the modes, `sudo policy-runner power set` sets one"
    if modes.current is None:
        reason = modes.reason or "the board's files do not say"
        return HostAdvice("power mode", MISSING, f"unknown: {reason}", why, remedy)
    text = modes.current.name + (f", cores {cores_text(off)} are off" if off else "")
    capped = modes.current.budget is not None or bool(off)
    return HostAdvice("power mode", MISSING if capped else OK, text, why, remedy if capped else "")
