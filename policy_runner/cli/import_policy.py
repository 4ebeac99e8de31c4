"""`policy-runner import`: converts a trainer's files into a policy spec to read and correct."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import next_to
from policy_runner.core.model import ModelFacts
from policy_runner.formats.conflicts import mark_conflicts
from policy_runner.formats.detect import FORMATS, find_reader, model_in, neighbours, unread
from policy_runner.formats.draft import Draft, remarks, spec_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SOURCE, --model, -o and --name."""
    parser.epilog = (
        f"SOURCE: {FORMATS}; or a folder that contains one. See docs/guides/importing.md."
    )
    parser.add_argument("source", type=Path, metavar="SOURCE",
                        help="what the trainer wrote: a file or a folder")  # fmt: skip
    parser.add_argument("--model", type=Path, metavar="FILE", help="the .onnx model")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                        help="new folder for policy.yaml, model and statistics")  # fmt: skip
    parser.add_argument("--name", help="name of the policy; default: from the source")
    parser.add_argument("--force", action="store_true", help="overwrite an existing policy.yaml")


def run(arguments: argparse.Namespace) -> int:
    """Write the draft; return 0 even if it contains TODOs, which `check` refuses."""
    spec_path = arguments.output / "policy.yaml"
    if spec_path.exists() and not arguments.force:
        raise refuse(str(spec_path), "", "no policy.yaml yet", "one", "remove it, or use --force")
    read, model_path = find_reader(arguments.source)
    folder = arguments.source if arguments.source.is_dir() else arguments.source.parent
    model = read_model_facts(arguments.model or model_path or model_in(folder), arguments.source)
    draft = read(model)
    if not draft.exact:  # a model that carries its contract needs no other source
        others, failed = neighbours(arguments.source, model)
        for other in others:
            mark_conflicts(draft, other)
        draft.notes += [*failed, *remarks(model)]
        if draft.sources == [model.path]:
            draft.notes += unread(model.path)
    if arguments.name:
        draft.spec["name"] = arguments.name
    write(draft, model, arguments.output)
    report(draft, spec_path)
    return 0


def write(draft: Draft, model: ModelFacts, folder: Path) -> None:
    """Write `policy.yaml`, the models with their data files, and the draft's statistics files."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (model.path, *model.data_files, *_other_models(draft, model), *_statistics(draft)):
        # Data files keep their place relative to the model: the model names them by this path.
        inside = path.is_relative_to(model.path.parent)
        target = folder / (path.relative_to(model.path.parent) if inside else path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.resolve() != target.resolve():
            shutil.copyfile(path, target)
    for name, content in draft.files.items():
        (folder / name).write_bytes(content)
    (folder / "policy.yaml").write_text(spec_text(draft), encoding="utf-8")


def _other_models(draft: Draft, model: ModelFacts) -> list[Path]:
    """Return the further models that the draft names (an encoder, say), and their data files."""
    spec = draft.spec
    others = (spec.get("switch") or {}).get("policies") or {}
    given = [spec, *others.values()]
    named = [one for policy in given for one in (policy.get("models") or {}).values()]
    named += [one.get("model") or {} for one in others.values()]
    found: list[Path] = []
    for one in named:
        path = next_to(draft.sources[0], one["file"], "the model file")
        facts = read_model_facts(path, draft.sources[0])
        found += [path, *facts.data_files]
    return [path for path in dict.fromkeys(found) if path != model.path]


def _statistics(draft: Draft) -> list[Path]:
    names: set[str] = set()

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("statistics"), str):
                names.add(value["statistics"])
            for one in value.values():
                visit(one)
        elif isinstance(value, list):
            for one in value:
                visit(one)

    visit(draft.spec)
    names -= draft.files.keys()
    folder = draft.sources[0].parent
    for name in sorted(names):
        next_to(draft.sources[0], name, "the statistics file")  # refuses a file outside the folder
    missing = [name for name in sorted(names) if not (folder / name).is_file()]
    if missing:
        raise refuse(str(folder), "", f"the statistics file {missing[0]}", "no such file")
    return [folder / name for name in sorted(names)]


def report(draft: Draft, spec_path: Path) -> None:
    """Print what was imported, and the TODOs that are left."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{escape(str(spec_path))}[/] from {escape(draft.dialect)}")
    unknown = draft.unknown
    if unknown:
        console.print(f"Not said by the source: {len(unknown)}, each a TODO in the file")
        for key, what in unknown:
            console.print(f"  [yellow]TODO[/] {escape(key)}: {escape(what)}")
    for title, items in (("Taken from the format", draft.assumed), ("Look at", draft.notes)):
        for item in items:
            console.print(f"  [dim]{title}:[/] {escape(item)}")
    console.print(f"Next: policy-runner check {escape(str(spec_path))}")
