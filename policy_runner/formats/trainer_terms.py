"""Maps the trainers' names of observation terms to terms of the spec.

The names are from Isaac Lab, mjlab and legged_gym style frameworks. An unknown name becomes a
TODO, because a wrong guess would run on the robot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policy_runner.formats.draft import todo
from policy_runner.formats.trainer_yaml import WrongValue, number, numbers

Term = dict[str, Any]

ANGULAR_VELOCITY = {
    *("base_ang_vel", "ang_vel", "ang_vel_body", "imu_ang_vel", "base_angular_velocity"),
    *("base_ang_vel_b", "angular_velocity", "robot_base_ang_vel"),
}
LINEAR_VELOCITY = {"base_lin_vel", "lin_vel", "base_linear_velocity", "linear_velocity"}
GRAVITY = {"projected_gravity", "gravity_vec", "gravity_orientation", "robot_projected_gravity"}
COMMAND = {
    *("velocity_commands", "velocity_command", "generated_commands", "commands", "command"),
    *("base_velocity", "vel_command", "twist"),
}
JOINT_POSITION = {"joint_pos", "joint_pos_rel", "dof_pos", "joint_positions", "joint_position"}
JOINT_VELOCITY = {"joint_vel", "joint_vel_rel", "dof_vel", "joint_velocities", "joint_velocity"}
LAST_ACTION = {"last_action", "actions", "action", "prev_actions", "last_actions", "prev_action"}

SAYS = (
    "terms by their trainer's names: angular velocity from the IMU in the body frame, linear "
    "velocity from odometry in the body frame, joint positions minus default_joint_pos, last "
    "action as the network's output"
)


def term_for(name: str, ranges: Sequence[Sequence[float]] | None = None) -> Term | str:
    """Return the spec's term for a trainer's name, without scale and clip; a TODO if unknown.

    Args:
        name: the trainer's name of the term.
        ranges: limits [low, high] of the commands vx, vy [m/s] and wz [rad/s].
    """
    plain = name.rsplit(".", 1)[-1].lower()
    if plain in ANGULAR_VELOCITY:
        return {"term": "field", "name": name, "input": "imu", "field": "angular_velocity"}
    if plain in LINEAR_VELOCITY:
        return {"term": "field", "name": name, "input": "odom", "field": "twist.twist.linear"}
    if plain in GRAVITY:
        return {"term": "projected_gravity", "name": name, "input": "imu"}
    if plain in COMMAND:
        term = {"term": "velocity_command", "name": name, "input": "cmd_vel"}
        return {**term, **({"range": [list(pair) for pair in ranges]} if ranges else {})}
    if plain in JOINT_POSITION:
        term = {"term": "joint_position", "name": name, "input": "joint_states"}
        return {**term, "relative_to": "default_joint_pos"}
    if plain in JOINT_VELOCITY:
        return {"term": "joint_velocity", "name": name, "input": "joint_states"}
    if plain in LAST_ACTION:
        return {"term": "last_action", "name": name}
    return todo(f"a term that reads '{name}' (this name is not known here)")


def with_arithmetic(
    term: Term | str,
    clip: Any = None,
    scale: Any = None,
    scale_first: bool = False,
) -> Term | str:
    """Add the trainer's clip and scale to a term, if they change anything.

    Args:
        term: a term of the spec, or a TODO.
        clip: one number (both signs), [low, high], or a list of pairs.
        scale: one number, or a list.
        scale_first: the trainer scales before it clips.
    """
    if isinstance(term, str):
        said = [f"{key} {value}" for key, value in (("clip", clip), ("scale", scale)) if value]
        return f"{term}; the source says {', '.join(said)}" if said else term
    result = dict(term)
    limits = open_range(clip)
    if limits is not None:
        result["clip"] = limits
    factor = short(scale)
    if factor not in (None, 1.0):
        result["scale"] = factor
    if scale_first and "clip" in result and "scale" in result:
        result["order"] = "scale_clip"
    return result


def open_range(clip: Any, key: str = "clip") -> Any:
    """Return [low, high] or a list of pairs, with None for infinity; None if unbounded.

    Args:
        clip: one number (both signs), [low, high], or a list of pairs.
        key: its key in the file, for errors.

    Raises:
        WrongValue: anything else.
    """
    if clip is None:
        return None
    if isinstance(clip, (str, Mapping)):
        raise WrongValue(key, "one number, [low, high] or a list of pairs", repr(clip)[:80])
    if isinstance(clip, (int, float)):
        clip = [-abs(clip), abs(clip)]
    if clip and isinstance(clip[0], (list, tuple)):
        each = [_side(pair, key) for pair in clip]
        if all(pair == [None, None] for pair in each):
            return None
        return each[0] if all(pair == each[0] for pair in each) else each
    pair = _side(clip, key)
    return None if pair == [None, None] else pair


def _side(pair: Sequence[float], key: str) -> list[float | None]:
    if len(pair) != 2:
        raise WrongValue(key, "[low, high]", repr(pair)[:80])
    infinite = (float("inf"), float("-inf"), None)
    return [None if end in infinite else number(end, key) for end in pair]


def short(value: Any, key: str = "scale") -> Any:
    """Return one float if all elements of a list are equal, else a list of floats.

    Args:
        value: one number, a list, or None.
        key: its key in the file, for errors.

    Raises:
        WrongValue: anything else.
    """
    if isinstance(value, (list, tuple)):
        found = numbers(value, key)
        return found[0] if found and all(n == found[0] for n in found) else found
    return None if value is None else number(value, key)


def ranges_of(commands: Mapping[str, Any]) -> list[list[float]] | None:
    """Return [low, high] of vx, vy [m/s] and wz [rad/s]; None if there are none.

    Args:
        commands: the trainer's `commands`, for example {base_velocity: {ranges: ...}}.
    """
    for command in commands.values():
        ranges = command.get("ranges") if isinstance(command, Mapping) else None
        if isinstance(ranges, Mapping):
            found = [ranges.get(key) for key in ("lin_vel_x", "lin_vel_y", "ang_vel_z")]
            if all(isinstance(pair, Sequence) and len(pair) == 2 for pair in found):
                return [[float(end) for end in pair] for pair in found if pair is not None]
    return None


def history_of(lengths: Mapping[str, int], stack: str) -> dict[str, Any]:
    """Return the spec's history, oldest first, filled with the first value; {} if none.

    Args:
        lengths: number of frames by term.
        stack: "term" or "frame".
    """
    if all(length == 1 for length in lengths.values()):
        return {}
    same = len(set(lengths.values())) == 1
    length: Any = next(iter(lengths.values())) if same else dict(lengths)
    return {"stack": stack, "order": "oldest_first", "length": length, "fill": "repeat"}


def wrong_ids(key: str, ids: Sequence[int], count: int | None) -> str:
    """Return why these indices cannot be right, by key; '' if they can.

    Args:
        key: the key that lists them.
        ids: the indices.
        count: number of things that they count; None if unknown.
    """
    for k, index in enumerate(ids):
        if index < 0:
            return f"{key}[{k}] is {index}"
        if count is not None and index >= count:
            return f"{key}[{k}] is {index}, and there are {count}: 0 to {count - 1}"
        if index in ids[:k]:
            return f"{key}[{list(ids).index(index)}] and [{k}] are both {index}"
    return ""
