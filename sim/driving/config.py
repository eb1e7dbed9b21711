"""What can be chosen about the generated world; nothing here draws or computes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class WorldConfig(BaseModel):
    """The sensors and the weather. Together with a seed and a frame number it determines every value of a frame.

    The defaults are near the sensors of KITTI: 64 beams, a camera of 1242 x 375 pixels, a LiDAR tilted by 0.6 degrees.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    beams: int = Field(default=64, ge=4, le=128, description="beams of the LiDAR, from +2 to -24.3 degrees")
    azimuth_step: float = Field(default=0.2, ge=0.05, le=4.0, description="degrees between two firings of a beam")
    full_turn: bool = Field(default=False, description="scan 360 degrees instead of the 180 ahead")
    image_width: int = Field(default=1242, ge=64, le=4096)
    image_height: int = Field(default=375, ge=32, le=2048)
    range_noise: float = Field(default=0.02, ge=0, le=0.5, description="deviation of a measured range [m], at most 3 of them")
    dropout: float = Field(default=0.04, ge=0, lt=1, description="share of returns that are lost near by; more are far away")
    light: float = Field(default=1.0, gt=0.05, le=2.0, description="brightness of the day; 1 is a clear one")
    pixel_noise: int = Field(default=2, ge=0, le=64, description="largest error of a pixel, of 255")
    label_distance: float = Field(default=60.0, gt=5, le=120, description="beyond it objects are DontCare [m]")
    label_points: int = Field(default=5, ge=1, description="with fewer points an object is DontCare")
