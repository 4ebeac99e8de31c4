"""demo.png: the shipped policy catches a push, in MuJoCo's own rendering and as curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from policy_runner import load_policy
from policy_runner.cli.drawing.style import BLUE, GREEN, INK, ORANGE, RED, drawing
from policy_runner.sim.balancer import JOINT_NAMES
from policy_runner.sim.scenario import Scenario

ROOT = Path(__file__).resolve().parents[1]
SECONDS, SEED = 180.0, 0  # of the demo's scenario
AROUND_S = (1.0, 3.0)  # shown before and after the push
CALM_S = 2.5  # before the push without a change of the command
SIZE = (480, 460)  # of a rendering: height, width [pixels]


def drive(scenario: Scenario) -> dict[str, np.ndarray]:
    """Run the policy without ROS for `SECONDS`: time, angles, velocities, states by name."""
    policy = load_policy(ROOT / "models" / "balancer", ROOT / "config" / "balancer.yaml")
    robot = scenario.balancer
    rows: dict[str, list[Any]] = {name: [] for name in ("time", "pitch", "forward", "command",
                                                        "wheel", "push", "state")}  # fmt: skip
    for tick in range(round(SECONDS / scenario.tick_s)):
        now_ns = round(tick * scenario.tick_s * 1e9)
        read, (forward, yaw) = robot.read(), scenario.command
        imu = {"angular_velocity": read.gyro, "orientation": read.orientation_xyzw}
        policy.feed("imu", imu, now_ns)
        policy.feed("joint_states", {"name": JOINT_NAMES, "velocity": read.wheel_velocity}, now_ns)
        policy.feed("cmd_vel", {"twist.linear.x": forward, "twist.angular.z": yaw}, now_ns)
        command = policy.pipeline.step(now_ns).command
        scenario.tick(command)
        gravity = robot.projected_gravity
        rows["time"].append(scenario.time_s)
        rows["pitch"].append(np.degrees(np.arctan2(gravity[0], -gravity[2])))
        rows["forward"].append(robot.forward_velocity)
        rows["command"].append(forward)
        rows["wheel"].append(command[0] if command is not None else 0.0)
        rows["push"].append(float(np.linalg.norm(robot.data.xfrc_applied[:, :2])))
        rows["state"].append(robot.data.qpos.copy())
    policy.close()
    return {name: np.array(values) for name, values in rows.items()}


def render(scenario: Scenario, state: np.ndarray) -> np.ndarray:
    """The robot in one state, from its side: uint8 [height, width, 3]."""
    import mujoco

    robot = scenario.balancer
    robot.data.qpos[:] = state
    mujoco.mj_forward(robot.model, robot.data)
    camera = mujoco.MjvCamera()
    camera.lookat[:] = [state[0], state[1], 0.2]
    heading = np.degrees(robot.pose[2])
    camera.distance, camera.azimuth, camera.elevation = 1.1, heading + 105.0, -12.0
    with mujoco.Renderer(robot.model, *SIZE) as renderer:
        renderer.update_scene(robot.data, camera)
        pixels: np.ndarray = renderer.render()
    return pixels


def demo(path: Path) -> None:
    """Draw the push that tilts the robot furthest: three moments, and the curves around it."""
    from policy_runner.sim.balancer import Balancer

    scenario = Scenario(Balancer(), SEED)
    course = drive(scenario)
    time, pitch, push = course["time"], course["pitch"], course["push"]
    pushed = np.flatnonzero(push)
    starts = pushed[np.diff(pushed, prepend=-10) > 1]
    before, reach, after = (round(s / scenario.tick_s) for s in (CALM_S, 0.6, AROUND_S[1]))
    # Pushes between which the command stays, so that the curves show nothing else.
    whole = [k for k in starts if before <= k < len(time) - after]
    calm = [k for k in whole if np.ptp(course["command"][k - before : k + after]) == 0.0]
    first = max(calm, key=lambda k: np.abs(pitch[k : k + reach]).max())
    furthest = first + int(np.abs(pitch[first : first + reach]).argmax())
    moments = {
        "before the push": first - 1,
        f"{push[first]:.0f} N for 0.1 s: {abs(pitch[furthest]):.0f}° off": furthest,
        "caught": first + round(1.6 / scenario.tick_s),
    }
    time = time - time[first]
    # The floor is endless, the lamp is where the robot started.
    course["state"][:, :2] -= course["state"][first, :2]
    pyplot = drawing()
    figure = pyplot.figure(figsize=(10.0, 8.4), layout="constrained")
    grid = figure.add_gridspec(3, 3, height_ratios=[2.6, 1, 1])
    for k, (title, at) in enumerate(moments.items()):
        axes = figure.add_subplot(grid[0, k])
        axes.imshow(render(scenario, course["state"][at]))
        axes.set(title=f"{'ABC'[k]}   {title}", xticks=[], yticks=[])
    shown = (time >= -AROUND_S[0]) & (time <= AROUND_S[1])
    above = figure.add_subplot(grid[1, :])
    below = figure.add_subplot(grid[2, :], sharex=above)
    above.plot(time[shown], pitch[shown], color=BLUE)
    above.set_title("pitch of the body [°]")
    below.plot(time[shown], course["command"][shown], color=INK, linestyle="--", label="command")
    below.plot(time[shown], course["forward"][shown], color=GREEN, label="measured")
    below.set_title("forward velocity [m/s]")
    below.set_xlabel("time after the push began [s]")
    below.set_xlim(-AROUND_S[0], AROUND_S[1])
    below.legend(loc="best", fontsize="small")
    for axes in (above, below):
        axes.margins(y=0.2)
        axes.axvspan(0.0, 0.1, color=RED, alpha=0.3)
        for k, at in enumerate(moments.values()):
            axes.axvline(time[at], color=ORANGE, linewidth=1.0)
            axes.text(time[at] - 0.02, axes.get_ylim()[1], "ABC"[k], va="top", ha="right",
                      fontweight="bold")  # fmt: skip
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    _fewer_colours(path)


def _fewer_colours(path: Path) -> None:
    """A third of the bytes, and nothing that one sees."""
    from PIL import Image

    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
