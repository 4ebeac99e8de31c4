"""`policy-runner inspect`: prints the resolved contract of a policy, or the facts of a model."""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy_runner.backends.onnx_file.graph import read_graph
from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.command_parser import (
    add_params,
    check_written,
    node_of,
    only_with,
    table_width,
)
from policy_runner.cli.inspect.contract import contract, model_contract, permutation, print_limits
from policy_runner.cli.inspect.graph_blocks import blocks_of
from policy_runner.cli.inspect.graph_svg import svg
from policy_runner.core.errors import refuse
from policy_runner.robot.load import load_policy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL_OR_SPEC, --params and --json."""
    parser.add_argument("path", type=Path, metavar="MODEL_OR_SPEC",
                        help="an .onnx model, or a policy.yaml or its folder")  # fmt: skip
    add_params(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--graph", type=Path, metavar="FILE.svg",
                        help="draw the network: shapes, parameters, normalizer, encoder and"
                        " heads")  # fmt: skip
    only_with(parser, "a policy.yaml or its folder", lambda given: given.path.suffix != ".onnx",
              "--params")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print the contract; refuse the same problems as `check`."""
    if arguments.path.suffix == ".onnx":
        path = arguments.path
        found = model_contract(read_model_facts(path))
        spec = None
    else:
        loaded = load_policy(arguments.path, arguments.params, node=node_of(arguments))
        spec = loaded.spec_file.spec
        if arguments.graph:
            path = loaded.spec_file.next_to(spec.model.file, "model.file")
        found = contract(loaded)
    if arguments.graph:
        draw(path, arguments.graph)
    if arguments.json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return 0
    console = Console(highlight=False, width=table_width())
    _model(console, found)
    if spec is not None:
        _observation(console, found, spec)
        _action(console, found)
        for part in found["models"]:
            print_part(console, part, spec)
        print_switch(console, found.get("switch"))
        _joints(console, found)
        print_limits(console, found["limits"])
        _statistics(console, found)
    for text in found["suspicious"]:
        console.print(f"[yellow]look at[/] {escape(text)}", soft_wrap=True)
    for one in found.get("unknown", ()):
        console.print(f"[dim]not said[/] {escape(one['key'])}: {escape(one['what'])}",
                      soft_wrap=True)  # fmt: skip
    return 0


def print_part(console: Console, part: dict[str, Any], spec: Any) -> None:
    """Print another model of the policy."""
    rate = f", every {part['every']} inferences" if part.get("every", 1) > 1 else ""
    console.print(f"\n[bold]{escape(part['name'])}[/]{rate}")
    _model(console, {key: value for key, value in part.items() if key != "name"})
    _observation(console, part, spec)
    if "action" in part:
        _action(console, part)
    _statistics(console, part)


def print_switch(console: Console, switch: dict[str, Any] | None) -> None:
    """Print the rule that selects the policy, or nothing."""
    if switch is None:
        return
    value = f"|{', '.join(switch['value']['fields'])}| of {switch['value']['input']}"
    first, *others = switch["policies"]
    parts = [first]
    for name, one in zip(others, switch["thresholds"], strict=True):
        parts.append(f"{name} above {one['up']:g}, back below {one['down']:g}")
    console.print(f"\nswitch by {escape(value)}: {escape('; '.join(parts))}", soft_wrap=True)
    kept = ", ".join(f"{k} {switch[k]}" for k in ("state", "history", "clocks", "last_action"))
    console.print(f"  at a change: {kept}", soft_wrap=True)


def draw(model: Path, picture: Path) -> None:
    """Write the network of `model` as a picture.

    Raises:
        Refusal: another ending than .svg, or a folder that does not exist.
    """
    if picture.suffix != ".svg":
        raise refuse(str(picture), "--graph", "a file ending in .svg", f"'{picture.suffix}'")
    check_written("--graph", picture)
    blocks = blocks_of(read_graph(model), read_model_facts(model))
    picture.write_text(svg(blocks, model.name), encoding="utf-8")


