"""The figures of a detector's evaluation as PNG files: precision and recall, confusion, confidence, images with boxes.

White ground, so that they read on light and dark pages alike; no global state of pyplot; the same input gives the same bytes.
What is drawn is counted in ``confusion``; clouds are drawn in ``detection3d.figures``; fonts are chosen in ``tasks.lettering``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection.confusion import BACKGROUND, ClassCurve
from mlops_assets.tasks.detection.image_boxes import ImageBoxes
from mlops_assets.tasks.lettering import Lettering, lettering_for
from mlops_assets.whole_files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID, GROUND = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
PALETTE: Final = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#ca8a04", "#db2777", "#0891b2", "#65a30d")
TRUTH: Final = "#facc15"
DOTS_PER_INCH: Final = 150
CELLS_WITH_NUMBERS: Final = 12
BINS: Final = 20

WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "precision_recall": "Precision and recall at IoU {overlap:g}",
        "recall": "Recall",
        "precision": "Precision",
        "chosen": "operating threshold {threshold:.3g}",
        "confusion": "Confusion matrix",
        "confusion_at": "scores from {threshold:.3g}, IoU {overlap:g}",
        "true": "True class",
        "detected": "Detected class",
        "share": "Share of the row",
        "background": "background",
        "confidence": "Confidence of the detections",
        "score": "Score",
        "count": "Detections",
        "right": "right",
        "wrong": "wrong",
        "images": "Detections on test images",
        "truth": "label",
        "found": "{name}, detected",
    },
    "ja": {
        "precision_recall": "適合率と再現率 (IoU {overlap:g})",
        "recall": "再現率",
        "precision": "適合率",
        "chosen": "しきい値 {threshold:.3g}",
        "confusion": "混同行列",
        "confusion_at": "スコア {threshold:.3g} 以上、IoU {overlap:g}",
        "true": "正解クラス",
        "detected": "検出クラス",
        "share": "行内の割合",
        "background": "背景",
        "confidence": "検出のスコア分布",
        "score": "スコア",
        "count": "検出数",
        "right": "正しい検出",
        "wrong": "誤検出",
        "images": "テスト画像での検出結果",
        "truth": "正解ラベル",
        "found": "{name} の検出",
    },
}


@dataclass(frozen=True, eq=False)
class DrawnImage:
    """One image ``(H, W, 3)`` uint8, RGB, with its labels and the detections to show."""

    pixels: NDArray[np.uint8]
    truth: ImageBoxes
    found: ImageBoxes


def draw_precision_recall(
    path: Path,
    curves: Sequence[ClassCurve],
    average_precisions: Sequence[float | None],
    classes: Sequence[str],
    threshold: float,
    language: Language,
    *,
    overlap: float = 0.5,
) -> None:
    """Precision against recall of every class with objects; a dot where the operating threshold stands.

    Precision is the best one at that recall or beyond, as average precision reads the curve.

    Args:
        average_precisions: shares of 1, written beside the names; None is left out.
    """
    letters = lettering_for(language)
    say = WORDS[letters.language]

    def draw(axes: Axes) -> None:
        """At each recall the best precision at any larger one, as average precision counts it; a dot where ``threshold`` cuts."""
        for number, (curve, average) in enumerate(zip(curves, average_precisions, strict=True)):
            if not curve.objects:
                continue
            colour = PALETTE[number % len(PALETTE)]
            label = letters.printable(classes[number], f"#{number}") + ("" if average is None else f"   AP {average:.3f}")
            best = np.maximum.accumulate(curve.precision[::-1])[::-1]
            reached = float(curve.recall[-1]) if len(curve.recall) else 0.0
            recall = np.concatenate(([0.0], curve.recall, [reached]))
            precision = np.concatenate((best[:1] if len(best) else [0.0], best, [0.0]))
            axes.plot(recall, precision, color=colour, label=label, drawstyle="steps-pre")
            if kept := int((curve.scores >= threshold).sum()):
                axes.plot(
                    curve.recall[kept - 1], best[kept - 1], "o", color=colour, markersize=7, markeredgecolor=GROUND,
                    markeredgewidth=1.5, clip_on=False, zorder=5,
                )  # fmt: skip
        label = say["chosen"].format(threshold=threshold)
        axes.plot([], [], label=label, marker="o", linestyle="", markersize=6, color=MUTED)
        axes.set_title(say["precision_recall"].format(overlap=overlap))
        axes.set_xlabel(say["recall"])
        axes.set_ylabel(say["precision"])
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.02)
        axes.grid(True)
        # beside the curves: inside there is always some class in the way
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    _save(path, draw, (7.4, 4.4), letters)


def draw_confusion_matrix(
    path: Path,
    matrix: Sequence[Sequence[int]],
    classes: Sequence[str],
    threshold: float,
    language: Language,
    *,
    overlap: float = 0.5,
) -> None:
    """Counts of ``confusion.confusion_matrix``, shaded by the share of each true class.

    The row of the background has no share: it has no number of things that were not there.
    """
    letters = lettering_for(language)
    say = WORDS[letters.language]
    counts = np.array(matrix)
    size = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    share[-1] = 0.0

    def draw(axes: Axes) -> None:
        """A shade is the share of the label's row; the row of background has none, and a dash where nobody can count."""
        from matplotlib.colors import LinearSegmentedColormap

        shades = LinearSegmentedColormap.from_list("shares", ["#f8fafc", "#bfdbfe", "#2563eb", "#1e3a8a"])
        image = axes.imshow(share, cmap=shades, vmin=0, vmax=1)
        bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04, label=say["share"])
        bar.outline.set_visible(False)
        if size <= CELLS_WITH_NUMBERS:
            for row in range(size):
                for column in range(size):
                    if row == column == size - 1:
                        axes.text(column, row, "–", ha="center", va="center", color=MUTED)
                        continue
                    colour = GROUND if share[row, column] > 0.5 else INK
                    part = f"\n{share[row, column]:.0%}" if size <= 6 and counts[row].sum() and row < size - 1 else ""
                    axes.text(
                        column, row, f"{counts[row, column]:,}{part}", ha="center", va="center", color=colour,
                        fontsize=11 if size <= 6 else 8,
                    )  # fmt: skip
        names = [say["background"] if name == BACKGROUND else letters.printable(name, f"#{n}") for n, name in enumerate(classes)]
        names += [say["background"]] * (size - len(names))
        crowded = size > 5 or max(map(len, names)) > 12
        axes.set_xticks(range(size), names, rotation=40 if crowded else 0, ha="right" if crowded else "center")
        axes.set_yticks(range(size), names)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=GROUND, linewidth=2)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(say["confusion"])
        axes.set_xlabel(say["detected"] + "\n(" + say["confusion_at"].format(threshold=threshold, overlap=overlap) + ")")
        axes.set_ylabel(say["true"])

    side = min(3.4 + 0.5 * size, 9.0)
    _save(path, draw, (side + 1.2, side), letters)


