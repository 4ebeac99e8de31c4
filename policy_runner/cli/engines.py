"""`policy-runner engines`: what the engine cache holds, and how to empty it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from policy_runner.backends.private_folder import default_folder
from policy_runner.backends.tensorrt.engine_cache import EngineCache, Entry
from policy_runner.cli.build_engine import size_text

_DAY_S = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list and clean."""
    below = parser.add_subparsers(dest="what", metavar="list|clean", required=True)
    shown = below.add_parser("list", help="every engine, the one used last first")
    shown.add_argument("--json", action="store_true", help="as JSON")
    clean = below.add_parser("clean", help="remove engines")
    clean.add_argument("--unused-for", type=float, default=0.0, metavar="DAYS",
                       help="only what was not used for so long; default: all")  # fmt: skip
    for one in (shown, clean):
        one.add_argument("--folder", type=Path, help="the node's engines.folder")


def run(arguments: argparse.Namespace) -> int:
    """0; a cache that is not there is an empty one."""
    folder = arguments.folder or default_folder()
    if not folder.expanduser().exists():  # looking must not make it
        print("[]" if arguments.what == "list" and arguments.json else f"{folder}: no engines")
        return 0
    with EngineCache(folder, log=lambda line: print(line, file=sys.stderr)) as cache:
        if arguments.what == "clean":
            gone = cache.clean(arguments.unused_for * _DAY_S)
            print(f"{cache.path}: {len(gone)} removed, {len(cache.entries())} kept")
            return 0
        entries = cache.entries()
        if arguments.json:
            print(json.dumps([_row(entry) for entry in entries], indent=2))
        else:
            _print(entries, cache.path)
    return 0


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
    console = Console()
    console.print(table)
    total = sum(entry.size for entry in entries)
    console.print(f"{len(entries)} engines, {size_text(total)} in {folder}", soft_wrap=True)
