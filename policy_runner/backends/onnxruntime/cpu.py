"""ONNX Runtime on the CPU: one thread, no spinning, tensors bound once.

Inputs and outputs are bound to arrays that live as long as the session. A run copies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from policy_runner.backends.host_arrays import allocate
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnxruntime.refusals import check_shapes, not_loaded
from policy_runner.backends.onnxruntime.run_sizes import left_open, run_sizes
from policy_runner.backends.onnxruntime.session import session_options
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import Buffer, ModelAbilities


class OnnxRuntimeModel(ModelAbilities):
    """A loaded model with preallocated tensors, batch 1."""

    provider = "CPUExecutionProvider"
    sha256 = ""  # of the file, for diagnostics
    needs_precision_check = False

    def __init__(self, path: Path, choice: BackendChoice | None = None) -> None:
        """Load the file and bind its tensors; `choice` None: default options.

        Raises:
            Refusal: ONNX Runtime cannot load it, or a tensor has an open shape or unknown type.
        """
        import onnxruntime as ort

        self.facts = {"device": "cpu", "precision": "as exported"}
        options = session_options(choice or BackendChoice())
        try:
            self._session = ort.InferenceSession(
                str(path), sess_options=options, providers=[self.provider]
            )
        except Exception as error:  # ORT raises its own pybind types, one per status code
            remedy = "export the model again, or copy it again with its .data file"
            raise not_loaded(path, error, remedy) from error
        check_shapes(path, [*self._session.get_inputs(), *self._session.get_outputs()])
        problems: list[Problem] = []
        self._inputs = allocate(path, "input", self._session.get_inputs(), problems)
        outputs, shapes = self._session.get_outputs(), None
        if left_open(outputs):
            if problems:  # without inputs no run tells the sizes
                raise Refusal(problems)
            shapes = run_sizes(path, self._session, self._inputs)
        self._outputs = allocate(path, "output", outputs, problems, shapes)
        if problems:
            raise Refusal(problems)
        # ONNX Runtime does not copy an input that is also an output: use the same array.
        for name in self._outputs.keys() & self._inputs.keys():
            self._outputs[name] = self._inputs[name]
        self._binding = self._session.io_binding()
        # The OrtValues share the arrays' memory and must live as long as they are bound.
        self._values = []
        bound: set[int] = set()
        for tensors, bind in (
            (self._inputs, self._binding.bind_ortvalue_input),
            (self._outputs, self._binding.bind_ortvalue_output),
        ):
            for name, array in tensors.items():
                if id(array) in bound:
                    continue
                bound.add(id(array))
                value = ort.OrtValue.ortvalue_from_numpy(array)
                self._values.append(value)
                bind(name, value)
        self._path = path
        # Private members of ONNX Runtime. The public run_with_iobinding does the same, but first
        # checks for WebGPU; that costs 0.6 us of the balancer's 4 us (onnxruntime 1.31).
        self._run = self._session._sess.run_with_iobinding
        self._io = self._binding._iobinding

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; the caller writes them in place."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name, in the model's order; overwritten by the next run.

        A repeated name is also available as `name#position`, the same array.
        """
        return self._outputs

    def run(self) -> None:
        """Run one inference, in place."""
        self._run(self._io, None)

    def warm_up(self, runs: int = 3) -> None:
        """Run on zeros and check shapes only: valid models may give NaN on zeros.

        Raises:
            Refusal: the model does not run with the shapes that it states.
        """
        for array in self._inputs.values():
            array.fill(0)
        try:
            for _ in range(runs):
                self.run()
        except Exception as error:  # ORT raises its own pybind types, one per status code
            text = " ".join(str(error).split())
            expected = "a model that runs with the shapes that it states"
            raise refuse(str(self._path), "", expected, text, "export the model again") from error
        for array in self._outputs.values():
            array.fill(0)

    def close(self) -> None:
        """Do nothing: ONNX Runtime frees a session with its last reference."""
