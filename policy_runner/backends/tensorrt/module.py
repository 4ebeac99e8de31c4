"""TensorRT's Python package: whether it is installed, its version, and its log."""

from __future__ import annotations

import importlib.util
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_runner.backends.cuda.open import open_cuda
from policy_runner.core.errors import refuse

OLDEST = (8, 6)  # 8.5 lacks builder_optimization_level, and uses numpy.bool, which was removed
KEPT_LINES = 200
Line = Callable[[str], None]
# trt.DataType's name -> numpy's type. A tick cannot fill tensors of other types.
DTYPES: dict[str, Any] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class MachineFacts:
    """Facts that an engine depends on, as text: exact TensorRT, exact GPU, driver."""

    tensorrt: str
    gpu: str
    compute: str
    driver: str


def tensorrt_module() -> Any:
    """Import the module `tensorrt`.

    Raises:
        Refusal: not installed, not importable, or too old.
    """
    expected = "the Python package tensorrt, 8.6 or newer"
    # Check before `import tensorrt`: a folder of that name would also count as a package.
    if importlib.util.find_spec("tensorrt") is None:
        raise refuse(
            "", "backend tensorrt", expected, "no such package",
            "install the extra [tensorrt]: pip install 'policy_runner[tensorrt]', on a Jetson from"
            " apt (docs/guides/install_jetson.md), or set backend: onnxruntime",
        )  # fmt: skip
    try:
        import tensorrt

        found = version_of(tensorrt)
    except Exception as error:  # its __init__ loads libraries and may raise any type
        text = " ".join(str(error).split()) or type(error).__name__
        raise refuse(
            "", "backend tensorrt", expected, text,
            "a virtual environment needs --system-site-packages to see the apt package; "
            "`policy-runner doctor` says what is missing",
        ) from error  # fmt: skip
    if found < OLDEST:
        remedy = "use JetPack 6 or newer, or set backend: onnxruntime"
        raise refuse("", "backend tensorrt", expected, str(tensorrt.__version__), remedy)
    return tensorrt


def version_of(tensorrt: Any) -> tuple[int, int]:
    """Return TensorRT's major and minor version."""
    major, minor = str(tensorrt.__version__).split(".")[:2]
    return int(major), int(minor)


def machine_facts(gpu: int, binding: str = "auto") -> MachineFacts:
    """Return the facts of this machine that an engine depends on.

    Args:
        gpu: the GPU's number.
        binding: see `open_cuda`.

    Raises:
        Refusal: no TensorRT, no CUDA, no such GPU.
    """
    tensorrt = tensorrt_module()
    cuda = open_cuda(binding, gpu)
    try:
        return MachineFacts(str(tensorrt.__version__), cuda.gpu, cuda.compute, cuda.driver)
    finally:
        cuda.close()


class TensorRtLog:
    """Keeps TensorRT's newest warnings and errors.

    TensorRT calls the logger from any of its threads, and during an inference from the control
    thread. The control thread must not log, so the lines are kept until `take`. During a build
    `forwarded` also passes them on at once.
    """

    def __init__(self, tensorrt: Any) -> None:
        """Make the log; call `log_of` instead: TensorRT accepts only one logger per process."""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._forward: Line | None = None
        self._lock = threading.Lock()
        severity = tensorrt.ILogger.Severity
        names = {
            severity.INTERNAL_ERROR: "internal error",
            severity.ERROR: "error",
            severity.WARNING: "warning",
        }
        heard = self._heard

        class Logger(tensorrt.ILogger):  # type: ignore[misc]
            """Called from C++: an exception in it would end the process."""

            def __init__(self) -> None:
                tensorrt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                with suppress(Exception):
                    if severity in names:
                        heard(f"TensorRT {names[severity]}: {' '.join(str(msg).split())}")

        self.logger = Logger()

    def note(self, line: str) -> None:
        """Add a line of this package to TensorRT's lines."""
        self._lines.append(line)

    def _heard(self, line: str) -> None:
        self._lines.append(line)
        if self._forward is not None:
            self._forward(line)

    @contextmanager
    def forwarded(self, to: Line | None) -> Iterator[None]:
        """While the context is active, also pass every line to `to` at once, from any thread."""
        with self._lock:
            self._forward = to
            try:
                yield
            finally:
                self._forward = None

    def take(self) -> list[str]:
        """Return the lines since the last call and remove them."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines


_logs: dict[Any, TensorRtLog] = {}


def log_of(tensorrt: Any) -> TensorRtLog:
    """Return the only log of this process."""
    if tensorrt not in _logs:
        _logs[tensorrt] = TensorRtLog(tensorrt)
    return _logs[tensorrt]


def said(lines: list[str], otherwise: str) -> str:
    """Shorten TensorRT's lines: at most three, only errors if there are any.

    Args:
        lines: of TensorRT's log.
        otherwise: returned if there are no lines.
    """
    errors = [line for line in lines if "error:" in line]
    return "; ".join((errors or lines)[:3]) or otherwise
