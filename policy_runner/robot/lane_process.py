"""The process of a lane: loads the policy as the node does, and infers what it is asked.

    python -m policy_runner.robot.lane_process PARENT ASKED ANSWERED MEMORY < request

The request is a line of JSON. The process answers in lines of JSON on stdout, until it is ready.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from policy_runner.backends.child_process import end_with, leave_realtime, protocol_stdout
from policy_runner.backends.interface import LoadedModel
from policy_runner.core.errors import Refusal

_TELL_EVERY_S = 0.5


def main() -> int:
    """Serve until the parent ends or closes the pipe."""
    parent, asked, answered, file = (int(one) for one in sys.argv[1:5])
    end_with(parent)
    leave_realtime("inference process")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides about the end
    with protocol_stdout() as out:
        return _serve(json.loads(sys.stdin.readline()), out, asked, answered, file)


def _serve(given: Mapping[str, Any], out: TextIO, asked: int, answered: int, file: int) -> int:
    from policy_runner.robot.lane.frames import RequestMemory
    from policy_runner.robot.lane.result import ResultMemory
    from policy_runner.robot.load import load_worker

    _use_cores(given["cores"])
    try:
        worker, loaded = load_worker(given)
    except Refusal as refusal:
        _say(out, problems=[str(one) for one in refusal.problems])
        return 1
    except Exception as error:  # noqa: BLE001 - the parent must get a report of any exception
        _say(out, problems=[f"inference.lane: {type(error).__name__}: {error}"])
        return 1
    model = loaded.model
    _say(
        out,
        inputs={name: (one.dtype.str, one.shape) for name, one in model.inputs.items()},
        outputs={name: (one.dtype.str, one.shape) for name, one in model.outputs.items()},
        names=worker.layout.names,
        depth=worker.depth,
        shape=worker.shape,
        provider=model.provider,
        sha256=model.sha256,
        facts=model.facts,
        live=model.live_facts(),
    )
    line = sys.stdin.readline()
    if not line:
        return 0
    memory = mmap.mmap(file, json.loads(line)["size"])
    os.close(file)
    first = RequestMemory.bytes_of(worker.layout, worker.depth)
    request = RequestMemory(worker.layout, worker.depth, memory)
    result = ResultMemory(worker.shape, memory, first)
    _say(out, mapped=True)
    gc.collect()
    gc.freeze()
    threading.Thread(target=_end_at_close, daemon=True).start()
    if model.live_facts():
        threading.Thread(target=_tell_live, args=(out, model), daemon=True).start()
    while os.read(asked, 1):
        begun_ns = time.perf_counter_ns()
        event = worker.run(*request.read())
        result.write(event._replace(took_ns=time.perf_counter_ns() - begun_ns))
        os.write(answered, b"d")
    return 0


def _say(out: TextIO, **said: Any) -> None:
    print(json.dumps(said), file=out, flush=True)


def _tell_live(out: TextIO, model: LoadedModel) -> None:
    """Tell the facts that change, for diagnostics, until the parent hears them no more."""
    told: Mapping[str, str] = {}
    with contextlib.suppress(OSError):
        while True:
            found = model.live_facts()
            if found != told:
                _say(out, live=found)
            told = found
            time.sleep(_TELL_EVERY_S)


def _end_at_close() -> None:
    """End when the parent closes stdin, even during an inference."""
    while sys.stdin.readline():
        continue
    os._exit(0)


def _use_cores(cores: list[int]) -> None:
    """Run on these cores; none: on those that the system allows."""
    available = range(os.cpu_count() or 1)
    try:
        os.sched_setaffinity(0, cores or available)
    except OSError as error:
        sys.stderr.write(f"inference.cpu_affinity {cores}: {error.strerror}\n")


if __name__ == "__main__":
    sys.exit(main())
