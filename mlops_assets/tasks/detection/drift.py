"""What is watched of images, clouds and detections in service, and how far it has moved from what training saw.

Plain numpy, the same functions in training, where the reference is made, and in the server; a packaged server imports this
module. Counting requests and showing the result are ``serving.monitoring``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.errors import UserError
from mlops_assets.tasks.interface import Histogram

IMAGE_QUANTITIES: Final = ("brightness", "contrast")
CLOUD_QUANTITIES: Final = ("points", "density")
#: Score of every box that a detector kept.
CONFIDENCE: Final = "confidence"
#: What each quantity is, for the people who read its figures.
MEANINGS: Final = {
    "brightness": "mean of an image's luma, 0 to 255",
    "contrast": "standard deviation of an image's luma, 0 to 255",
    "points": "points of a cloud inside the detector's range",
    "density": "points in range for each square metre of ground that holds any",
    CONFIDENCE: "score of each box that was kept, 0 to 1",
}

#: The usual limits of the index. They are convention, not a test: nothing in the index says that they fit a model.
#: Source: Siddiqi, "Credit Risk Scorecards", 2006, chapter 8.
MODERATE, MAJOR = 0.1, 0.25
#: Added to every bin of both histograms, so that an empty one gives no infinite index (Krichevsky-Trofimov estimate).
SMOOTHING: Final = 0.5
#: Fewer reference values a bin than this tell more of chance than of the data.
VALUES_A_BIN: Final = 5

Verdict = Literal["unmeasured", "too_few", "stable", "moderate", "major"]

#: An image is measured on a regular grid of about so many of its pixels: all of them cost ten times the time.
_PIXELS: Final = 40_000
#: Source: Recommendation ITU-R BT.601, luma of R'G'B'.
_LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)
_NORMAL_95: Final = 1.6449


def image_quantities(image: NDArray[np.uint8]) -> dict[str, float]:
    """Brightness and contrast, see ``MEANINGS``, of an image ``(H, W, 3)`` uint8, RGB.

    Raises:
        UserError: another shape or type, or no pixel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UserError(
            "an image is measured as RGB of 8 bits", given=f"{image.shape} {image.dtype}", allowed=("(height, width, 3) uint8",)
        )
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // _PIXELS))
    luma = image[step // 2 :: step, step // 2 :: step].astype(np.float32) @ _LUMA
    return {"brightness": float(luma.mean(dtype=np.float64)), "contrast": float(luma.std(dtype=np.float64))}


def cloud_quantities(points: ArrayLike, range_min: Sequence[float], range_max: Sequence[float]) -> dict[str, float]:
    """Points and density, see ``MEANINGS``, of a cloud.

    Args:
        points: ``(N, 3)`` or wider, x, y, z [m] first, LiDAR frame.
        range_min: lowest x, y, z [m] that the detector looks at.
        range_max: highest x, y, z [m], not included.

    Raises:
        UserError: another shape.
    """
    cloud = np.asarray(points)
    if cloud.ndim != 2 or cloud.shape[1] < 3:
        raise UserError("a cloud is measured by its coordinates", given=f"shape {cloud.shape}", allowed=("(N, 3) or wider",))
    inside = np.ones(len(cloud), dtype=bool)
    for axis in range(3):
        # Column by column: a comparison of whole rows takes four times as long.
        inside &= (cloud[:, axis] >= range_min[axis]) & (cloud[:, axis] < range_max[axis])
    x, y = ((cloud[inside, axis] - range_min[axis]).astype(np.int64) for axis in range(2))
    if not len(x):
        return {"points": 0.0, "density": 0.0}
    columns = math.ceil(range_max[1] - range_min[1]) + 1
    occupied = np.count_nonzero(np.bincount(x * columns + y))
    return {"points": float(len(x)), "density": len(x) / occupied}


def histogram_of(values: ArrayLike, bins: int = 10) -> Histogram:
    """The reference of a quantity: bins that hold about equally many of ``values``, fewer where these are few or repeat.

    Without values the histogram has no bins, and nothing is measured against it.

    Raises:
        UserError: a value is not a finite number, or ``bins`` is below 2.
    """
    known = np.asarray(values, dtype=np.float64).ravel()
    if bins < 2 or not np.isfinite(known).all():
        raise UserError("a reference is made of finite numbers in 2 bins or more", given=f"{bins} bins of {known.size} values")
    if not known.size:
        return Histogram(edges=(), counts=())
    wanted = min(bins, max(2, known.size // VALUES_A_BIN))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, wanted + 1)))
    if len(edges) < 3:
        # Too equal for quantiles: what lies below, on and above them is told apart.
        low, high = edges[0], edges[-1]
        margin = max(1e-6 * max(abs(low), abs(high)), 1e-9)
        edges = np.array((low - 2 * margin, low - margin, high + margin, high + 2 * margin))
    inner = tuple(edges.tolist())
    return Histogram(edges=inner, counts=tuple(np.bincount(bins_of(inner, known), minlength=len(inner) - 1).tolist()))


def bins_of(edges: Sequence[float], values: ArrayLike) -> NDArray[np.int64]:
    """Bin ``(N,)`` of each value between ascending ``edges``; the first and last bins also take what lies outside."""
    return np.searchsorted(np.asarray(edges[1:-1]), np.asarray(values, dtype=np.float64), side="right").astype(np.int64)


def psi(reference: Histogram, counts: Sequence[int] | NDArray[np.int64]) -> float:
    """Population stability index of ``counts`` in the bins of ``reference``: 0 for equal shares, ``MODERATE`` and ``MAJOR``.

    The sum over bins of (p - q) ln(p / q), where p and q are shares of counts to which ``SMOOTHING`` was added. 0 where either
    side has no values.

    Raises:
        UserError: another number of bins.
    """
    expected, found = np.asarray(reference.counts, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if expected.shape != found.shape:
        raise UserError("counts are of other bins than the reference", given=found.size, allowed=(str(expected.size),))
    if not expected.sum() or not found.sum():
        return 0.0
    q, p = ((side + SMOOTHING) / (side.sum() + SMOOTHING * side.size) for side in (expected, found))
    return float(((p - q) * np.log(p / q)).sum())


def chance_level(reference: Histogram, observed: int) -> float:
    """What the index of ``observed`` independent values of the reference's own distribution exceeds once in twenty times.

    Infinite without values. Frames of one drive are not independent, so their index is larger by chance than this.

    Source: Yurdakul, "Statistical Properties of Population Stability Index", 2018: chi-squared with bins - 1 degrees of freedom,
    times the sum of both samples' reciprocals; its quantile after Wilson and Hilferty, 1931.
    """
    seen = sum(reference.counts)
    if not seen or not observed:
        return math.inf
    freedom = max(1, len(reference.counts) - 1)
    quantile = freedom * (1 - 2 / (9 * freedom) + _NORMAL_95 * math.sqrt(2 / (9 * freedom))) ** 3
    return quantile * (1 / seen + 1 / observed)


def verdict(index: float, chance: float) -> Verdict:
    """The index in a word: against ``MODERATE`` and ``MAJOR``, and never called drift where chance alone gives as much."""
    if math.isinf(chance):
        return "unmeasured"
    if index <= chance:
        return "stable" if chance <= MAJOR else "too_few"
    return "stable" if index < MODERATE else "moderate" if index < MAJOR else "major"
