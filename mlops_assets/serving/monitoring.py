"""Drift of what a model is asked: the latest requests beside the distributions that training saw.

Counting in bins, and the page ``/drift``; what is measured of a frame, and the index, are in ``tasks.detection.drift``.
A window of frames is compared, because an index since the start would forget to move: after a million bright frames a dark
night would not show. Counts since the version became active are kept too, for Prometheus, which compares times itself.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mlops_assets.serving.answering import Observation
from mlops_assets.tasks.detection.drift import MAJOR, MEANINGS, MODERATE, Verdict, chance_level, psi, verdict
from mlops_assets.tasks.interface import Histogram

#: Frames (images or clouds) that are compared with the reference: the latest ones. At 10 frames a second, 100 seconds.
WINDOW: Final = 1000
_WORST_FIRST: Final[tuple[Verdict, ...]] = ("major", "moderate", "too_few", "stable", "unmeasured")


class _Quantity:
    """Counts of one quantity in the bins of its reference."""

    def __init__(self, reference: Histogram) -> None:
        self.reference = reference
        self.inner = reference.edges[1:-1]
        self.clear()

    def clear(self) -> None:
        bins = len(self.reference.counts)
        self.latest, self.since_start, self.total = [0] * bins, [0] * bins, 0.0

    def add(self, values: Sequence[float]) -> tuple[int, ...]:
        bins = tuple(bisect_right(self.inner, value) for value in values)
        for number in bins:
            self.latest[number] += 1
            self.since_start[number] += 1
        self.total += sum(values)
        return bins

    def forget(self, bins: Sequence[int]) -> None:
        for number in bins:
            self.latest[number] -= 1

    @property
    def index(self) -> float:
        return psi(self.reference, self.latest)


class DriftMonitor:
    """Counts what the frames of one model version show; threads may share it."""

    def __init__(self, reference: Mapping[str, Histogram], *, window: int = WINDOW) -> None:
        # A reference without bins was made of no values: there is nothing to compare with.
        self._quantities = {name: _Quantity(histogram) for name, histogram in reference.items() if histogram.counts}
        self._window: deque[tuple[tuple[int, ...], ...]] = deque()
        self._size = window
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begin anew, because the version has just become active."""
        with self._lock:
            self._since = datetime.now(UTC).isoformat(timespec="seconds")
            self._frames = 0
            self._window.clear()
            for quantity in self._quantities.values():
                quantity.clear()

    def observe(self, frames: Sequence[Observation]) -> None:
        """Count the frames of one answer; the oldest leave the window."""
        if not self._quantities:
            return
        with self._lock:
            for frame in frames:
                self._frames += 1
                self._window.append(tuple(quantity.add(frame.get(name, ())) for name, quantity in self._quantities.items()))
                if len(self._window) > self._size:
                    for quantity, bins in zip(self._quantities.values(), self._window.popleft(), strict=True):
                        quantity.forget(bins)

    def page(self) -> dict[str, Any]:
        """What ``/drift`` says, as JSON-ready data."""
        with self._lock:
            rows = [self._row(name, quantity) for name, quantity in self._quantities.items()]
            seen = {"since": self._since, "frames": self._frames, "window": {"size": self._size, "frames": len(self._window)}}
        if not rows:
            reason = "no reference was recorded when this model was trained: there is nothing to compare its requests with"
            return {"verdict": "no_reference", "reason": reason, "quantities": []}
        return {
            "verdict": next(word for word in _WORST_FIRST if any(row["verdict"] == word for row in rows)),
            **seen,
            "limits": {"moderate": MODERATE, "major": MAJOR, "note": "the usual limits of the index: convention, not a test"},
            "quantities": rows,
        }

    def _row(self, name: str, quantity: _Quantity) -> dict[str, Any]:
        values = sum(quantity.latest)
        index, chance = quantity.index, chance_level(quantity.reference, values)
        return {
            "name": name,
            "meaning": MEANINGS.get(name, name),
            "values": values,
            "psi": round(index, 6) if values else None,
            "chance": round(chance, 6) if values else None,
            "verdict": verdict(index, chance),
            "edges": list(quantity.reference.edges),
            "reference": list(quantity.reference.counts),
            "counts": list(quantity.latest),
        }

    def figures(self) -> list[tuple[str, float | None, list[tuple[str, float]], float]]:
        """For Prometheus: quantity, index (None without values), cumulative counts since the start by upper edge, their sum."""
        with self._lock:
            return [
                (name, quantity.index if sum(quantity.latest) else None, _cumulative(quantity), quantity.total)
                for name, quantity in self._quantities.items()
            ]

    @property
    def window_frames(self) -> int:
        """Frames in the window now."""
        return len(self._window)


def _cumulative(quantity: _Quantity) -> list[tuple[str, float]]:
    # In full: two buckets with one name would make the whole exposition unreadable.
    uppers = [*(repr(float(edge)) for edge in quantity.inner), "+Inf"]
    running, rows = 0, []
    for upper, count in zip(uppers, quantity.since_start, strict=True):
        running += count
        rows.append((upper, float(running)))
    return rows
