"""Drafts the chunk of a LeRobot policy: its `config.json`, and what the model's tensors show.

`config.json` has `type` (act, diffusion, smolvla, pi0, ...), `chunk_size` or `horizon`,
`n_action_steps`, `n_obs_steps`, `temporal_ensemble_coeff`, `num_steps` and `rtc_config`. The rate
is in the data set's `meta/info.json`, or in `train_config.json` of a simulated environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import MOST_FOREIGN, read_bounded
from policy_runner.core.model import ModelFacts, TensorFacts
from policy_runner.formats.draft import Draft, todo

CONFIG = "config.json"
_DT = "seconds between two actions of a chunk, 1/fps of the data set"
_RATES = (
    *(("meta/info.json", ("fps",)), ("info.json", ("fps",))),
    ("train_config.json", ("env", "fps")),
)
_SCHEDULES = {"ZEROS": "zeros", "ONES": "ones", "LINEAR": "linear", "EXP": "exp"}


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        Refusal: not valid JSON.
    """
    try:
        return json.loads(read_bounded(path, MOST_FOREIGN, "JSON"))
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of too many digits
        raise refuse(str(path), "", "JSON", " ".join(str(error).split())) from error


def draft_chunk(draft: Draft, model: ModelFacts, folder: Path, size: int) -> None:
    """Add `chunk` to a draft, if the model's action output is one.

    Args:
        draft: with one action tensor of one group; changed.
        model: the model's facts.
        folder: of the policy; its other files may be missing.
        size: elements of one action, from the statistics.
    """
    action = draft.spec["action"][0]
    output = model.output(action["tensor"])
    group = action["groups"][0]
    steps, width = _shape(output, size)
    if not steps:
        if output is not None and output.size not in (None, size):
            group["slice"] = [0, size]
            draft.assumed.append(f"the first {size} elements of {output} are the action")
        return
    config = _mapping(folder / CONFIG)
    fps = _fps(folder)
    chunk: dict[str, Any] = {"dt": 1.0 / fps if fps else todo(_DT)}
    if fps:
        draft.spec["control_dt"] = 1.0 / fps
    if output is not None and len([d for d in output.shape if d != 1]) < 2:
        chunk["steps"] = steps
    if width != size:
        group["slice"] = [0, size]
        draft.assumed.append(f"elements {size} to {width - 1} of an action are padding")
    _counts(draft, chunk, config, steps)
    _flow(draft, chunk, config, model, steps * width)
    draft.spec["chunk"] = chunk
    kind = config.get("type", "not known")
    draft.assumed.append(f"{output} is a chunk of {steps} actions; type of the policy: {kind}")


def _shape(output: TensorFacts | None, size: int) -> tuple[int, int]:
    """(T, A) of a chunk; (0, 0) for one action."""
    if output is None:
        return 0, 0
    fixed = [d for k, d in enumerate(output.shape) if not (k == 0 and d in (None, 1))]
    if len(fixed) == 2 and fixed[0] is not None and fixed[1] is not None and fixed[0] > 1:
        return (fixed[0], fixed[1]) if fixed[1] >= size else (0, 0)
    count = output.size
    if len(fixed) == 1 and count is not None and count > size and count % size == 0:
        return count // size, size
    return 0, 0


def _mapping(path: Path) -> Mapping[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, Mapping):
        raise refuse(str(path), "", "a mapping of keys", type(content).__name__)
    return content


def _fps(folder: Path) -> float:
    """Actions per second; 0 if no file says it."""
    for name, keys in _RATES:
        content: Any = _mapping(folder / name)
        for key in keys:
            content = content.get(key) if isinstance(content, Mapping) else None
        if content is not None:
            fps = float(content)
            if not 0.0 < fps < 10_000.0:
                raise refuse(str(folder / name), ".".join(keys), "a rate above 0", f"{content}")
            return fps
    return 0.0


