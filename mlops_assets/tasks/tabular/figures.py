"""The figures of an evaluation as PNG files, readable on a light and on a dark page.

Every figure carries its own white ground and is drawn without pyplot's global state. What is drawn is decided by
``evaluation``; the numbers come from ``measures``; fonts are chosen in ``tasks.lettering``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.lettering import Lettering, lettering_for
from mlops_assets.tasks.tabular.measures import Measures, loss_name
from mlops_assets.tasks.tabular.native_model import ModelCard
from mlops_assets.tasks.tabular.words import WORDS
from mlops_assets.whole_files import whole_file

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

INK, MUTED, GRID, GROUND = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
ACCENT, SECOND = "#2563eb", "#ea580c"
PALETTE = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#ca8a04", "#db2777", "#0891b2", "#65a30d")
DOTS_PER_INCH = 150
CURVES_SHOWN = len(PALETTE)
CELLS_WITH_NUMBERS = 12
FEATURES_SHOWN = 15
POINTS_SHOWN = 4_000


@dataclass(frozen=True)
class Evaluated:
    """What the figures show: targets (N,), probabilities (N, C) or values (N,), and the numbers made of them."""

    y: NDArray[Any]
    predicted: NDArray[np.float32]
    measures: Measures
    importance: Mapping[str, float]
    card: ModelCard
    letters: Lettering

    def word(self, key: str) -> str:
        """A sentence of the figure in the language that can be shown."""
        return WORDS[self.letters.language][key]

    def class_name(self, index: int) -> str:
        """Class ``index`` as it can be printed."""
        return self.letters.printable(self.card.classes[index], f"#{index}")


def draw_figures(
    y: NDArray[Any],
    predicted: NDArray[np.float32],
    *,
    measures: Measures,
    importance: Mapping[str, float],
    card: ModelCard,
    language: Language,
    out: Path,
) -> tuple[str, ...]:
    """Draw what the rows allow into ``out``; returns the file names in reading order."""
    import matplotlib

    shown = Evaluated(y, predicted, measures, importance, card, lettering_for(language))
    drawings: list[tuple[str, Callable[[Axes, Evaluated], None], tuple[float, float]]] = []
    if card.classes and len(y):
        side = min(3.6 + 0.32 * len(card.classes), 9.0)
        drawings.append(("confusion_matrix.png", _confusion, (side + 0.9, side)))
        if _ranked_classes(shown):
            drawings += [("roc_curve.png", _roc, (5.4, 4.4)), ("precision_recall.png", _precision_recall, (5.4, 4.4))]
    elif len(y):
        drawings += [("predicted_vs_true.png", _predicted_true, (5.4, 4.6)), ("residuals.png", _residuals, (5.4, 4.0))]
    if any(len(values) > 1 for values in card.curves.values()):
        drawings.append(("learning_curve.png", _learning, (5.8, 3.8)))
    if any(importance.values()):
        drawings.append(("feature_importance.png", _importance, (5.8, 1.3 + 0.27 * min(len(importance), FEATURES_SHOWN))))
    with matplotlib.rc_context(_style(shown.letters)):
        for name, draw, size in drawings:
            _save(out / name, draw, shown, size)
    return tuple(name for name, _, _ in drawings)


def _style(letters: Lettering) -> dict[str, Any]:
    return {
        "font.family": list(letters.families),
        "font.size": 9.5,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.titlecolor": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GRID,
        "axes.facecolor": GROUND,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": False,  # several CJK fonts have no U+2212
        "axes.grid": False,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "text.color": INK,
        "text.parse_math": False,  # a column called "$x" is a name, not a formula
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "lines.linewidth": 2.0,
        "legend.frameon": False,
        "figure.facecolor": GROUND,
        "savefig.facecolor": GROUND,
    }


def _save(path: Path, draw: Callable[[Axes, Evaluated], None], shown: Evaluated, size: tuple[float, float]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="tight")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot(), shown)
    # no software version in the file: equal results give equal bytes
    with whole_file(path) as beside:
        figure.savefig(beside, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})


def _confusion(axes: Axes, shown: Evaluated) -> None:
    """Counts, shaded by the share of each true class."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.array(shown.measures.confusion)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shades = LinearSegmentedColormap.from_list("shares", ["#f8fafc", "#bfdbfe", ACCENT, "#1e3a8a"])
    image = axes.imshow(share, cmap=shades, vmin=0, vmax=1)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04, label=shown.word("figure.share"))
    bar.outline.set_visible(False)
    size = len(counts)
    if size <= CELLS_WITH_NUMBERS:
        for row in range(size):
            for column in range(size):
                colour = GROUND if share[row, column] > 0.5 else INK
                text = f"{counts[row, column]:,}" + (f"\n{share[row, column]:.1%}" if size <= 5 else "")
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=12 if size <= 5 else 8)
    step = max(1, size // 25)
    names = [shown.class_name(index) for index in range(0, size, step)]
    crowded = size > 4 or max(map(len, names)) > 10
    axes.set_xticks(range(0, size, step), names, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    axes.set_yticks(range(0, size, step), names)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GROUND, linewidth=2 if size <= 25 else 0.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(shown.word("figure.confusion"))
    axes.set_xlabel(shown.word("figure.predicted_class"))
    axes.set_ylabel(shown.word("figure.true_class"))


def _ranked_classes(shown: Evaluated) -> list[int]:
    """Classes with a curve: the positive of two, or the most frequent of many; none where only one side has rows."""
    known = [index for index, values in shown.measures.per_class.items() if "auc_roc" in values]
    if len(shown.card.classes) == 2:
        return [index for index in known if index == shown.card.positive]
    frequent = sorted(known, key=lambda index: (-shown.measures.per_class[index]["support"], index))[:CURVES_SHOWN]
    return sorted(frequent)


def _curve_label(shown: Evaluated, index: int, metric: str, short: str) -> str:
    return f"{shown.class_name(index)}   {short} {shown.measures.per_class[index][metric]:.3f}"


def _roc(axes: Axes, shown: Evaluated) -> None:
    """True against false positives; each class against the rest."""
    from sklearn.metrics import roc_curve

    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 4)), linewidth=1, label=shown.word("figure.chance"))
    classes = _ranked_classes(shown)
    for colour, index in zip(PALETTE, classes, strict=False):
        false, true, _ = roc_curve(shown.y == index, shown.predicted[:, index])
        axes.plot(false, true, color=colour, label=_curve_label(shown, index, "auc_roc", "AUC"))
        if len(classes) == 1:
            axes.fill_between(false, true, color=colour, alpha=0.08, linewidth=0)
    axes.set_title(shown.word("figure.roc"))
    axes.set_xlabel(shown.word("figure.false_positives"))
    axes.set_ylabel(shown.word("figure.true_positives"))
    _unit_square(axes)
    axes.legend(loc="lower right")


