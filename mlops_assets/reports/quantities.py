"""Numbers as people read them: counts, durations, shares, money, times and metric values, each with its unit.

Formatting only, in both languages; what a number means is said by the sentence around it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final, Literal

from mlops_assets.reports.language import sentence, word
from mlops_assets.reports.markdown import echo, plain
from mlops_assets.request.vocabulary import KITTI_METRICS, METRICS, Language

CountKind = Literal["rows", "columns", "features", "problems", "iterations", "trainings", "frames", "objects"]

#: What one unit of each metric is, as a key of the family ``metric_unit``.
METRIC_UNITS: Final[dict[str, str]] = {
    "accuracy": "score",
    "precision": "score",
    "recall": "score",
    "f1_score": "score",
    "auc_roc": "score",
    "average_precision": "score",
    "log_loss": "nats",
    "rmse": "target",
    "mae": "target",
    "r2": "at_most_one",
    "mape": "ratio",
    "silhouette": "minus_one_to_one",
    "davies_bouldin": "from_zero",
    "average_reward": "reward",
    "episode_length": "steps",
    "success_rate": "score",
    "mAP@0.5": "score",
    "mAP@0.5:0.95": "score",
    "inference_latency_ms": "milliseconds",
    **dict.fromkeys(KITTI_METRICS, "score"),
}


def counted(number: int, kind: CountKind, language: Language) -> str:
    """A count with its unit: ``1,234 rows``, ``1,234件``."""
    return sentence(f"count.{kind}.{'one' if number == 1 else 'other'}", language, number=f"{number:,}")


def percent(share: float) -> str:
    """A share of 0..1 in per cent with one digit."""
    return f"{share * 100:.1f}%"


def dollars(amount: float) -> str:
    """US dollars with cents; an amount that rounds to nothing keeps its first digits."""
    return f"${amount:,.2f}" if amount == 0 or amount >= 0.01 else f"${amount:.2g}"


def duration(seconds: float | None, language: Language) -> str:
    """Seconds, minutes or hours by size; an em dash where nothing was measured."""
    if seconds is None or not math.isfinite(seconds):
        return "—"
    if seconds < 59.95:
        return sentence("duration.seconds", language, seconds=f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}")
    whole = round(seconds)
    if whole < 3600:
        return sentence("duration.minutes", language, minutes=whole // 60, seconds=whole % 60)
    return sentence("duration.hours", language, hours=f"{whole // 3600:,}", minutes=whole % 3600 // 60)


def moment(text: str) -> datetime | None:
    """An ISO 8601 time in UTC; None if it is none. A time without a zone is UTC, as in every record."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def time_of(text: str) -> str:
    """An ISO 8601 time as ``2025-01-10 12:34:56 UTC``."""
    read = moment(text)
    return echo(text) if read is None else f"{read:%Y-%m-%d %H:%M:%S} UTC"


def metric_value(value: float) -> str:
    """A metric with four decimals; two from 10 on, where more would be noise, three significant digits below 0.001."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 10:
        return f"{value:,.2f}"
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.3g}"


def value_beside(value: float, threshold: float) -> str:
    """A metric with as many digits as it takes to stay on its side of the threshold (never 0.8500 for 0.84999)."""
    if not math.isfinite(value):
        return str(value)
    candidates = (metric_value(value), *(f"{value:,.{digits}f}" for digits in range(3 if abs(value) >= 10 else 5, 17)))
    return next((text for text in candidates if _is_beside(float(text.replace(",", "")), value, threshold)), repr(value))


def _is_beside(shown: float, value: float, threshold: float) -> bool:
    return (shown < threshold) == (value < threshold) and (shown > threshold) == (value > threshold)


def threshold_text(threshold: float) -> str:
    """A threshold as a person wrote it: 0.85, not 0.8500."""
    return f"{threshold:,.0f}" if abs(threshold) >= 1000 and threshold == int(threshold) else repr(threshold).removesuffix(".0")


def metric_name(name: str, language: Language) -> str:
    """The display name of a metric; a name that the catalogue does not know is echoed."""
    return word("metric", name, language) or KITTI_METRICS.get(name) or echo(name)


def metric_unit(name: str, language: Language) -> str:
    """The unit or range of a metric; empty for one that the vocabulary does not know."""
    return sentence(f"metric_unit.{METRIC_UNITS[name]}", language) if name in METRICS else ""


def setting_value(value: object) -> str:
    """The value of a hyperparameter or of a setting as code, in YAML's words."""
    if value is None or isinstance(value, bool):
        return f"`{ {None: 'null', True: 'true', False: 'false'}[value] }`"
    return echo(value)


def term(family: str, value: str, language: Language) -> str:
    """The display name of a vocabulary word, or the word itself where the catalogue has none."""
    return word(family, value, language) or plain(value, 80)
