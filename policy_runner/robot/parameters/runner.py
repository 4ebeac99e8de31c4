"""The table of the runner's rows that do not depend on the policy."""

from __future__ import annotations

from policy_runner.robot.parameters.backend import BACKEND_TABLE
from policy_runner.robot.parameters.black_box import BLACK_BOX_ROWS
from policy_runner.robot.parameters.command import COMMAND_ROWS
from policy_runner.robot.parameters.inference import INFERENCE_ROWS
from policy_runner.robot.parameters.naming import NAMING_ROWS
from policy_runner.robot.parameters.parameter import Parameter
from policy_runner.robot.parameters.remote import REMOTE_ROWS
from policy_runner.robot.parameters.safety import SAFETY_ROWS
from policy_runner.robot.parameters.stop import STOP_ROWS

TABLE: tuple[Parameter, ...] = (
    Parameter(
        "policy",
        "",
        "policy spec: a policy.yaml, or the folder that contains one; set while active: reload",
        live=True,
    ),
    Parameter(
        "reload.require_verdict",
        False,
        "refuse a reload without a passed evaluation of exactly the new policy's files, as"
        " `policy-runner evaluate --require ... --verdict` writes it next to policy.yaml",
    ),
    Parameter(
        "autostart", False, "configure and activate automatically after the start", at_start=True
    ),
    Parameter(
        "end_if_refused",
        False,
        "end the process with status 2 if autostart is refused; otherwise the node waits",
        at_start=True,
    ),
    Parameter(
        "rate",
        None,
        "control rate; not set: decimation / control_dt of the policy",
        unit="Hz",
        low=1.0,
        high=1000.0,
        kind="float",
    ),
    Parameter("decimation", 1, "control ticks per inference", low=1, high=100),
    Parameter(
        "allow_rate_mismatch", False, "accept a rate other than the one the policy was trained at"
    ),
    *BACKEND_TABLE,
    *REMOTE_ROWS,
    *INFERENCE_ROWS,
    Parameter(
        "prompt",
        "",
        "text for the policy's text input; the newest of this and ~/prompt counts; empty: none",
        live=True,
    ),
    Parameter("dry_run", False, "do everything except command; commands go to ~/dry_run"),
    Parameter(
        "lockstep",
        False,
        "with use_sim_time: step when /clock and every input carry the same stamp, answer with it",
    ),
    Parameter(
        "max_message_bytes",
        1_048_576,
        "input messages larger than this are refused before they are decoded",
        unit="B",
        low=64,
        high=268_435_456,
    ),
    Parameter(
        "max_joint_names",
        512,
        "most names, other strings and messages in the lists of one input message; a message with"
        " more is refused before they are decoded",
        low=1,
        high=65_536,
    ),
    *COMMAND_ROWS,
    *STOP_ROWS,
    Parameter(
        "publish_vectors",
        False,
        "publish the model's input and output on ~/observation and ~/action",
    ),
    *SAFETY_ROWS,
    *BLACK_BOX_ROWS,
    Parameter(
        "realtime.priority",
        0,
        "SCHED_FIFO priority of the control thread; the rest of the process runs below; 0: none",
        low=0,
        high=98,
        at_start=True,
    ),
    Parameter(
        "realtime.cpu_affinity",
        (),
        "cores the process may use; empty: all",
        kind="int[]",
        low=0,
        high=1023,
        at_start=True,
    ),
    Parameter(
        "realtime.lock_memory",
        False,
        "keep the process's memory from being paged out",
        at_start=True,
    ),
    *NAMING_ROWS,
    Parameter(
        "diagnostics.period",
        1.0,
        "time between two messages on /diagnostics",
        unit="s",
        low=0.1,
        high=10.0,
        at_start=True,
    ),
    Parameter(
        "diagnostics.window",
        10_000,
        "number of samples in the latency percentiles",
        low=100,
        high=10_000,
    ),
    Parameter(
        "diagnostics.missed_warn",
        0.01,
        "share of missed deadlines in a diagnostics period that causes a warning",
        low=0.0,
        high=1.0,
        live=True,
    ),
    Parameter(
        "diagnostics.log_interval",
        5.0,
        "least time between two log lines about the same fault",
        unit="s",
        low=0.1,
        high=3600.0,
        live=True,
    ),
)