def draw_confidence(
    path: Path, right: NDArray[np.float64], wrong: NDArray[np.float64], threshold: float, language: Language
) -> None:
    """How the scores of right and wrong detections ``(N,)``, 0 … 1, are distributed, and where the operating threshold stands."""
    letters = lettering_for(language)
    say = WORDS[letters.language]

    def draw(axes: Axes) -> None:
        """Right and wrong ones stand on each other; counts on a scale that is linear up to ten."""
        edges = np.linspace(0, 1, BINS + 1)
        axes.hist(
            [right, wrong], bins=edges.tolist(), stacked=True, color=[PALETTE[0], "#cbd5e1"], edgecolor=GROUND, linewidth=0.6,
            label=[say["right"], say["wrong"]],
        )  # fmt: skip
        axes.axvline(threshold, color=INK, linestyle=(0, (4, 3)), linewidth=1.2, label=say["chosen"].format(threshold=threshold))
        axes.set_title(say["confidence"])
        axes.set_xlabel(say["score"])
        axes.set_ylabel(say["count"])
        axes.set_yscale("symlog", linthresh=10)  # a detector is unsure a hundred times as often as sure
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlim(0, 1)
        axes.grid(True, axis="y")
        # beside the bars, as the line of the threshold may stand anywhere
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))

    _save(path, draw, (7.4, 3.6), letters)


