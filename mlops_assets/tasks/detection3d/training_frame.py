"""One labelled frame as a 3D detector is trained on it. How it is read is in ``mlops_assets.data.kitti``; how it is changed is in
``augmentation``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mlops_assets.errors import UserError


class Settings(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class TrainingFrame:
    """A cloud and its labelled objects, LiDAR frame.

    Attributes:
        points: ``(P, C)`` float32, x, y, z [m], then any further numbers.
        boxes: ``(N, 7)`` float64, centre x, y, z, length, width, height [m], yaw [rad]. All labelled objects belong here, also
            of classes that are not learnt: nothing may be put where they stand.
        names: ``(N,)`` text, the class of each box.

    Raises:
        UserError: shapes or types are not these, a box has a value that is not finite, or a size that is not positive.
    """

    points: NDArray[np.float32]
    boxes: NDArray[np.float64]
    names: NDArray[np.str_]

    def __post_init__(self) -> None:
        fits = {
            "points": self.points.ndim == 2 and self.points.shape[1] >= 3 and self.points.dtype == np.float32,
            "boxes": self.boxes.shape == (len(self.names), 7) and self.boxes.dtype == np.float64,
            "names": self.names.ndim == 1 and self.names.dtype.kind == "U",
        }
        for field, holds in fits.items():
            if not holds:
                given = getattr(self, field)
                raise UserError(
                    f"{field} of a training frame have another shape or type",
                    field=field,
                    given=f"{given.dtype} of shape {given.shape}, with {len(self.names)} names",
                    allowed=("points (P, 3 or more) float32", "boxes (N, 7) float64", "names (N,) text"),
                )
        usable = np.isfinite(self.boxes).all(axis=1) & (self.boxes[:, 3:6] > 0).all(axis=1)
        if not usable.all():
            row = int(np.argmin(usable))
            raise UserError(
                f"box {row} of a training frame is not a box",
                field="boxes",
                given=self.boxes[row].tolist(),
                allowed=("finite numbers with length, width and height above 0",),
                next_step="leave out DontCare and rows without a 3D box, see has_box",
            )

    def __len__(self) -> int:
        return len(self.names)
