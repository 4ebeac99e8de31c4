"""Run in a child process: the CUDA layer on a real binding, with a GPU or cuda.c below it."""

import ctypes
import gc
import sys
import threading

import numpy as np

from policy_runner.backends.cuda.interface import Memory
from policy_runner.backends.cuda.open import open_cuda

library = ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
fake = hasattr(library, "fake_live")
cuda = open_cuda(sys.argv[1], 0, sys.argv[2])
if fake:
    assert (cuda.gpu, cuda.compute, cuda.driver) == ("no GPU", "8.7", "13000")
cuda.enter()
source = cuda.allocate((1, 5), np.float32)
target = cuda.allocate((1, 5), np.float32)
scalar = cuda.allocate((), np.int64)
assert scalar.host.shape == ()
assert not source.host.any()


def move() -> None:
    """Copy from the source's host array to the target's, through the device."""
    if not source.mapped:
        cuda.upload(source)
    cuda.copy(target, source)
    if not target.mapped:
        cuda.download(target)


def holds(memory: Memory, number: float) -> bool:
    return bool((memory.host == number).all())


source.host[:] = 3
move()
cuda.wait()
assert holds(target, 3)
cuda.begin_capture()
move()
graph = cuda.end_capture()
source.host[:] = 4
cuda.wait()
assert holds(target, 3), "captured, not run"
cuda.launch(graph)
cuda.wait()
assert holds(target, 4)
cuda.begin_capture()
move()
try:
    cuda.wait()
    if sys.argv[2] == "spin":
        raise AssertionError("waiting while capturing must fail")
except cuda.errors:
    pass
cuda.abandon_capture()
cuda.wait()
cuda.leave()
if fake:  # a real driver may find the context from the stream
    try:
        cuda.wait()
        raise AssertionError("no context is current here")
    except cuda.errors:
        pass


def run() -> None:
    cuda.adopt()
    source.host[:] += 1
    cuda.launch(graph)
    cuda.wait()


for _ in range(3):  # threads that end while the context is current
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
assert holds(target, 7)
cuda.enter()
cuda.drop(graph)
cuda.leave()
kept = target.host
source = target = scalar = None
cuda.close()
cuda.close()
gc.collect()
assert not fake or library.fake_live() == 1  # the array that is still held
assert (kept == 7).all()
del kept
gc.collect()
assert not fake or library.fake_live() == 0
sys.stdout.write("all of it\n")
