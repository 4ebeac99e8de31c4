"""The tables of docs/reference/topics_and_services.md and diagnostics.md, from running nodes.

`python tools/interface_tables.py` rewrites them; a test compares. Names, types, QoS and keys come
from the nodes; the meanings are here, one for each name.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from running_nodes import GUARD, ROBOT, RUNNER, SIDECAR, Endpoint, Found, found

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = (REFERENCE / "topics_and_services.md", REFERENCE / "diagnostics.md")
END = "<!-- end -->"
# The shipped policy's own inputs; on the page they stand for those of any policy.
INPUTS = ("/imu/data", "/joint_states", "/cmd_vel")

MEANINGS: dict[str, dict[str, str]] = {
    RUNNER: {
        "the policy's inputs": "keep last 10; the control thread itself takes them;"
        " `qos_overrides` work. A [text](../guides/text_prompts.md), such as `~/prompt`, is"
        " latched",
        "/clock": "with `use_sim_time`; the control thread itself takes it",
        "~/estop": "emergency stop: `true` stops in the same tick and latches. Depth 2000; the"
        " control thread itself takes it. `estop.topics` names other or more topics",
        "~/guard": "report of the [guard](../guides/guard.md): whether it watches, and whether it"
        " has stopped the outputs",
        "/joint_commands": "the command, depth 1; its type and further names:"
        " [command topics](#command-topics)",
        "~/dry_run": "with `dry_run`: the command, instead of `joint_commands`",
        "~/joint_gains": "latched: stiffness and damping of training, by joint name (layout"
        " labels); only if the policy spec has gains",
        "~/observation": "with `publish_vectors`: what goes into the model, elements named in the"
        " layout; `~/observation/<tensor>` where the model has several such inputs",
        "~/action": "with `publish_vectors`: what comes out of the model, elements named in the"
        " layout",
        "~/status": "[heartbeat](#heartbeat)",
        "~/outputs": "latched, for the guard: every topic that is commanded, the message that"
        " stops it, and the longest silence that is not a fault",
        "/diagnostics": "once a second (`diagnostics.period`): [diagnostics](diagnostics.md)",
        "~/arm": "arms a robot that waits for it, and releases a latched `SAFE_STOP`. The control"
        " thread answers, with the reason if it refuses",
        "~/disarm": "`SAFE_STOP` until `~/arm`",
        "~/dump": "unless `black_box.seconds` is 0: writes the black box to a file; the answer is"
        " its path",
        "~/reset": "resets histories, recurrent state and the last action",
        "~/reload": "reads the policy again and swaps it in between two ticks. The answer comes"
        " when it runs, or with every reason why the old policy continues:"
        " [reload](../guides/reload.md)",
    },
    GUARD: {
        "/policy_runner/status": "the runner's heartbeat",
        "/policy_runner/outputs": "what to stop, and how",
        "/policy_runner/estop": "every topic of the runner's `estop.topics`",
        "/policy_runner/guard": "its report to the runner: twice a second, and at once when it"
        " acts",
        "/joint_commands": "the stops, only while it acts; every command topic of the runner",
        "/policy_runner/dry_run": "created in a dry run; the guard does not act then",
        "/diagnostics": "the same report: [diagnostics](diagnostics.md)",
    },
    SIDECAR: {
        "/diagnostics publishes": "the computer's state, once a second (`period`)",
        "/diagnostics subscribes": "the runner's statuses, which it joins",
        "/joint_commands": "rate and jitter of the commands, measured from outside"
        " (`policy.command_topic`)",
    },
    ROBOT: {
        "/imu/data": "orientation, angular velocity, linear acceleration. These sensors are the"
        " balancer's; another robot has those of its [robot.yaml](robot_file.md#sensors)",
        "/joint_states": "position, velocity and effort of the joints",
        "/odom": "pose and velocity of the base",
        "/robot_description": "latched: the URDF of robot.yaml (`description`), or of a robot that"
        " is a URDF; for viewers and `limits.urdf: topic`",
        "/cmd_vel": "random velocity commands, or `twist` with `robot`; not with `commands: none`",
        "/clock": "in lockstep, and with `publish_clock`",
        "/diagnostics": "how well it balances: [diagnostics](diagnostics.md)",
        "/joint_commands": "the commands: `command_type`, `command_twist_type` and"
        " `command_kinds` say which; reliable in lockstep",
        "/policy_runner/joint_gains": "the runner's gains, for position and velocity commands",
        "/policy_runner/status": "the runner's heartbeat: the motors stop when it is silent for"
        " `heartbeat_timeout`",
    },
}

STATUSES: dict[str, str] = {
    f"{RUNNER}: loop": "rate, missed deadlines, and how long each part of a tick takes; what the"
    " system granted: priority, cores, locked memory",
    f"{RUNNER}: inputs": "age and rate of every input. The message says why an input does not"
    " arrive: no publisher, another type, an incompatible QoS, a joint never seen. It also reports"
    " wrong header stamps, too many publishers, publishers of another type or too slow ones, and"
    " the publishers of the emergency stop",
    f"{RUNNER}: inference": "the provider that is really used, how long an inference takes, and how"
    " often it took longer than a period; with a switch also `policy`, the one that commands, and"
    " `changes of policy`; with a model on a server also [its answers and"
    " failures](../guides/remote_policies.md#what-you-see)",
    f"{RUNNER}: safety": "decision, reason, whether the robot is armed; counts of holds, safe"
    " stops, [exempt steps](../explanation/limits_and_stops.md#exempt-from-the-rate-limit) and"
    " limit hits per joint. The message also names receivers that cannot hear the commands, and"
    " other nodes that command",
    f"{RUNNER}: model": "which policy, with its sha256; what runs it, where, in which precision,"
    " and why that was chosen; the last reload. Without a policy: why *configure* was refused",
    f"{RUNNER}: engine": "only with `build_in_configure`: how far the build of a TensorRT engine"
    " is, and how it ended",
    f"{RUNNER}: status": "the heartbeat, on `~/status` only",
    f"{GUARD}: guard": "whether the guard hears the runner, and whether it has stopped the outputs;"
    " also on `policy_runner/guard`",
    f"{SIDECAR}: cpu": "load and clocks of the cores",
    f"{SIDECAR}: memory": "memory, swap, and the clock of the memory controller",
    f"{SIDECAR}: temperature": "the hottest sensor, its margin to the board's own trip, and every"
    " sensor",
    f"{SIDECAR}: disk": "the file systems of `disk.paths`",
    f"{SIDECAR}: power": "total power, the budget, and every rail",
    f"{SIDECAR}: throttling": "whether heat or current limits the clocks now, and the counters of"
    " over-current events",
    f"{SIDECAR}: gpu": "load, clock, memory, temperature",
    f"{SIDECAR}: engines": "clocks of a Jetson's engines, where the sidecar runs as root",
    f"{SIDECAR}: fan": "drive, speed and default profile",
    f"{SIDECAR}: board": "which board, L4T and JetPack; its power mode",
    f"{SIDECAR}: policy": "the runner's statuses and the computer's, joined in one sentence for an"
    " operator",
    f"{ROBOT}: balance": "how long the robot has been upright, how well it follows its velocity"
    " commands, and what it ignored; of a robot from a file its place, tilt and velocity, or its"
    " task",
}
_NAMES = (
    (r"^(cmd_vel|imu|joint_states) ", "<input> "),
    (r"\bleft_wheel_joint\b|\bright_wheel_joint\b", "<joint>"),
    (r"^zone ", "<sensor> "),
    (r"^RAIL ", "<rail> "),
    (r"^cpu0 ", "cpu<n> "),
    (r"^oc1 ", "oc<n> "),
    (r"^/ ", "<path> "),
)
_PERCENTILE = re.compile(r"^(.*) (p50|p95|p99|p99\.9|max) \[us\]$")


def meaning(row: Endpoint) -> str:
    """What an endpoint is for.

    Raises:
        KeyError: There is no meaning for it here.
    """
    known = MEANINGS[row.node]
    name = "the policy's inputs" if _is_input(row) else row.name
    return known.get(f"{name} {row.kind}") or known[name]


def _is_input(row: Endpoint) -> bool:
    return row.node == RUNNER and row.kind == "subscribes" and row.name in INPUTS


def topic_table(endpoints: Iterable[Endpoint], node: str) -> str:
    """Topics of a node: what it subscribes, then what it publishes."""
    rows = []
    for row in sorted(endpoints, key=lambda one: (one.kind != "subscribes", one.name)):
        if row.node != node or row.kind == "serves":
            continue
        name, kind = f"`{row.name.removeprefix('/') if _relative(row) else row.name}`", row.type
        if _is_input(row):
            name, kind = "the policy's inputs", "as the policy spec says"
        line = f"| {name} | {row.kind} | {kind} | {row.qos} | {meaning(row)} |"
        if line not in rows:
            rows.append(line)
    head = ["| topic | the node | type | QoS | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _relative(row: Endpoint) -> bool:
    return row.name not in ("/diagnostics", "/clock")


def service_table(endpoints: Iterable[Endpoint], node: str) -> str:
    """Services of a node."""
    rows = [
        f"| `{row.name}` | {row.type} | {meaning(row)} |"
        for row in sorted(endpoints)
        if row.node == node and row.kind == "serves"
    ]
    return "\n".join(["| service | type | meaning |", "|---|---|---|", *rows]) + "\n"


def general(keys: Iterable[str]) -> list[str]:
    """Keys with names of joints, inputs and sensors replaced, and percentiles together."""
    shown: list[str] = []
    for key in keys:
        for pattern, name in _NAMES:
            key = re.sub(pattern, name, key)
        if match := _PERCENTILE.match(key):
            start, last = f"{match[1]} p50", shown[-1] if shown else ""
            if last.startswith(start):
                shown[-1] = last.replace(" [us]", f", {match[2]} [us]")
                continue
        if key not in shown:
            shown.append(key)
    return shown


def status_table(statuses: Mapping[str, list[str]], node: str) -> str:
    """Statuses of a node, with their keys."""
    rows = []
    for name, says in STATUSES.items():
        if name.startswith(f"{node}: "):
            keys = ", ".join(f"`{key}`" for key in general(statuses[name]))
            rows.append(f"| `{name}` | {says} | {keys} |")
    return "\n".join(["| status | what it says | keys |", "|---|---|---|", *rows]) + "\n"


def engine_keys() -> list[str]:
    """The keys of the status `engine`, from the code: no engine is built for a page."""
    path = ROOT / "policy_runner" / "ros" / "runner" / "engine_wait.py"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "make_status":
            keys = next(one for one in node.args if isinstance(one, ast.Dict)).keys
            return [str(ast.literal_eval(key)) for key in keys if key is not None]
    raise ValueError(f"{path}: expected a call of make_status, got none")


def tables(facts: Found) -> dict[str, str]:
    """Markdown tables by the name that marks their place."""
    statuses = {**facts.statuses, f"{RUNNER}: engine": engine_keys()}
    found_tables = {f"services of {RUNNER}": service_table(facts.endpoints, RUNNER)}
    for node in (RUNNER, GUARD, SIDECAR, ROBOT):
        found_tables[f"topics of {node}"] = topic_table(facts.endpoints, node)
        found_tables[f"statuses of {node}"] = status_table(statuses, node)
    return found_tables


def with_tables(text: str, made: Mapping[str, str]) -> str:
    """A page with every marked table replaced by the present one."""
    for name, table in made.items():
        begin = f"<!-- {name}: written by tools/interface_tables.py -->\n"
        before, mark, after = text.partition(begin)
        if mark:
            text = before + begin + table + END + after.partition(END)[2]
    return text


def main() -> int:
    """Rewrite the tables of both pages."""
    made = tables(found())
    for page in PAGES:
        page.write_text(with_tables(page.read_text("utf-8"), made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
