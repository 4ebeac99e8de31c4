"""MuJoCo's window on the simulated robot, if there is a screen."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from policy_runner.sim.plant.plant import Plant

FRAME_S = 1.0 / 30.0


class Window:
    """A window, opened by the constructor; `problem` says why it is missing, else ''."""

    def __init__(self, plant: Plant) -> None:
        self.problem = ""
        self._viewer: Any = None
        self._next_frame = 0.0
        self._threads: list[threading.Thread] = []
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            self.problem = "viewer: there is no screen (DISPLAY is not set); continuing without it"
            return
        try:
            from mujoco import viewer

            before = set(threading.enumerate())
            self._viewer = viewer.launch_passive(
                plant.model, plant.data, show_left_ui=False, show_right_ui=False
            )
            self._viewer.cam.type = 1  # tracking
            self._viewer.cam.trackbodyid = plant.model.body(plant.base).id
            self._viewer.cam.distance = 2.5
            self._threads = [thread for thread in threading.enumerate() if thread not in before]
        except Exception as error:  # noqa: BLE001 - the robot must run even without a window
            self.problem = f"viewer: could not be opened ({error}); continuing without it"
            self._viewer = None

    def show(self) -> None:
        """Draw the present state, at most 30 times a second."""
        now = time.monotonic()
        if self._viewer is not None and now >= self._next_frame and self._viewer.is_running():
            self._next_frame = now + FRAME_S
            self._viewer.sync()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._viewer is not None:
            self._viewer.close()
            # Its thread may still draw: the process would crash if it ended before that thread.
            for thread in self._threads:
                thread.join(2.0)
