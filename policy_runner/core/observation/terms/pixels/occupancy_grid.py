"""The cells of a nav_msgs/OccupancyGrid. Nothing about the map is assumed: each fact is checked.

A policy has learnt one size, one resolution and one place of the robot in its map. A map of other
facts has as many numbers, and nothing later would notice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import OccupancyGridTerm

GRID = "nav_msgs/msg/OccupancyGrid"
OCCUPIED = 100
_BYTES_AROUND = 4096  # of a message, around its cells: header and MapMetaData
# MapMetaData.resolution is float32: 6e-8 of it is rounding.
_RESOLUTION_ERROR = 1e-4
_ORIGIN_ERROR = 0.1  # of a cell
_MOST_TURNED = 1e-3  # |x|, |y|, |z| of the origin's quaternion, about 2e-3 rad


@compiles(OccupancyGridTerm)
def occupancy_grid(term: OccupancyGridTerm, sources: Sources, key: str) -> CompiledTerm:
    """The cells of a map, row by row, as the message has them.

    Raises:
        Refusal: the input is no OccupancyGrid.
    """
    slot = sources.slot_of(term.input, key, GRID)
    rows, columns = term.size
    slot.expect_at_most(rows * columns + _BYTES_AROUND)
    keeper = slot.whole_message()

    def bind(out: Array) -> Read:
        seen, fault = -1, ""
        kept = np.zeros(out.size)

        def read() -> str:
            nonlocal seen, fault
            if keeper.message is None:
                out.fill(np.nan)
                return ""
            if keeper.count != seen:
                fault = grid_fault(term, keeper.message)
                seen = keeper.count
                if not fault:
                    kept[:] = grid_cells(keeper.message)
                    if term.unknown != "refuse":
                        kept[kept < 0] = term.unknown
            np.copyto(out, kept)
            return fault

        return read

    elements = [f"cell[{row},{column}]" for row in range(rows) for column in range(columns)]
    return absolute(term.name or "occupancy_grid", elements, bind)


def grid_cells(message: Any) -> npt.NDArray[np.int8]:
    """The cells of a message, int8 [rows x columns]."""
    return np.asarray(message.data).reshape(-1).astype(np.int8, copy=False)


def grid_fault(term: OccupancyGridTerm, message: Any) -> str:
    """Return the first difference of a map to what the policy was trained on; '' if there is none.

    Args:
        term: the map of training.
        message: a nav_msgs/OccupancyGrid.
    """
    info, frame = message.info, str(message.header.frame_id)
    rows, columns = term.size
    if (info.height, info.width) != (rows, columns):
        return f"a map of {info.height} x {info.width} cells instead of {rows} x {columns}"
    if frame != term.frame:
        return f"a map in the frame '{frame}' instead of '{term.frame}'"
    if not abs(info.resolution - term.resolution) <= _RESOLUTION_ERROR * term.resolution:
        return f"cells of {info.resolution:g} m instead of {term.resolution:g} m"
    if term.origin != "any":
        place, turned = info.origin.position, info.origin.orientation
        away = math.hypot(place.x - term.origin[0], place.y - term.origin[1])
        if not away <= _ORIGIN_ERROR * term.resolution:
            wanted = f"({term.origin[0]:g}, {term.origin[1]:g})"
            return f"the first cell's corner at ({place.x:g}, {place.y:g}) m instead of {wanted} m"
        # A message that leaves the quaternion at 0 0 0 0 means no rotation.
        if not max(abs(turned.x), abs(turned.y), abs(turned.z)) <= _MOST_TURNED:
            return "a map that is turned in its frame"
    cells = grid_cells(message)
    if cells.size != rows * columns:
        return f"{cells.size} cells in a map of {rows} x {columns}"
    low, high = int(cells.min()), int(cells.max())
    if low < -1 or high > OCCUPIED:
        return f"a cell of {low if low < -1 else high}, where -1 and 0 to {OCCUPIED} are known"
    if low < 0 and term.unknown == "refuse":
        return f"{int(np.count_nonzero(cells < 0))} unknown cells"
    return ""
