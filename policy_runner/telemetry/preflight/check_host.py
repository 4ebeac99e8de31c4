"""All checks of a host, in the order in which they help: scheduling, clocks, middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policy_runner.telemetry.host.identity import read_identity, read_jetson
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.preflight.advice import PROBLEM, HostAdvice
from policy_runner.telemetry.preflight.core_speed import (
    clock_locks,
    governor,
    idle_states,
    power_mode,
)
from policy_runner.telemetry.preflight.middleware import shared_memory, socket_buffers
from policy_runner.telemetry.preflight.scheduling import (
    interrupts,
    isolated_cores,
    memory_limit,
    preemption,
    priority_limit,
    throttling,
)


def check_host(files: HostFiles, fifo_refusal: Callable[[], str] | None) -> Iterator[HostAdvice]:
    """Run every check that fits this host; a check that fails is a finding, too.

    Args:
        files: of the host, of a container's view of it, or of a saved board.
        fifo_refusal: tries SCHED_FIFO in this process and returns why it is refused; None: the
            files are not of this machine.
    """
    jetson = read_jetson(files, read_identity(files))
    checks: dict[str, Callable[[], HostAdvice | None]] = {
        "real-time priority": lambda: priority_limit(files, fifo_refusal),
        "real-time throttling": lambda: throttling(files),
        "locked memory": lambda: memory_limit(files),
        "kernel preemption": lambda: preemption(files, jetson),
        "isolated cores": lambda: isolated_cores(files),
        "interrupts": lambda: interrupts(files),
        "governor": lambda: governor(files, jetson),
        "idle states": lambda: idle_states(files),
        "clock locks": lambda: clock_locks(files, jetson),
        "power mode": lambda: power_mode(files, jetson),
        "socket buffers": lambda: socket_buffers(files),
        "shared memory": lambda: shared_memory(files),
    }
    for what, check in checks.items():
        try:
            advice = check()
        except Exception as error:  # noqa: BLE001 - the other checks must still be reported
            text = f"the check failed: {type(error).__name__}: {error}"
            advice = HostAdvice(what, PROBLEM, text, "it is unknown", "please report it")
        if advice is not None:
            yield advice