def _counts(draft: Draft, chunk: dict[str, Any], config: Mapping[str, Any], steps: int) -> None:
    played = int(config.get("n_action_steps") or 0)
    observed = int(config.get("n_obs_steps") or 1)
    if config.get("type") == "diffusion" and steps == int(config.get("horizon") or 0):
        # The model counts from the oldest observation (generate_actions of DiffusionModel).
        chunk["observed_index"] = observed - 1
        chunk["n_action_steps"] = min(played or steps, steps - observed + 1)
        return
    coefficient = config.get("temporal_ensemble_coeff")
    if coefficient is not None:  # then n_action_steps is 1: a new chunk for every action
        chunk["seam"] = {"method": "temporal_ensemble", "coefficient": float(coefficient)}
    elif 2 <= played < steps:
        chunk["n_action_steps"] = played
    size = int(config.get("chunk_size") or steps)
    if size != steps:
        draft.notes.append(f"config.json has chunk_size {size}, the model's output {steps} actions")


def _flow(
    draft: Draft, chunk: dict[str, Any], config: Mapping[str, Any], model: ModelFacts, size: int
) -> None:
    """Find the noise and time inputs of a flow or diffusion head."""
    noise = [one for one in model.inputs if one.size == size and _is_noise(one.name)]
    times = [one for one in model.inputs if "time" in one.name.lower()]
    if len(noise) != 1:
        return
    made = {noise[0].name}
    count = config.get("num_steps") or config.get("num_inference_steps")
    if times:
        made.add(times[0].name)
        chunk["denoise"] = {
            "steps": int(count) if count else todo("number of Euler steps"),
            "input": noise[0].name,
            "time": times[0].name,
        }
        _rtc(chunk, config)
        draft.assumed.append(
            f"'{noise[0].name}' and '{times[0].name}' belong to one step of a flow whose time runs"
            " from 1 to 0"
        )
        if config.get("type") == "diffusion":
            draft.notes.append(
                "a diffusion scheduler is not a flow: export the whole loop, with the noise as an"
                " input"
            )
    else:
        chunk["noise"] = [{"tensor": noise[0].name}]
        draft.assumed.append(f"'{noise[0].name}' is standard normal noise")
    kept = [one for one in draft.spec["observation"] if one["tensor"] not in made]
    draft.spec["observation"] = kept


def _is_noise(name: str) -> bool:
    plain = name.lower()
    return "noise" in plain or plain in ("x", "x_t", "sample", "noisy_actions")


def _rtc(chunk: dict[str, Any], config: Mapping[str, Any]) -> None:
    given = config.get("rtc_config")
    trained = int(config.get("rtc_training_max_delay") or 0)
    if trained:
        chunk["rtc"] = {"method": "trained", "max_delay": trained}
    elif isinstance(given, Mapping) and given.get("enabled"):
        name = str(given.get("prefix_attention_schedule", "LINEAR")).split(".")[-1].upper()
        if name not in _SCHEDULES:
            expected = f"one of {', '.join(_SCHEDULES)}"
            raise refuse(CONFIG, "rtc_config.prefix_attention_schedule", expected, name)
        chunk["rtc"] = {
            "method": "guided",
            "schedule": _SCHEDULES[name],
            "max_gain": float(given.get("max_guidance_weight", 10.0)),
        }


def relative_elements(folder: Path, file: str, size: int) -> list[bool] | None:
    """Which elements of an action are relative to the state at the observation; None: none.

    Args:
        folder: of the policy.
        file: name of the preprocessor's file.
        size: elements of one action.
    """
    for step in _mapping(folder / file).get("steps") or []:
        if step.get("registry_name") != "relative_actions_processor":
            continue
        config = step.get("config") or {}
        if not config.get("enabled"):
            return None
        names = [str(name).lower() for name in config.get("action_names") or []]
        words = [str(word).lower() for word in config.get("exclude_joints") or [] if word]
        absolute = [any(word in name for word in words) for name in names[:size]]
        return [not one for one in absolute] + [True] * (size - len(absolute))
    return None