def _model(console: Console, found: dict[str, Any]) -> None:
    if "name" in found:
        rate = f"{1 / found['control_dt']:g} Hz, decimation {found['decimation']}"
        console.print(f"[bold]{escape(found['name'])}[/]  {rate}  {escape(found['spec'])}")
    model = found["model"]
    files = "".join(f" + {name}" for name in model["data_files"])
    sha256 = f"sha256 {model['sha256'][:12]}..." if model["sha256"] else "only a server has it"
    console.print(f"model {escape(model['file'] + files)}  {sha256}", soft_wrap=True)
    table = Table(title="tensors", title_justify="left")
    for column in ("", "name", "type", "shape", "use"):
        table.add_column(column, overflow="fold")
    uses = _uses(found)
    for side in ("inputs", "outputs"):
        for k, one in enumerate(found[side]):
            shape = ", ".join("?" if d is None else str(d) for d in one["shape"])
            use = uses.get((side, one["name"]), uses.get((side, k), ""))
            table.add_row(side[:-1], escape(one["name"]), one["dtype"], escape(f"[{shape}]"), use)
    console.print(table)
    for key, value in found["metadata"].items():
        text = value if len(value) <= 90 else value[:87] + "..."
        console.print(f"metadata {escape(key)}: {escape(text)}", soft_wrap=True)


def _uses(found: dict[str, Any]) -> dict[tuple[str, Any], str]:
    uses: dict[tuple[str, Any], str] = {}
    for one in found.get("observation", ()):
        what = "constant" if "constant" in one else f"{len(one['terms'])} terms"
        uses["inputs", one["tensor"]] = what
    for name, key in found.get("chunk_inputs", {}).items():
        uses["inputs", int(name) if name.isdigit() else name] = key
    for one in found.get("state", ()):
        uses["inputs", one["input"]] = f"state, from {one['output']}"
        uses["outputs", one["output"]] = f"state, to {one['input']}"
    for one in found.get("action", ()):
        uses["outputs", one["tensor"]] = "action"
    for name in found.get("read_outputs", ()):
        uses["outputs", name] = "read by later models"
    for name in found.get("ignored_outputs", ()):
        uses["outputs", name] = "ignored"
    return uses


def _observation(console: Console, found: dict[str, Any], spec: Any) -> None:
    for one in found["observation"]:
        if "constant" in one:
            continue
        title = f"observation: {one['tensor']}, {one['size']} elements"
        if one["frame"] != one["size"]:
            title += f" from frames of {one['frame']}"
        table = Table(title=escape(title), title_justify="left", show_lines=False)
        for column in ("slice", "name", "reads", "then"):
            table.add_column(column, overflow="fold")
        for term in one["terms"]:
            first, last = term["slice"]
            table.add_row(escape(f"[{first}:{last}]"), escape(term["name"]),
                          escape(_reads(term, spec)), escape(_then(term)))  # fmt: skip
        console.print(table)
        for key in ("history", "clip", "normalization"):
            if key in one:
                console.print(f"  {key}: {escape(_words(one[key]))}", soft_wrap=True)


def _reads(term: dict[str, Any], spec: Any) -> str:
    source = dict(term["source"])
    parts = [term["term"]]
    if "input" in source:
        name = source.pop("input")
        parts.append(f"{name}.{source.pop('field')}" if "field" in source else name)
    joints = source.pop("joints", None)
    if joints is not None:
        index = permutation(spec, joints)
        parts.append("all joints" if index is None else f"joints {_runs(index)}")
    elif term["term"].startswith("joint_"):
        parts.append("all joints")
    for key, value in source.items():
        parts.append(f"{key} ({_words(value)})" if isinstance(value, dict) else
                     f"{key} {_words(value)}")  # fmt: skip
    return " ".join(parts)


