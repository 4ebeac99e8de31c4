"""Whether an evaluation has passed for exactly the files of a policy: the gate of a reload.

`policy-runner evaluate --require ... --verdict` writes the report next to the spec. The report has
the checksum of every file of the policy, and says which requirements are fulfilled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from policy_runner.backends.onnx_file.check import data_files
from policy_runner.core.errors import Problem, Refusal, collect, refuse
from policy_runner.core.files.bounded import MIB, read_bounded
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.core.spec.parts import model_files
from policy_runner.core.spec.reader import named_files

SCHEMA = "policy_runner_evaluation/1"
GATE = "reload.require_verdict"
_MOST_REPORT = 64 * MIB  # a thousand episodes are half a MiB
_CHUNK = MIB
REMOTE = "remote"  # the backend whose models no file here pins
_REMEDY = "run policy-runner evaluate with --require and --verdict"


def verdict_path(spec: Path) -> Path:
    """Where the report of a policy is: `policy.yaml` has `policy.evaluation.json` next to it."""
    return spec.with_name(f"{spec.stem}.evaluation.json")


def policy_files(spec_file: SpecFile, models: bool = True) -> dict[str, str]:
    """The sha256 of the spec and of every file that it names, by the name in the spec.

    Args:
        spec_file: the policy.
        models: False: without its models and their weights, since a server runs its own.

    Raises:
        Refusal: a file is missing or outside the folder.
    """
    paths = {spec_file.path.name: spec_file.path}
    for name in named_files(spec_file.spec):
        paths[name] = spec_file.next_to(name, "file")
    for one in model_files(spec_file.spec):
        if one.model.file is None:  # only a server has it
            continue
        if not models:
            paths.pop(one.model.file, None)
            continue
        model = spec_file.next_to(one.model.file, one.file_key)
        inside = PurePosixPath(one.model.file).parent
        for weights in data_files(model):
            name = weights.relative_to(model.parent.resolve()).as_posix()
            paths[(inside / name).as_posix()] = weights
    return {name: _sha256(path) for name, path in sorted(paths.items())}


def gate_problems(
    values: Mapping[str, Any], spec_file: SpecFile, _loaded: object = None
) -> list[Problem | str]:
    """Why the gate is closed for a policy; empty if it is open, or `GATE` is false.

    A reload asks before the load and, as `robot.load.Further`, after it: a file may have been
    replaced meanwhile. With a model on a server it is closed: no file here says what runs.

    Args:
        values: of the node's parameters.
        spec_file: the policy.
    """
    problems: list[Problem | str] = []
    if values[GATE]:
        if values["backend"] == REMOTE:
            expected = f"a backend that runs the evaluated file, since {GATE} is true"
            problems.append(Problem("", "parameter backend", expected, REMOTE))
        with collect(problems):
            check_verdict(spec_file)
    return problems


def pinned_files(values: Mapping[str, Any], spec_file: SpecFile) -> dict[str, str]:
    """The sha256 of the files that a lane must find at each of its starts; {} if `GATE` is false.

    Its process may start again long after the reload, and reads the files again.

    Raises:
        Refusal: see `policy_files`.
    """
    if not values.get(GATE):
        return {}
    return policy_files(spec_file, values["backend"] != REMOTE)


def changed_files(
    pinned: Mapping[str, str],
    values: Mapping[str, Any],
    spec_file: SpecFile,
    _loaded: object = None,
) -> list[Problem | str]:
    """Why a lane must not run, as `robot.load.Further`: a file is not that of `pinned_files`."""
    problems: list[Problem | str] = []
    with collect(problems):
        if pinned_files(values, spec_file) != pinned:
            expected = "the files that the node has loaded"
            raise refuse(str(spec_file.path), "", expected, "others", "reload it")
    return problems


def check_verdict(spec_file: SpecFile) -> None:
    """Refuse a policy without a passed evaluation of exactly its files.

    Call it before the policy is loaded and again after: a file that is replaced meanwhile is
    refused, too.

    Raises:
        Refusal: there is no report, a requirement is not fulfilled, or a file differs.
    """
    path = verdict_path(spec_file.path)
    where = str(path)
    if not path.is_file():
        expected = f"the report of an evaluation, since {GATE} is true"
        raise refuse(where, "", expected, "no such file", _REMEDY)
    report = _read(path)
    fulfilled = _requirements(report, where)
    if not fulfilled:
        raise refuse(where, "requirements", "at least one requirement", "none", _REMEDY)
    problems: list[Problem | str] = [
        Problem(where, "requirements", f"`{text}`", "a report that says it is not fulfilled")
        for text, passed in fulfilled.items()
        if not passed
    ]
    problems += [
        Problem(str(spec_file.path), one.file_key, "a file, which an evaluation can pin", "none")
        for one in model_files(spec_file.spec)
        if one.model.file is None
    ]
    evaluated, present = _files(report, where), policy_files(spec_file)
    for name in sorted({*evaluated, *present}):
        if evaluated.get(name) != present.get(name):
            got = "another one" if name in evaluated else "one that was not evaluated"
            got = got if name in present else "none"
            expected = f"the file {name} that was evaluated"
            problems.append(Problem(where, "policy.files", expected, got, _REMEDY))
    if not problems and read_spec(spec_file.path).spec != spec_file.spec:
        # It was replaced between its reading and the sums above.
        got = "a file that has changed since it was read"
        problems.append(Problem(str(spec_file.path), "", "the file that was evaluated", got))
    if problems:
        raise Refusal(problems)


def _read(path: Path) -> dict[str, Any]:
    content = read_bounded(path, _MOST_REPORT, "the report of an evaluation")
    try:
        report = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refuse(str(path), "", "the report of an evaluation", f"no JSON ({error})") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        got = repr(report.get("schema"))[:80] if isinstance(report, dict) else type(report).__name__
        raise refuse(str(path), "schema", SCHEMA, got, _REMEDY)
    return report


def _requirements(report: dict[str, Any], where: str) -> dict[str, bool]:
    """Each requirement, and whether it is fulfilled."""
    found: dict[str, bool] = {}
    rows = report.get("requirements")
    for row in rows if isinstance(rows, list) else [rows]:
        given = row if isinstance(row, dict) else {}
        text, passed = given.get("requirement"), given.get("fulfilled")
        if not isinstance(text, str) or not isinstance(passed, bool):
            expected = "a list of requirement and fulfilled"
            raise refuse(where, "requirements", expected, repr(row)[:80], _REMEDY)
        found[text] = found.get(text, True) and passed
    return found


def _files(report: dict[str, Any], where: str) -> dict[str, str]:
    policy = report.get("policy")
    files = policy.get("files") if isinstance(policy, dict) else None
    if not isinstance(files, dict) or not all(isinstance(one, str) for one in files.values()):
        raise refuse(where, "policy.files", "the sha256 of every file", repr(files)[:80], _REMEDY)
    return files


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise refuse(str(path), "", "a readable file", str(error)) from error
    return digest.hexdigest()
