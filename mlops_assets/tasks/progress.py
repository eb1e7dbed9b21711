"""One line of progress: how a training process tells the outside how far it is, readable by people and by ``Compute``.

The format is ``progress 0.42 round 42/100 validation_auc=0.91``: the fraction done, words, then metrics. Writing and reading
that line only; who prints it is in ``entrypoint``, who follows it is ``resources.compute``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LINE = re.compile(r"progress (?P<fraction>[0-9.]{1,8})(?: (?P<rest>.*))?")
_METRIC = re.compile(r"(?P<name>[^\s=]+)=(?P<value>[-+0-9.einfa]+)")
MAX_TEXT = 500


@dataclass(frozen=True)
class Progress:
    """How far a training is: fraction 0..1, one line of text, latest metrics by name."""

    fraction: float
    text: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def progress_line(fraction: float, text: str, metrics: Mapping[str, float]) -> str:
    """The line for one report, without a line break.

    The fraction is clamped to 0..1. In ``text`` runs of white space become one blank, ``=`` becomes ``:`` (else a word of it
    would read as a metric), and what exceeds 500 characters is cut.
    """
    done = min(1.0, max(0.0, fraction)) if math.isfinite(fraction) else 0.0
    words = " ".join(text.replace("=", ":").split())[:MAX_TEXT].rstrip()
    numbers = (f"{'_'.join(name.replace('=', '_').split())}={float(value):.6g}" for name, value in metrics.items())
    return " ".join(part for part in (f"progress {done:.4f}", words, *numbers) if part)


def parse_progress(line: str) -> Progress | None:
    """The progress that ``line`` tells; None for every other line of a log."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    try:
        fraction = float(match["fraction"])
    except ValueError:
        return None
    if not 0.0 <= fraction <= 1.0:
        return None
    words = (match["rest"] or "").split()
    metrics: dict[str, float] = {}
    while words and (metric := _METRIC.fullmatch(words[-1])):
        try:
            value = float(metric["value"])
        except ValueError:
            break
        metrics[metric["name"]] = value
        words.pop()
    return Progress(fraction, " ".join(words), dict(reversed(metrics.items())))