def draw_images(path: Path, images: Sequence[DrawnImage], classes: Sequence[str], language: Language) -> None:
    """A grid of images: labels dashed, detections in the colour of their class with their score."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    letters = lettering_for(language)
    say = WORDS[letters.language]
    columns = 2 if len(images) > 1 else 1
    rows = -(-len(images) // columns)
    ratio = max(image.pixels.shape[0] / image.pixels.shape[1] for image in images)
    wide = 6.2
    import matplotlib

    with matplotlib.rc_context(style_of(letters)):
        figure = Figure(figsize=(wide * columns, wide * ratio * rows + 0.12 * rows + 0.75))
        seen: set[int] = set()
        top = 1 - 0.75 / figure.get_figheight()
        places = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=top, wspace=0.012, hspace=0.035)
        for axes in places:
            axes.set_axis_off()
        for axes, image in zip(places, images, strict=False):
            _draw_image(axes, image)
            seen.update(image.found.classes.tolist())
        figure.text(0.007, 1 - 0.32 / figure.get_figheight(), say["images"], fontsize=12, fontweight="bold", color=INK)
        marks = [Line2D([], [], color=TRUTH, linestyle=(0, (3, 2)), linewidth=1.8, path_effects=_casing(3.0))]
        names = [say["truth"]]
        for number in sorted(seen):
            marks.append(Line2D([], [], color=PALETTE[number % len(PALETTE)], linewidth=1.8))
            names.append(say["found"].format(name=letters.printable(classes[number], f"#{number}")))
        figure.legend(
            marks, names, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.34 / figure.get_figheight()), ncols=len(names), fontsize=9,
        )  # fmt: skip
        _write(path, figure)


def _draw_image(axes: Axes, image: DrawnImage) -> None:
    from matplotlib.patches import Rectangle

    height, width = image.pixels.shape[:2]
    axes.imshow(image.pixels, interpolation="bilinear", aspect="equal")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)

    def outline(box: list[float], **line: Any) -> None:
        left, top, right, bottom = box
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **line))

    crowd = image.truth.crowd if image.truth.crowd is not None else np.zeros(len(image.truth.boxes), np.bool_)
    for box in image.truth.boxes[~crowd].tolist():
        outline(box, edgecolor=TRUTH, linewidth=1.1, linestyle=(0, (3, 2)), path_effects=_casing(2.0), zorder=2)
    scores = np.zeros(len(image.found.boxes)) if image.found.scores is None else image.found.scores
    # the surest last, so that its number stays readable
    for row in np.argsort(scores, kind="stable").tolist():
        colour = PALETTE[int(image.found.classes[row]) % len(PALETTE)]
        left, top, right, bottom = image.found.boxes[row].tolist()
        outline([left, top, right, bottom], edgecolor=colour, linewidth=1.2, zorder=3)
        if right - left >= width / 26:  # a number on a smaller box would hide it
            axes.text(
                left, max(top, 0.05 * height), f"{scores[row]:.2f}", fontsize=5.5, color=GROUND, va="bottom", ha="left", zorder=4,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6}, clip_on=True,
            )  # fmt: skip


def _casing(width: float) -> list[Any]:
    """A dark line beneath a bright one, so that it is seen on every picture."""
    from matplotlib import patheffects

    return [patheffects.Stroke(linewidth=width, foreground="#00000088"), patheffects.Normal()]


def style_of(letters: Lettering) -> dict[str, Any]:
    """Settings of matplotlib for the figures of detectors, with fonts for the names in them."""
    return {
        "font.family": list(letters.families), "font.size": 9.5, "axes.titlesize": 12, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.titlepad": 10, "axes.titlecolor": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID,
        "axes.facecolor": GROUND, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "axes.unicode_minus": False,  # several CJK fonts have no U+2212
        "axes.grid": False, "grid.color": GRID, "grid.linewidth": 0.8, "text.color": INK,
        "text.parse_math": False,  # a class called "$x" is a name, not a formula
        "xtick.color": MUTED, "ytick.color": MUTED, "xtick.major.size": 0, "ytick.major.size": 0, "lines.linewidth": 2.0,
        "legend.frameon": False, "figure.facecolor": GROUND, "savefig.facecolor": GROUND,
    }  # fmt: skip


def _save(path: Path, draw: Callable[[Axes], None], size: tuple[float, float], letters: Lettering) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(style_of(letters)):
        figure = Figure(figsize=size, layout="tight")
        draw(figure.add_subplot())
        _write(path, figure)


def _write(path: Path, figure: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with whole_file(path) as beside:
        # no software version in the file: equal results give equal bytes
        figure.savefig(beside, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})
