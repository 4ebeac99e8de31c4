"""Runs many episodes, in this process or in several; the results do not depend on their number.

A process of its own imports the libraries once, and forks the others. It has one thread and no
session of ONNX Runtime, whose threads and locks a fork of this process would inherit. With
MUJOCO_GL set, those of a policy that reads images are not forked: each imports the libraries
itself. Each has one numpy thread, since two processes with two threads each would wait for each
other's. A process ends by itself when its pipe closes, so none is left when this process is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.spec import read_spec
from policy_runner.sim.evaluate.episode import Done, EpisodeRunner, Job, cpu_time_s
from policy_runner.sim.evaluate.subject import Subject
from policy_runner.sim.loop.policy_in_loop import IMAGE

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ENDS_WITHIN_S = 1.0  # until the exit status of a process that closed its pipe is known
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
        progress: called after every episode.

    Returns:
        Their results, in the order of the jobs.

    Raises:
        Refusal: policy and robot do not match, or a process ended.
    """
    if processes > 1 and len(jobs) > 1:
        return _run_in_processes(subject, jobs, min(processes, len(jobs)), progress)
    found: list[Done] = []
    runner = EpisodeRunner(subject)
    try:
        for job in jobs:
            found.append(runner.run(job))
            progress()
    finally:
        runner.close()
    return found


def _run_in_processes(
    subject: Subject, jobs: Sequence[Job], processes: int, progress: Progress
) -> list[Done]:
    context = _context(subject)
    found: list[Done | None] = [None] * len(jobs)
    waiting = iter(range(len(jobs)))
    workers: dict[Connection, Any] = {}
    under_way: dict[Connection, int] = {}
    try:
        with _environment():
            for _ in range(processes):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(subject, theirs), daemon=True)
                process.start()
                theirs.close()
                workers[ours] = process
        left = len(jobs)
        for pipe in workers:
            _give(pipe, jobs, waiting, under_way)
        while left:
            for ready in wait(list(under_way)):
                assert isinstance(ready, Connection)
                number = under_way.pop(ready)
                found[number] = _result(ready, workers[ready], jobs[number])
                left -= 1
                progress()
                _give(ready, jobs, waiting, under_way)
    finally:
        for pipe, process in workers.items():
            pipe.close()
            process.terminate()
            process.join()
    return [done for done in found if done is not None]


def _context(subject: Subject) -> Any:
    """How the processes start: forked from one that has the libraries, where that is possible."""
    # With MUJOCO_GL=egl MuJoCo opens a display when it is imported. EGL does not say what becomes
    # of it in a fork: Mesa's rendered there, other drivers were not tried.
    renders = bool(os.environ.get("MUJOCO_GL")) and any(
        one.type == IMAGE for one in read_spec(subject.spec).spec.inputs.values()
    )
    methods = multiprocessing.get_all_start_methods()
    # `_environment` needs variables that Python 3.10 does not know, and -E ignores.
    known = sys.version_info >= (3, 11) and not sys.flags.ignore_environment
    if renders or not known or "forkserver" not in methods:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["policy_runner.sim.evaluate.episode"])
    return context


def _give(
    pipe: Connection, jobs: Sequence[Job], waiting: Iterator[int], under_way: dict[Connection, int]
) -> None:
    """Send the next job, if one is left, and note its number."""
    number = next(waiting, None)
    if number is None:
        return
    under_way[pipe] = number
    # A process that has ended is told with its result, which does not come.
    with contextlib.suppress(OSError):
        pipe.send(jobs[number])


def _result(pipe: Connection, process: Any, job: Job) -> Done:
    """Receive the result of a job.

    Raises:
        Refusal: the job was refused, or its process ended.
    """
    try:
        done, problems = pipe.recv()
    except (EOFError, OSError) as error:
        process.join(_ENDS_WITHIN_S)
        code = process.exitcode
        how = "one that ended"
        if code is not None:
            how += f" by signal {-code}" if code < 0 else f" with exit status {code}"
        which = f" of {job.variant.name}" if job.variant.name else ""
        remedy = "use fewer --jobs if the memory is short, or --jobs 1 to see the process fail"
        got = f"{how} in episode {job.number}{which}"
        raise refuse("", "evaluate", "running processes", got, remedy) from error
    if problems:
        raise Refusal(problems)
    assert isinstance(done, Done)
    return done


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Let processes that start here have one numpy thread, and import what this process imports.

    The process that forks would look into its working folder first (Python 3.11.7), where another
    copy of this package may be.
    """
    changed = {
        **dict.fromkeys(_THREADS, "1"),
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(one or os.getcwd() for one in sys.path),
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(subject: Subject, pipe: Connection) -> None:
    """Run jobs until the pipe closes. The main function of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    runner, counted_s = EpisodeRunner(subject), 0.0
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        done: Done | None = None
        problems: Sequence[Any] = ()
        try:
            episode = runner.run(job).episode
            # The first result also contains the start of the process.
            now_s = cpu_time_s()
            done, counted_s = Done(episode, now_s - counted_s), now_s
        except Refusal as refusal:
            problems = refusal.problems
        except Exception:  # noqa: BLE001 - it must reach the parent, whatever it is
            problems = (traceback.format_exc(),)
        try:
            pipe.send((done, problems))
        except OSError:
            return
