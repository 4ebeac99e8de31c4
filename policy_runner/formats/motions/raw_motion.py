"""A motion as a source has it: joints, bodies, and the time between two rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RawMotion:
    """Rows at equal times.

    Attributes:
        dt: time between two rows [s].
        joint_names: the joints, in the order of the columns.
        joint_pos: [rows, joints] [rad].
        joint_vel: [rows, joints] [rad/s]; None: the source has none.
        body_pos: by body, positions in the world [rows, 3] [m].
        body_quat: by body, orientations x, y, z, w, body -> world [rows, 4].
    """

    dt: float
    joint_names: Sequence[str]
    joint_pos: Array
    joint_vel: Array | None = None
    body_pos: Mapping[str, Array] = field(default_factory=dict)
    body_quat: Mapping[str, Array] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.joint_pos)

    def check(self, file: str) -> None:
        """Check the numbers.

        Raises:
            Refusal: fewer than two rows, numbers that are not finite, or a quaternion whose
                squared norm is more than 2 % off 1.
        """
        if self.rows < 2:
            raise refuse(file, "", "a motion of at least two rows", f"{self.rows}")
        parts = {"joint positions": self.joint_pos}
        if self.joint_vel is not None:
            parts["joint velocities"] = self.joint_vel
        parts |= {f"positions of {name}": given for name, given in self.body_pos.items()}
        parts |= {f"quaternions of {name}": given for name, given in self.body_quat.items()}
        for name, given in parts.items():
            if not np.all(np.isfinite(given)):
                row = int(np.flatnonzero(~np.isfinite(given).all(axis=1))[0])
                raise refuse(file, f"row {row + 1}", f"finite {name}", "others")
        for name, given in self.body_quat.items():
            norm = (given**2).sum(axis=1)
            if np.any(np.abs(norm - 1.0) > 0.02):
                row = int(np.argmax(np.abs(norm - 1.0)))
                got = f"a squared norm of {norm[row]:.3g}"
                remedy = "choose the order with --quaternion xyzw or wxyz"
                raise refuse(file, f"row {row + 1}", f"a quaternion of {name}", got, remedy)

    def save(self, path: Path) -> None:
        """Write the .npz: quaternions as w, x, y, z, float32 as trainers have it."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "fps": np.array([1.0 / self.dt]),
            "joint_names": np.array(list(self.joint_names)),
            "joint_pos": self.joint_pos.astype(np.float32),
        }
        if self.joint_vel is not None:
            arrays["joint_vel"] = self.joint_vel.astype(np.float32)
        bodies = [name for name in self.body_quat if name in self.body_pos]
        bodies += [name for name in self.body_quat if name not in self.body_pos]
        if bodies:
            arrays["body_names"] = np.array(bodies)
            turns = np.stack([self.body_quat[name] for name in bodies], axis=1)
            arrays["body_quat_w"] = turns[:, :, [3, 0, 1, 2]].astype(np.float32)
            if all(name in self.body_pos for name in bodies):
                places = np.stack([self.body_pos[name] for name in bodies], axis=1)
                arrays["body_pos_w"] = places.astype(np.float32)
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type,unused-ignore]
