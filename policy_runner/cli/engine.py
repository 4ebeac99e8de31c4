"""`policy-runner engine`: builds, lists and removes TensorRT engines on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from policy_runner.backends.engine_process import EngineBuild
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.private_folder import default_folder
from policy_runner.backends.tensorrt.engine_cache import EngineCache, Entry
from policy_runner.cli.backend_options import add_choice_options, choice_from
from policy_runner.cli.command_parser import CommandParser, number_from_0, table_width
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec

_SAY_EVERY_S = 10.0
_DAY_S = 86_400.0


def add_arguments(parser: CommandParser) -> None:
    """Add `build`, `list` and `remove`."""
    parser.add_commands()
    build = parser.add_command("build", "build a policy's engine, and keep it", run=_build)
    build.add_argument("spec", type=Path, metavar="SPEC", help="policy.yaml or its folder")
    add_choice_options(build)
    build.add_argument("--rebuild", action="store_true", help="build even if an engine exists")
    shown = parser.add_command("list", "every engine, most recently used first", run=_list)
    shown.add_argument("--json", action="store_true", help="as JSON")
    remove = parser.add_command("remove", "remove engines", run=_remove)
    remove.add_argument("--unused-for", type=number_from_0, default=0.0, metavar="DAYS",
                        help="only engines not used for this long; default: all")  # fmt: skip
    for one in (shown, remove):
        one.add_argument("--folder", type=Path, help="the node's engines.folder")


def _build(arguments: argparse.Namespace) -> int:
    """Build the engine; Ctrl-C ends the build and leaves nothing behind."""
    spec_file = read_spec(arguments.spec)
    choice = replace(choice_from(arguments, spec_file), backend="tensorrt")
    choice.check()
    console = Console(stderr=True, highlight=False, soft_wrap=True, log_path=False)
    begun = time.time()
    result = build_in_child(choice, spec_file.path, console, arguments.rebuild)
    for one in result["engines"]:
        _print_built(one, begun)
    return 0


def _print_built(result: Mapping[str, Any], begun: float) -> None:
    facts = result["facts"]
    found = facts.get("check") or {}
    there = float(facts.get("built", begun)) < begun
    took = f"took {float(facts.get('seconds', 0.0)):.1f} s"
    state = f"was there already ({took})" if there else took
    print(f"{result['path']}: {size_text(result['size'])}, {state}")
    if found:
        print(
            f"actions differ from fp32 on the CPU by at most {found['largest']:.3g} at "
            f"{found['element']} ({found['samples']} {found['observations']} observations)"
        )


def size_text(size: int) -> str:
    """Format a file's size [B] for people."""
    return f"{size / 1e3:.0f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def build_in_child(
    choice: BackendChoice, spec_path: Path, console: Console, rebuild: bool = False
) -> dict[str, Any]:
    """Build the engine in a child process, with progress on the console.

    Args:
        choice: the backend and its options.
        spec_path: the policy.yaml, or its folder.
        console: gets the progress.
        rebuild: build even if an engine exists.

    Returns:
        The path, size and facts of the engine.

    Raises:
        Refusal: the build failed or was ended by Ctrl-C.
    """
    build = EngineBuild(choice, spec_path, lambda line: console.log(line, markup=False), rebuild)
    try:
        _watch(build, console)
    except KeyboardInterrupt:
        build.cancel()
        raise Refusal(["ended by Ctrl-C; nothing was kept"]) from None
    finally:
        build.cancel()
    if build.problems:
        raise Refusal(build.problems)
    return build.result


def _watch(build: EngineBuild, console: Console) -> None:
    said_s = 0.0
    with console.status(build.text()) as status:
        while not build.poll():
            if console.is_terminal:
                status.update(build.text())
            elif build.seconds - said_s > _SAY_EVERY_S:  # into a file or a log
                said_s = build.seconds
                console.log(build.text(), markup=False)
            time.sleep(0.05)


def _list(arguments: argparse.Namespace) -> int:
    cache = _cache(arguments)
    if cache is None:
        print("[]" if arguments.json else f"{_folder(arguments)}: no engines")
        return 0
    with cache:
        entries = cache.entries()
        if arguments.json:
            print(json.dumps([_row(entry) for entry in entries], indent=2))
        else:
            _print(entries, cache.path)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    cache = _cache(arguments)
    if cache is None:
        print(f"{_folder(arguments)}: no engines")
        return 0
    with cache:
        removed = cache.clean(arguments.unused_for * _DAY_S)
        print(f"{cache.path}: {len(removed)} removed, {len(cache.entries())} kept")
    return 0


def _cache(arguments: argparse.Namespace) -> EngineCache | None:
    """Open the engine cache; None if its folder does not exist, since opening would create it."""
    folder = _folder(arguments)
    if not folder.expanduser().exists():
        return None
    return EngineCache(folder, log=lambda line: print(line, file=sys.stderr))


def _folder(arguments: argparse.Namespace) -> Path:
    given: Path | None = arguments.folder
    return given or default_folder()


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "path": str(entry.path),
        "size": entry.size,
        "used": entry.used,
        "key": json.loads(entry.key.as_json()),
        "facts": dict(entry.facts),
    }


def _print(entries: list[Entry], folder: Path) -> None:
    table = Table("policy", "precision", "made for", "size", "built in", "off by", "used")
    now = time.time()
    for entry in entries:
        key, facts = entry.key, entry.facts
        largest = (facts.get("check") or {}).get("largest")
        table.add_row(
            str(facts.get("policy", "?")),
            key.precision,
            f"{key.gpu} ({key.compute}), TensorRT {key.tensorrt}",
            size_text(entry.size),
            f"{float(facts.get('seconds', 0.0)):.0f} s",
            "?" if largest is None else f"{largest:.2g}",
            f"{(now - entry.used) / _DAY_S:.0f} days ago",
        )
    console = Console(width=table_width())
    console.print(table)
    total = sum(entry.size for entry in entries)
    console.print(f"{len(entries)} engines, {size_text(total)} in {folder}", soft_wrap=True)
