"""Drafts a bundle of NVIDIA's LEAPP with one model: its YAML, ONNX and initial values.

    models: {<name>: {inputs, outputs: [{name, kind, shape, element_names, history_length}],
        parameters: {model_path, ...}}}
    pipeline: {feedback_connections or feedback_flow: {<model>/<output>: [<model>/<input>]},
        initial_values: <file>.safetensors, configs: {frequency}}

Written from the parser and the converters of isaac_ros_deploy (6ba2db9): config_parser.cpp,
input_term.cpp, message_to_tensor_converters.cpp, and its test bundles. `element_names` has a list
of names per axis; the last axis lists the joints. Quaternions of messages are x, y, z, w.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse
from policy_runner.core.model import ModelFacts
from policy_runner.formats.draft import Draft, model_keys, todo, used_inputs, well_formed
from policy_runner.formats.trainer_yaml import read_yaml

WXYZ = ["w", "x", "y", "z"]
TWIST = {"lin_x": "linear.x", "lin_y": "linear.y", "lin_z": "linear.z",
         "ang_x": "angular.x", "ang_y": "angular.y", "ang_z": "angular.z"}  # fmt: skip
BODY: dict[str, dict[str, Any]] = {
    "angular_velocity": {"term": "field", "input": "imu", "field": "angular_velocity"},
    "linear_acceleration": {"term": "field", "input": "imu", "field": "linear_acceleration"},
    "linear_velocity": {"term": "field", "input": "odom", "field": "twist.twist.linear"},
    "position": {"term": "field", "input": "odom", "field": "pose.pose.position"},
}
TARGETS = {"position": "position", "velocity": "velocity", "effort": "effort", "torques": "effort"}

# Kinds in the test bundles of isaac_ros_deploy.
OLDER = {"joint_pos_targets": "position", "joint_vel_targets": "velocity"}


def is_leapp(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file has this format."""
    models = content.get("models")
    return (
        isinstance(models, Mapping)
        and "pipeline" in content
        and all(isinstance(one, Mapping) and {"inputs", "outputs"} <= set(one)
                for one in models.values())
    )  # fmt: skip


def draft_leapp(path: Path, model: ModelFacts) -> Draft:
    """Draft a bundle's only model.

    Raises:
        Refusal: several models, or a key of the format is missing or has an invalid value.
    """
    content = read_yaml(path)
    names = list(content["models"])
    if len(names) != 1:
        remedy = "import each model from a bundle of its own, and join the specs"
        raise refuse(str(path), "models", "one model", ", ".join(map(str, names)), remedy)
    draft = Draft("LEAPP bundle", [path])
    with well_formed(str(path), "", "the keys of a LEAPP bundle"):
        _fill(draft, content, str(names[0]), model)
    return draft


def _fill(draft: Draft, content: Mapping[str, Any], name: str, model: ModelFacts) -> None:
    given, pipeline = content["models"][name], content.get("pipeline") or {}
    spec = draft.spec
    spec.update(model_keys(model, name))
    rate = (pipeline.get("configs") or {}).get("frequency")
    spec["control_dt"] = (
        round(1.0 / float(rate), 9) if rate else todo("seconds between two inferences in training")
    )
    known = (*given["inputs"], *given["outputs"])
    joints: list[str] = []
    for one in known:
        if "/joint/" in str(one.get("kind", "")):
            joints += [element for element in _elements(one) if element not in joints]
    spec["joint_names"] = joints
    states = _feedback(pipeline, name)
    fed = {input_ for _, inputs in states for input_ in inputs}
    observation = [_input(one) for one in given["inputs"] if one["name"] not in fed]
    spec["inputs"] = used_inputs(
        [{"terms": [one["whole"]]} for one in observation if isinstance(one["whole"], dict)]
    )
    spec["observation"] = observation
    if states:
        spec["state"] = [_state(draft, pipeline, name, input_, output)
                         for output, inputs in states for input_ in inputs]  # fmt: skip
    back = {output for output, _ in states}
    actions = [_output(one) for one in given["outputs"]]
    spec["action"] = [one for one in actions if one is not None] or todo("the outputs that command")
    unused = [str(one["name"]) for one, action in zip(given["outputs"], actions, strict=True)
              if action is None and one["name"] not in back]  # fmt: skip
    if unused:
        spec["ignored_outputs"] = todo(f"which of {', '.join(unused)} command nothing")
    spec["last_action"] = "raw"
    draft.assumed.append("the model takes raw signals and gives targets, without other arithmetic")
    path = str((given.get("parameters") or {}).get("model_path", ""))
    if path and Path(path).name != model.path.name:
        draft.notes.append(f"the bundle names the model '{path}', and {model.path.name} was taken")


def _elements(given: Mapping[str, Any]) -> list[str]:
    axes = given.get("element_names") or []
    return [str(one) for one in axes[-1]] if axes and isinstance(axes[-1], list) else []


def _feedback(pipeline: Mapping[str, Any], name: str) -> list[tuple[str, list[str]]]:
    flow = pipeline.get("feedback_connections") or pipeline.get("feedback_flow") or {}
    return [
        (
            str(output).removeprefix(f"{name}/"),
            [str(one).removeprefix(f"{name}/") for one in inputs],
        )
        for output, inputs in flow.items()
    ]


def _state(
    draft: Draft, pipeline: Mapping[str, Any], name: str, input_: str, output: str
) -> dict[str, Any]:
    state: dict[str, Any] = {"input": input_, "output": output}
    values = pipeline.get("initial_values")
    if isinstance(values, str) and values:
        state["initial"] = {"file": values, "key": f"{name}/{input_}"}
        note = f"the initial values are {values}: copy it next to the spec"
        if note not in draft.notes:
            draft.notes.append(note)
    return state


def _input(given: Mapping[str, Any]) -> dict[str, Any]:
    term = _term(str(given.get("kind", "")), _elements(given))
    history = int(given.get("history_length") or given.get("history") or 0)
    if term is None or history > 1:
        said = {key: given[key] for key in ("kind", "shape", "element_names", "history_length",
                                            "history") if given.get(key)}  # fmt: skip
        return {"tensor": given["name"], "whole": todo(f"the one term that gives {said}")}
    return {"tensor": given["name"], "whole": {**term, "name": str(given["name"])}}


def _term(kind: str, elements: list[str]) -> dict[str, Any] | None:
    what = kind.rsplit("/", 1)[-1]
    if kind.startswith("state/joint/") and what in ("position", "velocity", "effort"):
        joints: Any = elements or todo("the joints, in the order of the tensor")
        return {"term": f"joint_{what}", "input": "joint_states", "joints": joints}
    if kind == "state/body/rotation":
        layout = "wxyz" if elements == WXYZ else "xyzw"
        return {"term": "quaternion", "input": "imu", "layout": layout}
    if kind.startswith("state/body/") and what in BODY:
        return dict(BODY[what])
    if kind == "command/body/velocity":
        axes = [TWIST.get(one, one) for one in elements] or list(TWIST.values())
        if set(axes) <= set(TWIST.values()):
            return {"term": "velocity_command", "input": "cmd_vel", "axes": axes}
    return None


def _output(given: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = str(given.get("kind", ""))
    what = OLDER.get(kind, kind.rsplit("/", 1)[-1])
    if not (kind in OLDER or kind.startswith("target/joint/")) or what not in TARGETS:
        return None
    joints: Any = _elements(given) or todo(f"the joints of '{given['name']}', in its order")
    return {"tensor": given["name"], "groups": [{"kind": TARGETS[what], "joints": joints}]}
