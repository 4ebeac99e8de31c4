"""Scheduling: whether the kernel lets the control thread run when it must."""

from __future__ import annotations

import re
from collections.abc import Callable

from policy_runner.telemetry.host.cpu import core_list
from policy_runner.telemetry.host.identity import Jetson
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.preflight.advice import (
    MISSING,
    OK,
    PROBLEM,
    HostAdvice,
    cores_text,
    size_text,
)

_CPU = "sys/devices/system/cpu"
_KERNEL = "proc/sys/kernel"
_USUAL_RT_RUNTIME_US = 950_000  # the kernel's default, of a period of 1 s
_FEWEST_CORES = 4  # below it the other programs need every core
_ENOUGH_RTPRIO = 80  # realtime.priority of the shipped parameters
_ENOUGH_MEMLOCK = 1_000_000_000  # bytes; a runner with TensorRT maps less
_CAP_IPC_LOCK = 1 << 14  # capability bit; the limit does not hold for such a process
_REMEDY_RTPRIO = (
    "a line `USER - rtprio 98` in /etc/security/limits.conf, `LimitRTPRIO=98` in a unit,"
    " `--cap-add SYS_NICE --ulimit rtprio=98` for Docker"
)
_REMEDY_MEMLOCK = (
    "a line `USER - memlock unlimited` in /etc/security/limits.conf, `LimitMEMLOCK=infinity` in a"
    " unit, `--ulimit memlock=-1` for Docker"
)


def preemption(files: HostFiles, jetson: Jetson) -> HostAdvice:
    """Check whether the kernel can be preempted, as its version and command line say."""
    what = "kernel preemption"
    why = "a kernel that cannot be preempted finishes its own work before the tick begins"
    if jetson.family:
        remedy = "apt packages nvidia-l4t-rt-kernel* of repo.download.nvidia.com/jetson/rt-kernel"
    else:
        remedy = "a PREEMPT_RT kernel: `sudo pro enable realtime-kernel` (Ubuntu Pro), "
        remedy += "`sudo apt install linux-image-rt-amd64` (Debian)"
    version = files.text_or("proc/version")
    release = re.search(r"version (\S+)", version)
    name = f" ({release[1]})" if release else ""
    if files.text_or("sys/kernel/realtime") == "1" or "PREEMPT_RT" in version:
        return HostAdvice(what, OK, f"PREEMPT_RT{name}", why)
    if "PREEMPT_DYNAMIC" in version:
        # A kernel with PREEMPT_DYNAMIC takes preempt=none|voluntary|full|lazy at its start.
        chosen = re.search(r"(?:^|\s)preempt=(\w+)", files.text_or("proc/cmdline"))
        mode = chosen[1] if chosen else "the kernel's default"
        if mode in ("none", "voluntary"):
            remedy = f"`preempt=full` in the kernel's command line, or {remedy}"
            return HostAdvice(what, MISSING, f"PREEMPT_DYNAMIC, {mode}{name}", why, remedy)
        text = f"PREEMPT_DYNAMIC, {mode}{name}; not real-time"
        return HostAdvice(what, OK, text, why, f"for the rarest delays: {remedy}")
    if re.search(r"\bPREEMPT\b", version):
        text = f"PREEMPT{name}; not real-time"
        return HostAdvice(what, OK, text, why, f"for the rarest delays: {remedy}")
    text = f"none{name}" if version else "unknown: /proc/version cannot be read"
    return HostAdvice(what, MISSING, text, why, remedy)


def throttling(files: HostFiles) -> HostAdvice:
    """Check which share of the time real-time threads get (`sched_rt_runtime_us`)."""
    what = "real-time throttling"
    why = "the kernel stops real-time threads that use more than this share of a second"
    runtime = files.number(f"{_KERNEL}/sched_rt_runtime_us").value
    period = files.number(f"{_KERNEL}/sched_rt_period_us").value or 1e6
    remedy = f"sudo sysctl -w kernel.sched_rt_runtime_us={_USUAL_RT_RUNTIME_US}"
    group = _group_budget(files)
    if group is not None and group[1] == 0.0:
        where = f"/{group[0]}"
        text = "the control group of this process has no real-time time: SCHED_FIFO is refused"
        remedy = f"echo {_USUAL_RT_RUNTIME_US} | sudo tee {where}; Docker: --cpu-rt-runtime"
        return HostAdvice(what, PROBLEM, text, why, remedy)
    if runtime is None:
        return HostAdvice(what, OK, "none that can be read", why)
    if runtime < 0:
        text = "off: a real-time thread that never sleeps blocks its core for ever"
        return HostAdvice(what, MISSING, text, why, remedy)
    share = runtime / period
    text = f"{100 * share:.0f} % of {period / 1e6:g} s"
    if runtime == 0:
        return HostAdvice(what, PROBLEM, f"{text}: no real-time thread runs", why, remedy)
    level = OK if share >= 0.9 else MISSING
    return HostAdvice(what, level, text, why, "" if level == OK else remedy)


