"""The section of a policy's card (README.md) with the verdict of the closed loop."""

from __future__ import annotations

from pathlib import Path

from policy_runner.cli.evaluate.picture import draw
from policy_runner.cli.evaluate.tables import margin_text, number_text
from policy_runner.core.errors import refuse
from policy_runner.export.card import table, with_section
from policy_runner.sim.evaluate.evaluation import Evaluation
from policy_runner.sim.evaluate.measured import Measured
from policy_runner.sim.evaluate.plan import CONDITIONS
from policy_runner.sim.evaluate.summary import FIGURES

TITLE, PICTURE = "Closed loop", "closed_loop.png"
_SHOWN = ("vx_rmse", "vy_rmse", "wz_rmse", "power", "cost_of_transport", "foot_slip", "most_tilt")


def write_section(found: Evaluation, spec: Path, measured: Measured | None = None) -> None:
    """Replace or add the section, and draw its picture next to the card.

    Args:
        found: see `Evaluation`.
        spec: `policy.yaml` or its folder.
        measured: figures of the robot, for the picture.

    Raises:
        Refusal: the folder has no card.
    """
    folder = spec if spec.is_dir() else spec.parent
    card = folder / "README.md"
    if not card.is_file():
        raise refuse(str(card), "--card", "the policy's card", "no such file")
    draw(found, folder / PICTURE, measured)
    text = card.read_text(encoding="utf-8")
    written = with_section(text, TITLE, section(found)).rstrip("\n")
    card.write_text(f"{written}\n", encoding="utf-8")


def section(found: Evaluation) -> list[str]:
    """The lines below the title."""
    figures, plan = found.figures, found.plan
    low, high = figures["fall_share_low"] or 0.0, figures["fall_share_high"] or 0.0
    differing = [
        f"{name} {span[0]:g} to {span[1]:g}"
        for name, span in plan.conditions.as_json().items()
        if span != [CONDITIONS[name].nominal] * 2
    ]
    commands = [f"{axis} {span[0]:g} to {span[1]:g}" for axis, span in plan.commands.items()]
    drawn = f"Drawn: {', '.join([*commands, *differing]) or 'nothing'}."
    lines = [
        f"`policy-runner evaluate` on the simulated robot {found.subject['robot']['name']}: "
        f"{figures['falls']} falls in {plan.episodes} episodes of {plan.seconds:g} s "
        f"(95 %: {100 * low:.0f} to {100 * high:.0f} % of episodes). {drawn}",
        "",
    ]
    rows = []
    for name in _SHOWN:
        value = figures[name]
        if value is not None:
            rows.append((name, f"{number_text(value)} {FIGURES[name].unit}", FIGURES[name].text))
    lines += table(("figure", "", ""), rows)
    if found.sweeps:
        lines += ["", *(f"- {margin_text(one)}" for one in found.sweeps)]
    lines += [f"- {text}" for text, _ in found.comparisons]
    return [*lines, "", f"![Falls over each condition, with 95 % intervals]({PICTURE})"]
