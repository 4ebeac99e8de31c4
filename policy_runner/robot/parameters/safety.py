"""The runner's rows about safety: arming, faults, and recovery from faults."""

from __future__ import annotations

from policy_runner.robot.parameters.parameter import Parameter

SAFETY_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "require_arming",
        True,
        "after activation no command is published until ~/arm; false is for simulations",
    ),
    Parameter(
        "safety.require_guard",
        False,
        "refuse ~/arm while no policy_runner_guard is heard; needs require_arming",
        live=True,
    ),
    Parameter(
        "safety.max_tilt",
        0.0,
        "angle between any measured gravity and upright that causes SAFE_STOP; 0: not checked",
        unit="rad",
        low=0.0,
        high=3.15,
        live=True,
    ),
    Parameter(
        "safety.hold_recover",
        0.2,
        "time without a fault after which HOLD becomes RUN again",
        unit="s",
        low=0.0,
        high=60.0,
        live=True,
    ),
    Parameter(
        "safety.safe_stop_after",
        0.0,
        "HOLD for longer than this becomes SAFE_STOP; 0: never",
        unit="s",
        low=0.0,
        high=3600.0,
        live=True,
    ),
    Parameter(
        "safety.recover",
        "armed",
        "SAFE_STOP ends when ~/arm is called (armed), or by itself (auto; for demonstrations)",
        choices=("armed", "auto"),
        live=True,
    ),
    Parameter(
        "safety.reset_after",
        0.5,
        "histories and recurrent state are reset after a gap of this length without inference",
        unit="s",
        low=0.0,
        high=3600.0,
        live=True,
    ),
    Parameter(
        "safety.stamp_tolerance",
        0.5,
        "header stamps may lead the clock by this, and lag by max_age plus this; else a warning",
        unit="s",
        low=0.0,
        high=3600.0,
        live=True,
    ),
    Parameter(
        "safety.late_inferences",
        10,
        "consecutive inferences longer than their period: SAFE_STOP; wall clock only; 0: never",
        low=0,
        high=10_000,
        live=True,
    ),
    Parameter(
        "safety.late_ticks",
        25,
        "consecutive ticks that each skipped a deadline: HOLD; wall clock only; 0: never",
        low=0,
        high=10_000,
        live=True,
    ),
    Parameter(
        "safety.executor_timeout",
        2.0,
        "SAFE_STOP when the executor (services, parameters) is silent for longer; 0: never,"
        " else at least 1.5",
        unit="s",
        low=0.0,
        high=60.0,
        live=True,
    ),
    Parameter(
        "safety.callback_failures",
        10,
        "exceptions in callbacks within a minute that cause SAFE_STOP; 0: never",
        low=0,
        high=1000,
        live=True,
    ),
    Parameter(
        "safety.second_commander",
        "warn",
        "while another node publishes a command topic: warn, HOLD or SAFE_STOP; ~/arm is refused"
        " in any case",
        choices=("warn", "hold", "safe_stop"),
        live=True,
    ),
    Parameter(
        "estop.topics",
        ("~/estop",),
        "topics of the emergency stop, one for each source, since each is latched separately",
        kind="str[]",
        at_start=True,
    ),
    Parameter(
        "estop.quiet_time",
        1.0,
        "how long a pressed topic with several publishers must be without a true before ~/arm"
        " releases it",
        unit="s",
        low=0.0,
        high=60.0,
        live=True,
    ),
    Parameter(
        "safety.position_margin",
        None,
        "a position joint measured further than this outside its limits causes SAFE_STOP;"
        " not set: not checked",
        unit="rad",
        low=0.0,
        high=10.0,
        kind="float",
    ),
)