def _precision_recall(axes: Axes, shown: Evaluated) -> None:
    """Precision against recall, with the share of positives as the level of chance."""
    from sklearn.metrics import precision_recall_curve

    classes = _ranked_classes(shown)
    for colour, index in zip(PALETTE, classes, strict=False):
        precision, recall, _ = precision_recall_curve(shown.y == index, shown.predicted[:, index], drop_intermediate=True)
        label = _curve_label(shown, index, "average_precision", "AP")
        axes.plot(recall, precision, color=colour, label=label, drawstyle="steps-post")
    if len(classes) == 1:
        level = float((shown.y == classes[0]).mean())
        axes.axhline(level, color=MUTED, linestyle=(0, (4, 4)), linewidth=1, label=shown.word("figure.chance"))
    axes.set_title(shown.word("figure.precision_recall"))
    axes.set_xlabel(shown.word("figure.recall"))
    axes.set_ylabel(shown.word("figure.precision"))
    _unit_square(axes)
    axes.legend(loc="best")


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.grid(True)


def _learning(axes: Axes, shown: Evaluated) -> None:
    """Loss of training and validation over trees, rounds or rows; the kept round is marked where boosting went further."""
    card, loss = shown.card, loss_name(len(shown.card.classes))
    marker = "o" if len(card.curve_positions) <= 10 else None
    for split, colour in (("train", ACCENT), ("validation", SECOND)):
        values = card.curves.get(f"{split}_{loss}", [])
        if values:
            axes.plot(card.curve_positions, values, color=colour, marker=marker, label=shown.word(f"figure.{split}"))
    if card.curve_axis == "rounds" and card.iterations < card.curve_positions[-1]:
        label = f"{shown.word('figure.kept')}: {card.iterations}"
        axes.axvline(card.iterations, color=MUTED, linestyle=(0, (4, 4)), linewidth=1, label=label)
    axes.set_title(shown.word("figure.learning"))
    axes.set_xlabel(shown.word(f"figure.{card.curve_axis}"))
    axes.set_ylabel(shown.word(f"figure.{loss}"))
    axes.grid(True, axis="y")
    axes.legend(loc="best")


def _importance(axes: Axes, shown: Evaluated) -> None:
    """The most important features, largest on top."""
    largest = list(shown.importance.items())[:FEATURES_SHOWN]
    places = range(len(largest))
    values = [value for _, value in largest]
    axes.barh(places, values, color=ACCENT, height=0.62)
    order = {name: index for index, name in enumerate(shown.card.feature_names)}
    axes.set_yticks(places, [shown.letters.printable(name, f"#{order[name]}") for name, _ in largest], color=INK)
    for place, value in zip(places, values, strict=True):
        axes.text(value + max(values) * 0.012, place, f"{value:.1%}", va="center", color=MUTED, fontsize=8.5)
    axes.set_xlim(0, max(values) * 1.12)
    axes.set_ylim(len(largest) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_title(shown.word("figure.importance"))
    axes.set_xlabel(shown.word("figure.importance_share"))


def _points(shown: Evaluated) -> NDArray[np.int64]:
    """Row indices spread evenly over the split, few enough to see and to draw quickly."""
    import numpy as np

    return np.unique(np.linspace(0, len(shown.y) - 1, min(len(shown.y), POINTS_SHOWN)).astype(np.int64))


def _predicted_true(axes: Axes, shown: Evaluated) -> None:
    rows = _points(shown)
    true, predicted = shown.y[rows], shown.predicted[rows]
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    axes.plot([low, high], [low, high], color=MUTED, linestyle=(0, (4, 4)), linewidth=1)
    axes.scatter(true, predicted, s=12, color=ACCENT, alpha=0.75 if len(rows) < 500 else 0.25, linewidths=0)
    axes.set_title(shown.word("figure.predicted_true"))
    axes.set_xlabel(shown.word("figure.true"))
    axes.set_ylabel(shown.word("figure.predicted"))
    axes.grid(True)


def _residuals(axes: Axes, shown: Evaluated) -> None:
    from matplotlib.ticker import MaxNLocator

    residual = shown.predicted - shown.y
    axes.hist(residual, bins=min(60, max(8, int(len(residual) ** 0.5))), color=ACCENT, edgecolor=GROUND, linewidth=0.6)
    axes.axvline(0, color=INK, linestyle=(0, (4, 4)), linewidth=1)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(shown.word("figure.residuals"))
    axes.set_xlabel(shown.word("figure.residual"))
    axes.set_ylabel(shown.word("figure.count"))
    axes.grid(True, axis="y")
