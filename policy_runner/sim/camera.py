"""Images of a plant, rendered off screen: through EGL, which needs no screen and no GPU.

The settings are cheap by default: no shadows, no reflections, no multisampling. A CPU renders
320 x 240 pixels at 20 to 150 images a second with them, and at 3 to 17 without.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.sensor_keys import CameraSensor

Pixels = npt.NDArray[np.uint8]
_MOST_GEOMS = 10_000
_COLLISION, _VISUAL = 3, 2  # groups of geoms
_COSTLY = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_HAZE,
)


@dataclass(frozen=True)
class RenderedImage:
    """The fields of a sensor_msgs/Image that the policy's terms read, without ROS."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any  # uint8 [height * step]


class Cameras:
    """Renders the cameras of one plant. Use and close it in one thread."""

    def __init__(self, plant: Plant) -> None:
        """Create a rendering context.

        Args:
            plant: the robot.

        Raises:
            Refusal: there is no OpenGL without a screen.
        """
        self._plant = plant
        screen = plant.model.vis.global_
        self._context: Any = None
        self._renderer: Any = None
        try:
            self._context = _gl_context(int(screen.offwidth), int(screen.offheight))
            self._context.make_current()
            self._renderer = mujoco.MjrContext(plant.model, mujoco.mjtFontScale.mjFONTSCALE_100)
            buffer = mujoco.mjtFramebuffer.mjFB_OFFSCREEN
            mujoco.mjr_setBuffer(buffer, self._renderer)
            if self._renderer.currentBuffer != buffer:
                raise RuntimeError("no off-screen buffer")
        except Exception as error:  # the libraries raise ImportError, AttributeError and their own
            self.close()
            how = os.environ.get("MUJOCO_GL") or "egl"
            text = " ".join(str(error).split())[:200]
            remedy = "install libegl1 and libgl1-mesa-dri, or libosmesa6 with MUJOCO_GL=osmesa"
            raise refuse(
                plant.file, "cameras", f"OpenGL off screen (MUJOCO_GL={how})", text, remedy
            ) from error
        self._scene = mujoco.MjvScene(plant.model, _MOST_GEOMS)
        self._options = mujoco.MjvOption()

    def render(self, sensor: CameraSensor) -> Pixels:
        """Render a camera of the model, uint8 [height, width, 3], RGB, first row on top."""
        camera = mujoco.MjvCamera()
        camera.type = int(mujoco.mjtCamera.mjCAMERA_FIXED)
        camera.fixedcamid = self._plant.model.camera(sensor.camera).id
        size = sensor.width, sensor.height
        return self._draw(camera, *size, sensor.shadows, sensor.collision_geoms)

    def view(
        self, width: int, height: int, distance: float = 2.5, azimuth: float = 135.0
    ) -> Pixels:
        """Render the robot from outside, uint8 [height, width, 3].

        Args:
            width: at most the model's off-screen width [pixels].
            height: at most the model's off-screen height [pixels].
            distance: of the camera from the base [m].
            azimuth: direction of the view about the vertical [degrees].
        """
        camera = mujoco.MjvCamera()
        camera.type = int(mujoco.mjtCamera.mjCAMERA_FREE)
        camera.lookat[:] = self._plant.read.position(self._plant.base)
        camera.distance, camera.azimuth, camera.elevation = distance, azimuth, -15.0
        return self._draw(camera, width, height, shadows=False, collision=False)

    def image(self, sensor: CameraSensor) -> RenderedImage:
        """Render a camera as an Image message without ROS, for the inputs of a policy."""
        pixels = self.render(sensor)
        height, width = sensor.height, sensor.width
        return RenderedImage(height, width, "rgb8", 0, 3 * width, pixels.reshape(-1))

    def _draw(self, camera: Any, width: int, height: int, shadows: bool, collision: bool) -> Pixels:
        self._plant.read.refresh()
        self._context.make_current()
        groups = self._options.geomgroup
        groups[_COLLISION], groups[_VISUAL] = int(collision), int(not collision)
        mujoco.mjv_updateScene(
            self._plant.model,
            self._plant.data,
            self._options,
            None,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        for flag in _COSTLY:
            self._scene.flags[flag] = int(shadows)
        place = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(place, self._scene, self._renderer)
        pixels: Pixels = np.empty((height, width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, place, self._renderer)
        return pixels[::-1].copy()  # OpenGL's first row is at the bottom

    def close(self) -> None:
        """Release the context; a second call does nothing."""
        # The renderer frees textures, so its context must still be current.
        if self._renderer is not None:
            self._context.make_current()
            self._renderer.free()
            self._renderer = None
        if self._context is not None:
            self._context.free()
            self._context = None


def _gl_context(width: int, height: int) -> Any:
    """A context of the backend that MUJOCO_GL names; EGL without it, since no screen is needed."""
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if sys.platform.startswith("linux") and chosen in ("", "egl"):
        from mujoco.egl import GLContext
    elif sys.platform.startswith("linux") and chosen == "osmesa":
        from mujoco.osmesa import GLContext
    else:
        from mujoco.gl_context import GLContext
    return GLContext(width, height)
