"""`policy-runner export`: a trained network as a folder that `check` accepts."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from policy_runner.cli.command_parser import not_with, only_with
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.export.source_options import (
    SOURCE_OPTIONS,
    add_source_options,
    source_options,
)
from policy_runner.export.graph.torch_graph import OPSET
from policy_runner.export.policy_export import Exported, export_policy
from policy_runner.export.sources.open_source import SOURCES
from policy_runner.export.triton_repository import BACKENDS, write_triton


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE, -o, --contract, and what the source does not say."""
    parser.epilog = f"SOURCE: {SOURCES}. See docs/guides/export.md."
    parser.add_argument("source", metavar="SOURCE", help="what was trained, see below")
    parser.add_argument("-o", dest="folder", type=Path, required=True, metavar="DIR",
                        help="new folder for the policy")  # fmt: skip
    parser.add_argument("--contract", type=Path, metavar="FILE",
                        help="policy.yaml without what the source says itself; default: a draft"
                        " with TODOs")  # fmt: skip
    parser.add_argument("--name", help="of the policy; default: the contract's, or DIR's")
    parser.add_argument("--in-graph", action="store_true",
                        help="put the statistics into the graph, not next to it")  # fmt: skip
    parser.add_argument("--dynamic-batch", action="store_true",
                        help="leave the batch open; proven by running 1, 3 and 16")  # fmt: skip
    parser.add_argument("--opset", type=int, default=OPSET, help=f"18 to 20; default {OPSET}")
    parser.add_argument("--force", action="store_true", help="replace DIR")
    parser.add_argument("--as", dest="form", choices=("policy", "triton"), default="policy",
                        help="triton: SOURCE is a policy folder, DIR a model repository of Triton"
                        " Inference Server")  # fmt: skip
    parser.add_argument("--triton-backend", choices=BACKENDS, default="onnxruntime",
                        help="python: for a Triton without its ONNX Runtime backend")  # fmt: skip
    parser.add_argument("--model-version", type=int, default=1, metavar="N",
                        help="of the model in Triton's repository; default 1")  # fmt: skip
    add_source_options(parser)
    # A policy folder has been exported with options of its own.
    not_with(parser, "--as triton", _is_triton, "--contract", "--name", "--in-graph",
             "--dynamic-batch", "--force", *SOURCE_OPTIONS, "--opset")  # fmt: skip
    only_with(parser, "--as triton", _is_triton, "--triton-backend", "--model-version")


def _is_triton(arguments: argparse.Namespace) -> bool:
    return bool(arguments.form == "triton")


def run(arguments: argparse.Namespace) -> int:
    """Export; 0 also where keys are left to say, which `check` refuses.

    Raises:
        Refusal: the source, the network or the contract is refused; nothing is left at DIR.
    """
    if _is_triton(arguments):
        return _export_triton(arguments)
    options = source_options(arguments)
    with shown_progress() as progress:
        done = export_policy(
            arguments.source, arguments.folder, arguments.contract, options=options,
            in_graph=arguments.in_graph, dynamic_batch=arguments.dynamic_batch,
            opset=arguments.opset, name=arguments.name, force=arguments.force, progress=progress,
        )  # fmt: skip
    report(done)
    return 0


def _export_triton(arguments: argparse.Namespace) -> int:
    folder = write_triton(
        Path(arguments.source), arguments.folder, arguments.triton_backend,
        arguments.model_version,
    )  # fmt: skip
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{escape(str(folder))}[/], version {arguments.model_version}")
    console.print(f"Next: tritonserver --model-repository {escape(str(arguments.folder))}")
    return 0


def report(done: Exported) -> None:
    """What was exported, and what to look at."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{escape(str(done.folder))}[/] from {escape(done.policy.kind)}")
    if done.todo:
        console.print(f"Not said by the source: {len(done.todo)}, each a TODO in policy.yaml")
    for text in done.todo:
        console.print(f"  [yellow]TODO[/] {escape(text)}")
    for text in done.notes:
        console.print(f"  [yellow]look at[/] {escape(text)}")
    step = "check" if done.todo else "verify"
    tail = "" if done.todo else " --against SOURCE"
    console.print(f"Next: policy-runner {step} {escape(str(done.folder))}{tail}")