def _then(term: dict[str, Any]) -> str:
    parts = []
    if term["relative_to"] != "zero":
        parts.append(f"- {_words(term['relative_to'])}")
    order = ["clip", "scale"] if term.get("order") != "scale_clip" else ["scale", "clip"]
    for key in ("wrap", "nonfinite", *order, "offset"):
        if key in term:
            parts.append(f"{key} {_words(term[key])}")
    return ", ".join(parts) or "as it is"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items())
    if isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value):
        return _repeated([f"{v:g}" for v in value])
    if isinstance(value, list):
        parts = [f"({_words(one)})" if isinstance(one, dict) else _words(one) for one in value]
        return "[" + ", ".join(parts) + "]"
    if value is None:
        return "open"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _repeated(texts: list[str]) -> str:
    """Shorten repeated texts: 1 1 1 0 0 becomes `1 x3, 0 x2`."""
    runs = [(text, len(list(group))) for text, group in groupby(texts)]
    return "[" + ", ".join(t if n == 1 else f"{t} x{n}" for t, n in runs) + "]"


def _runs(index: list[int]) -> str:
    return "[" + " ".join(str(k) for k in index) + "] of joint_names"


def _action(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=f"action (last_action: {found['last_action']})", title_justify="left")
    for column in ("tensor", "slice", "kind", "elements", "raw to target"):
        table.add_column(column, overflow="fold")
    for one in found["action"]:
        rounds = one.get("round", {}).get("of", "")
        parts = [f"{key} {_words(one[key])}" for key in ("squash", "clip_raw") if key in one]
        parts += [f"round {_words(one['round']['step'])}"] if rounds == "raw" else []
        parts += [f"limit_torque {_words(one['limit_torque'])}"] if "limit_torque" in one else []
        parts.append(f"* {_words(one['scale'])}")
        if any(one["offset"]):
            parts.append(f"+ {_words(one['offset'])}")
        if one.get("relative_to", "zero") != "zero":
            parts.append(f"+ {one['relative_to']}")
        last_stages = ("rotate", "clip", "ema", "argmax")
        parts += [f"{key} {_words(one[key])}" for key in last_stages if key in one]
        parts += [f"round {_words(one['round']['step'])}"] if rounds == "target" else []
        first, last = one["slice"]
        table.add_row(escape(str(one["tensor"])), escape(f"[{first}:{last}]"), one["kind"],
                      f"{len(one['elements'])}", escape(", ".join(parts)))  # fmt: skip
    console.print(table)
    if "chunk" in found:
        console.print(f"  chunk: {escape(_words(found['chunk']))}", soft_wrap=True)


def _joints(console: Console, found: dict[str, Any]) -> None:
    if not found["joints"]:
        return
    keys = [key for key in ("default_joint_pos", "stiffness", "damping") if key in
            found["joints"][0]]  # fmt: skip
    table = Table(title="joints", title_justify="left")
    for column in ("#", "policy", "robot", *keys, "observed at", "command"):
        side: Any = "right" if column in ("#", *keys) else "left"
        table.add_column(column, justify=side, overflow="fold")
    for one in found["joints"]:
        robot = one["robot_name"] if one["robot_name"] != one["name"] else "same"
        if one["sign"] != 1.0 or one["offset"] != 0.0:
            robot += f" ({one['sign']:+g}, offset {one['offset']:g})"
        command = ", ".join(_command(c) for c in one["commands"]) or "none"
        table.add_row(str(one["index"]), escape(one["name"]), escape(robot),
                      *(f"{one[key]:g}" for key in keys), escape(" ".join(one["observed"])),
                      escape(command))  # fmt: skip
    console.print(table)


def _command(given: dict[str, Any]) -> str:
    text = f"{given['kind']}[{given['element']}] = {given['scale']:g} raw"
    if given["offset"]:
        text += f" {'+' if given['offset'] > 0 else '-'} {abs(given['offset']):g}"
    if given["relative_to"] in ("previous_target", "measured"):
        text += f" + {given['relative_to']}"
    return text


def _statistics(console: Console, found: dict[str, Any]) -> None:
    for one in found["statistics"]:
        low, high = one["clip"]
        clip = "" if low is None and high is None else f", clip [{_words(low)}, {_words(high)}]"
        console.print(f"{escape(one['key'])}: {one['formula']}, eps {one['eps']:g}{escape(clip)}")
        for name, array in one["arrays"].items():
            known = [value for value in array if value is not None]
            span = f", {min(known):g} to {max(known):g}" if known else ""
            console.print(f"  {escape(name)}: {len(array)} numbers{span}")
