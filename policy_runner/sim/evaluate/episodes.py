"""Runs many episodes, in this process or in several; the results do not depend on their number.

The processes are spawned: a forked one would inherit the threads and locks of ONNX Runtime. Each
has one numpy thread, since two processes with two threads each would wait for each other's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from policy_runner.core.errors import refuse
from policy_runner.sim.evaluate.episode import Done, EpisodeRunner, Job, cpu_time_s
from policy_runner.sim.evaluate.subject import Subject

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Progress = Callable[[], None]  # called after every episode


def no_progress() -> None:
    """Show nothing."""


def run_jobs(
    subject: Subject, jobs: Sequence[Job], processes: int = 1, progress: Progress = no_progress
) -> list[Done]:
    """Run episodes.

    Args:
        subject: policy and robot.
        jobs: the episodes.
        processes: 1: this process.
        progress: called after every episode, in the order of the jobs.

    Returns:
        Their results, in the order of the jobs.

    Raises:
        Refusal: policy and robot do not match, or a process ended.
    """
    found: list[Done] = []
    if processes <= 1 or len(jobs) <= 1:
        runner = EpisodeRunner(subject)
        try:
            for job in jobs:
                found.append(runner.run(job))
                progress()
        finally:
            runner.close()
        return found
    processes = min(processes, len(jobs))
    # Neighbours have the same variant: a process that keeps some of them loads it once.
    chunk = max(1, min(8, len(jobs) // (4 * processes)))
    context = multiprocessing.get_context("spawn")
    with _one_thread(), ProcessPoolExecutor(processes, context, _prepare, (subject,)) as pool:
        try:
            for done in pool.map(_run, jobs, chunksize=chunk):
                found.append(done)
                progress()
        except BrokenProcessPool as error:
            remedy = "use fewer --jobs if the memory is short"
            raise refuse("", "evaluate", "running processes", str(error), remedy) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that start here have one numpy thread."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_runner: EpisodeRunner | None = None  # of this process


def _prepare(subject: Subject) -> None:
    global _runner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    _runner = EpisodeRunner(subject)


_counted_s = 0.0  # processor time that earlier results contain


def _run(job: Job) -> Done:
    global _counted_s
    assert _runner is not None
    episode = _runner.run(job).episode
    # The first result also contains the start of the process.
    now_s = cpu_time_s()
    done = Done(episode, now_s - _counted_s)
    _counted_s = now_s
    return done