def _group_budget(files: HostFiles) -> tuple[str, float] | None:
    """The file and the budget [us] of this process's control group, where the kernel has one.

    Kernels with CONFIG_RT_GROUP_SCHED refuse SCHED_FIFO in a group without a budget, even to root.
    """
    for line in files.text_or("proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if "cpu" in controllers.split(","):
            for folder in ("cpu", "cpu,cpuacct"):
                file = f"sys/fs/cgroup/{folder}/{path.strip('/')}/cpu.rt_runtime_us"
                file = file.replace("//", "/")
                budget = files.number(file).value
                if budget is not None:
                    return file, budget
    return None


def priority_limit(files: HostFiles, fifo_refusal: Callable[[], str] | None) -> HostAdvice:
    """Check whether this user may take a real-time priority.

    Args:
        files: of the host.
        fifo_refusal: tries SCHED_FIFO and returns why it is refused; empty: it is granted. None:
            the files are of another machine, and only the limit is read.
    """
    what = "real-time priority"
    why = "without it every other program may run instead of the control thread"
    limit = _limit(files, "Max realtime priority")
    at_most = "unknown" if limit is None else f"at most {limit:.0f}"
    if fifo_refusal is not None:
        refusal = fifo_refusal()
        if refusal:
            return HostAdvice(what, MISSING, f"refused: {refusal} ({at_most})", why, _REMEDY_RTPRIO)
        return HostAdvice(what, OK, "granted", why)
    if limit is not None and limit >= _ENOUGH_RTPRIO:
        return HostAdvice(what, OK, at_most, why)
    return HostAdvice(what, MISSING, at_most, why, _REMEDY_RTPRIO)


def memory_limit(files: HostFiles) -> HostAdvice:
    """Check whether this user may lock the memory of a runner."""
    what = "locked memory"
    why = "a page that was moved to disk takes milliseconds to come back (realtime.lock_memory)"
    limit = _limit(files, "Max locked memory")
    capabilities = re.search(
        r"^CapEff:\s*([0-9a-f]+)$", files.text_or("proc/self/status"), re.MULTILINE
    )
    if capabilities and int(capabilities[1], 16) & _CAP_IPC_LOCK:
        return HostAdvice(what, OK, "granted, whatever the limit (CAP_IPC_LOCK)", why)
    if limit is None:
        return HostAdvice(what, MISSING, "unknown", why, _REMEDY_MEMLOCK)
    if limit >= _ENOUGH_MEMLOCK:
        text = "unlimited" if limit == float("inf") else f"at most {size_text(limit)}"
        return HostAdvice(what, OK, text, why)
    return HostAdvice(what, MISSING, f"at most {size_text(limit)}", why, _REMEDY_MEMLOCK)


def _limit(files: HostFiles, name: str) -> float | None:
    """The soft limit of this process, from /proc/self/limits; infinity: unlimited."""
    found = re.search(rf"^{name}\s+(\S+)", files.text_or("proc/self/limits"), re.MULTILINE)
    if found is None:
        return None
    return float("inf") if found[1] == "unlimited" else float(found[1])


def isolated_cores(files: HostFiles) -> HostAdvice:
    """Check whether cores are kept free of other programs (`isolcpus`)."""
    what = "isolated cores"
    why = "other programs on the loop's core delay it, and cool its caches"
    isolated = core_list(files.text_or(f"{_CPU}/isolated"))
    online = core_list(files.text_or(f"{_CPU}/online"))
    if isolated:
        text = f"{cores_text(isolated)} of {len(online)}"
        help_text = f"use them: realtime.cpu_affinity: [{', '.join(map(str, isolated))}]"
        return HostAdvice(what, OK, text, why, help_text)
    if not online:
        return HostAdvice(what, OK, "unknown: the kernel does not list its cores", why)
    if len(online) < _FEWEST_CORES:
        return HostAdvice(what, OK, f"none of {len(online)}: too few to keep one free", why)
    free = online[-2:]
    words = f"isolcpus={cores_text(free)} nohz_full={cores_text(free)}"
    others = [core for core in online if core not in free]
    words += f" irqaffinity={cores_text(others)}"
    remedy = f"`{words}` in the kernel's command line, and realtime.cpu_affinity: "
    remedy += f"[{', '.join(map(str, free))}]"
    return HostAdvice(what, MISSING, f"none of {len(online)}", why, remedy)


def interrupts(files: HostFiles) -> HostAdvice:
    """Check whether interrupts may run on the isolated cores."""
    what = "interrupts"
    why = "an interrupt on the loop's core runs before it, whatever its priority"
    isolated = set(core_list(files.text_or(f"{_CPU}/isolated")))
    on_isolated: list[str] = []
    count = 0
    for folder in files.glob("proc/irq/[0-9]*"):
        text = files.text_or(f"{folder}/effective_affinity_list")
        text = text or files.text_or(f"{folder}/smp_affinity_list")
        cores = core_list(text)
        count += bool(cores)
        if isolated & set(cores):
            on_isolated.append(folder.rsplit("/", 1)[1])
    if not count:
        return HostAdvice(what, OK, "none that can be read", why)
    if not isolated:
        return HostAdvice(what, OK, f"{count} on all cores; no core is isolated", why)
    if not on_isolated:
        return HostAdvice(what, OK, f"{count}, none on the isolated cores", why)
    shown = ", ".join(on_isolated[:8]) + (", ..." if len(on_isolated) > 8 else "")
    text = f"{len(on_isolated)} of {count} on isolated cores: {shown}"
    others = sorted(set(core_list(files.text_or(f"{_CPU}/online"))) - isolated)
    remedy = f"echo {cores_text(others)} | sudo tee /proc/irq/NUMBER/smp_affinity_list, for each; "
    remedy += f"or `irqaffinity={cores_text(others)}` in the kernel's command line"
    return HostAdvice(what, MISSING, text, why, remedy)
