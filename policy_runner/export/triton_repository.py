"""Writes a model repository of Triton Inference Server from a policy folder.

    REPOSITORY/NAME/config.pbtxt
    REPOSITORY/NAME/VERSION/model.onnx      (and its data files; model.py for the Python backend)

The server then has the model's own tensors. Terms, history, normalization outside of the graph,
limits and decisions stay with the robot, or with `policy-runner serve`. Format: Triton's
`docs/user_guide/model_repository.md` and `model_configuration.md`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from policy_runner.backends.onnx_file.check import checked_model, data_files, named_files
from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.core.spec import read_spec
from policy_runner.core.spec.parts import has_several
from policy_runner.export.policy_folder import new_folder

BACKENDS = ("onnxruntime", "python")
MOST_ROWS = 64  # of a batch that Triton collects from several robots
DELAY_US = 500  # that a request waits for others
_TYPES = {
    "float16": "TYPE_FP16", "float32": "TYPE_FP32", "float64": "TYPE_FP64", "bool": "TYPE_BOOL",
    "int32": "TYPE_INT32", "int64": "TYPE_INT64", "uint8": "TYPE_UINT8",
}  # fmt: skip
_PYTHON = '''\
"""Runs model.onnx with ONNX Runtime in Triton's Python backend; by `policy-runner export`."""

import json
import os

import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        folder = os.path.join(args["model_repository"], args["model_version"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        config = json.loads(args["model_config"])
        self.inputs = [one["name"] for one in config["input"]]
        self.outputs = [one["name"] for one in config["output"]]

    def execute(self, requests):
        answers = []
        for request in requests:
            given = {
                name: triton.get_input_tensor_by_name(request, name).as_numpy()
                for name in self.inputs
            }
            found = self.session.run(self.outputs, given)
            tensors = [triton.Tensor(name, one) for name, one in zip(self.outputs, found)]
            answers.append(triton.InferenceResponse(tensors))
        return answers
'''


def write_triton(
    policy: Path, repository: Path, backend: str = "onnxruntime", version: int = 1
) -> Path:
    """Write the model of a policy; return its folder in the repository.

    A new version of a model that is there already leaves the other versions alone. Its tensors
    must be those of the versions before it.

    Args:
        policy: policy.yaml or its folder.
        repository: a new folder, or one with other models and versions.
        backend: one of BACKENDS.
        version: number of the version's folder.

    Raises:
        Refusal: the policy has several models, or others than it states; its tensors differ from
            the earlier versions'; or the version exists.
    """
    if backend not in BACKENDS:
        raise refuse("", "--triton-backend", f"one of {', '.join(BACKENDS)}", backend)
    if version < 1:
        raise refuse("", "--model-version", "1 or more", f"{version}")
    spec_file = read_spec(policy)
    spec, file = spec_file.spec, str(spec_file.path)
    if has_several(spec):
        remedy = "use `policy-runner serve`, which runs the whole pipeline"
        raise refuse(file, "models", "a policy of one model", "several", remedy)
    path = checked_model(spec_file)
    facts = read_model_facts(path)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", spec.name) or "policy"
    config = configuration(name, facts, backend)
    target = repository / name
    number = target / str(version)
    if number.exists():
        raise refuse(str(number), "", "no such version yet", "one", "--model-version names another")
    if target.exists():
        _check_same(target / "config.pbtxt", config)
        with new_folder(number) as made:
            _copy(path, made, backend)
        return target
    with new_folder(target) as made:
        (made / "config.pbtxt").write_text(config, encoding="utf-8")
        (made / str(version)).mkdir()
        _copy(path, made / str(version), backend)
    return target


def configuration(name: str, facts: ModelFacts, backend: str) -> str:
    """Return the text of config.pbtxt.

    Args:
        name: of the model.
        facts: its tensors, and its checksum, which clients can read with the configuration.
        backend: one of BACKENDS.

    Raises:
        Refusal: Triton has no such type, or a size after the batch axis is open.
    """
    tensors = [*facts.inputs, *facts.outputs]
    batched = all(one.shape and one.shape[0] is None for one in tensors)
    problems: list[Problem | str] = []
    for one in tensors:
        rest = one.shape[1:] if batched else one.shape
        if one.dtype not in _TYPES or None in rest:
            expected = f"one of {', '.join(_TYPES)} with fixed sizes after the batch axis"
            problems.append(Problem(str(facts.path), f"tensor '{one.name}'", expected, str(one)))
    if problems:
        raise Refusal(problems)
    lines = [
        f'name: "{name}"',
        f'backend: "{backend}"',
        f'default_model_filename: "{"model.py" if backend == "python" else "model.onnx"}"',
        f"max_batch_size: {MOST_ROWS if batched else 0}",
        *_tensor_lines("input", facts.inputs, batched),
        *_tensor_lines("output", facts.outputs, batched),
        # Two versions: robots that name the earlier one continue while a new one is loaded.
        "version_policy: { latest { num_versions: 2 } }",
    ]
    if batched:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY_US} }}")
    value = f'{{ string_value: "{facts.sha256}" }}'
    lines.append(f'parameters {{ key: "policy_runner.sha256" value: {value} }}')
    return "\n".join(lines) + "\n"


def _tensor_lines(kind: str, tensors: Sequence[TensorFacts], batched: bool) -> list[str]:
    return [
        f'{kind} {{ name: "{one.name}" data_type: {_TYPES[one.dtype]} dims: '
        f"[{', '.join(str(size) for size in (one.shape[1:] if batched else one.shape))}] }}"
        for one in tensors
    ]


def _check_same(path: Path, config: str) -> None:
    """Refuse a version whose tensors are not those of the versions before it."""
    try:
        there = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise refuse(str(path), "", "a configuration", error.strerror or "an error") from error
    kept = [line for line in there if not line.startswith("parameters")]
    new = [line for line in config.splitlines() if not line.startswith("parameters")]
    different = [line for line in new if line not in kept]
    if kept != new:
        expected = f"the line {different[0]}" if different else "the same lines"
        remedy = "export to another repository or under another name: robots expect these tensors"
        raise refuse(str(path), "", expected, "another one", remedy)


def _copy(path: Path, folder: Path, backend: str) -> None:
    """Copy the model with its data files, which the model names relative to itself."""
    shutil.copyfile(path, folder / "model.onnx")
    data_files(path)  # refuses names outside of the model's folder
    for name in sorted(named_files(path.read_bytes())[0]):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, target)
    if backend == "python":
        (folder / "model.py").write_text(_PYTHON, encoding="utf-8")
