"""Drafts an ONNX model without metadata. Only names and shapes are known; the rest is a TODO.

A recurrent state is found by the wiring of the graph, or by its tensors' names, as in rsl_rl's
exports: `h_in`, `c_in` -> `h_out`, `c_out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.formats.draft import Draft, model_keys, normalization_of, todo

NORMALIZATION = "none, in_model, or the preset and statistics: is the input normalized outside?"
# Inputs of motion-tracking policies that count inferences (whole_body_tracking, exploy).
COUNTERS = ("time_step", "ctx.step_count")
_NAMES = (("_in", "_out"), (".in", ".out"), ("_0", "_n"), ("0", "n"))
LAST_ACTION = "raw, clipped, target or limited: what the policy saw as its last action"


def state_pairs(model: ModelFacts) -> list[tuple[str, str]]:
    """Return (input, output) of each recurrent state, in the order of the inputs.

    The wiring of LSTM, GRU and RNN nodes comes first; it does not depend on names. Then names:
    `h_in` and `h_out`, `h.in` and `h.out`, `h_0` and `h_n`. Shape and type must be equal.
    """
    wired = dict(model.recurrent)
    outputs = {one.name: one for one in model.outputs if one.name not in wired.values()}
    pairs = []
    for one in model.inputs:
        if one.name in wired:
            pairs.append((one.name, wired[one.name]))
            continue
        for begin, end in _NAMES:
            name = one.name.removesuffix(begin) + end
            found = outputs.get(name) if one.name.endswith(begin) else None
            if found is not None and (found.shape, found.dtype) == (one.shape, one.dtype):
                pairs.append((one.name, name))
                break
    return pairs


def draft_plain(model: ModelFacts) -> Draft:
    """Draft a model without any other file."""
    draft = Draft("ONNX without metadata", [model.path])
    pairs = state_pairs(model)
    fed = [one for one in model.inputs if one.name not in {pair[0] for pair in pairs}]
    given = [one for one in model.outputs if one.name not in {pair[1] for pair in pairs}]
    spec = draft.spec
    spec.update(model_keys(model, model.path.parent.name))
    spec["control_dt"] = todo("seconds between two inferences in training")
    names = todo("the joint names in the policy's order")
    spec["joint_names"] = names
    spec["inputs"] = todo(
        "name: {type: package/msg/Name, topic: ...} of every message the terms read"
    )
    spec["observation"] = [observation(one, model) for one in fed]
    if pairs:
        spec["state"] = [{"input": one, "output": other} for one, other in pairs]
        named = ", ".join(f"{one} takes {other}" for one, other in pairs)
        draft.assumed.append(f"recurrent state: {named}, zero after a reset")
    for one, other in _gated(model, fed, given):
        draft.notes.append(
            f"'{one}' and '{other}' may be a recurrent state: the graph carries one to the other "
            "through a cell of plain nodes; if so, name them in `state`"
        )
    if len(given) == 1:
        spec["action"] = [action(given[0], names)]
    else:
        # The first output is often not the action: exporters also write the normalized input.
        listed = ", ".join(str(one) for one in given)
        spec["action"] = todo(f"the outputs that command, of {listed}, each with its groups")
        spec["ignored_outputs"] = todo(f"the outputs that command nothing, of {listed}")
    spec["last_action"] = todo(LAST_ACTION)
    draft.notes.append("stiffness, damping and default_joint_pos: add them where you know them")
    return draft


def _gated(
    model: ModelFacts, fed: Sequence[TensorFacts], given: Sequence[TensorFacts]
) -> list[tuple[str, str]]:
    """(input, output) of one shape between which there is a way without weights and one with.

    A GRU of plain nodes has both, and so has a network that adds its input to its output. So this
    is a remark, and no state.
    """
    inputs, outputs = {one.name for one in fed}, {one.name for one in given}
    return [
        pair
        for pair, way in model.paths.items()
        if way.gated and pair[0] in inputs and pair[1] in outputs
    ]


def observation(tensor: TensorFacts, model: ModelFacts) -> dict[str, Any]:
    """Draft an input; only its name and shape are known."""
    if tensor.name in COUNTERS:
        return {"tensor": tensor.name, "whole": {"term": "step_counter", "name": tensor.name}}
    size = f"{tensor.size} numbers" if tensor.size is not None else "numbers"
    return {
        "tensor": tensor.name,
        "terms": todo(f"the terms, in order, that give the {size} of {tensor}"),
        "normalization": normalization_of(model, tensor.name, todo(NORMALIZATION)),
    }


def action(tensor: TensorFacts, names: object) -> dict[str, Any]:
    """Draft an output; only its name and shape are known.

    Args:
        tensor: facts of the output.
        names: the draft's joint names, or a TODO.
    """
    size = f"{tensor.size} " if tensor.size is not None else ""
    return {
        "tensor": tensor.name,
        "groups": [
            {
                "kind": todo(f"position, velocity, effort, twist or value: what {tensor} commands"),
                "joints": names,
                "scale": todo(f"target = raw * scale + offset: one number, or {size}of them"),
                "offset": todo("see scale; for positions usually relative_to: default_joint_pos"),
            }
        ],
    }
