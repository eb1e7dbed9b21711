"""Pictures of 3D detection data as PNG bytes: a cloud from above, boxes in the camera image, points per voxel.

White ground, no global state of pyplot, matplotlib only when a picture is drawn. What is drawn comes from elsewhere; where the
bytes are kept is the caller's matter. The same input gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.boxes import EDGES, lidar_corners
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection3d.occupancy import VoxelOccupancy
from mlops_assets.tasks.lettering import Lettering, lettering_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Projection = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Points ``(N, 3)`` [m], LiDAR frame, to pixels ``(N, 2)`` u, v and depth ``(N,)`` [m]; with a KITTI calibration
``lambda points: calibration.to_image(calibration.to_camera(points))``."""

INK, MUTED, GRID, GROUND = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
LOW, HIGH = "#bfc6d1", "#111827"  # points near the ground, points above
CLASS_COLOURS = {"Car": "#2563eb", "Pedestrian": "#ea580c", "Cyclist": "#059669", "Van": "#9333ea", "Truck": "#ca8a04"}
OTHER_COLOUR = "#db2777"
DOTS_PER_INCH = 150
POINTS_SHOWN = 60_000
NEAR_PLANE = 0.1
_FRONT = (0, 1, 5, 4)  # corners of the side that the heading goes through, in turn

WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "above": "Bird's-eye view",
        "forward": "x, forward (m)",
        "left": "y, to the left (m)",
        "height": "height z (m)",
        "detected": "{name}, detected",
        "camera": "Boxes in the camera image",
        "voxels": "Points per voxel",
        "points": "points in a voxel",
        "count": "voxels",
        "summary": "frames {frames}, voxels {voxels}, median {median} points, {kept} of the points in range kept",
        "full": "full",
    },
    "ja": {
        "above": "鳥瞰図",
        "forward": "x 前方 (m)",
        "left": "y 左方 (m)",
        "height": "高さ z (m)",
        "detected": "{name}(検出)",
        "camera": "カメラ画像に投影したボックス",
        "voxels": "ボクセルあたりの点数",
        "points": "ボクセル内の点数",
        "count": "ボクセル数",
        "summary": "{frames} フレーム、{voxels} ボクセル、中央値 {median} 点、範囲内の点の {kept} を保持",
        "full": "上限到達",
    },
}


@dataclass(frozen=True, eq=False)
class DrawnBoxes:
    """Boxes ``(N, 7)`` in the LiDAR frame (centre x, y, z, length, width, height [m], yaw [rad]) and ``N`` class names."""

    boxes: NDArray[np.float64]
    names: Sequence[str]


NO_BOXES = DrawnBoxes(np.empty((0, 7)), ())


def birds_eye_view(
    points: NDArray[np.float32],
    labels: DrawnBoxes = NO_BOXES,
    detections: DrawnBoxes = NO_BOXES,
    *,
    forward: tuple[float, float] = (0.0, 70.0),
    left: tuple[float, float] = (-40.0, 40.0),
    language: Language = "en",
) -> bytes:
    """A cloud ``(N, 3+)`` from above, LiDAR frame, driving direction up; labels filled, detections with broken outlines.

    The front of a box is marked by a stroke from its centre. ``forward`` is the range of x, ``left`` of y [m].
    """
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import LinearSegmentedColormap

    letters = lettering_for(language)
    words = WORDS[letters.language]
    shown = _shown(points, forward, left)

    def draw(axes: Axes) -> None:
        """x runs up; y, which grows to the left, is the horizontal axis turned round."""
        ramp = LinearSegmentedColormap.from_list("height", [LOW, HIGH])
        cloud = axes.scatter(
            shown[:, 1], shown[:, 0], c=shown[:, 2], cmap=ramp, vmin=-2.0, vmax=1.0, s=0.7, marker="o", linewidths=0
        )
        for boxes, detected in ((labels, False), (detections, True)):
            for name, rows in _by_class(boxes):
                corners = lidar_corners(boxes.boxes[rows])
                look = _look(name, detected, letters)
                lines = [line for box in corners for line in _outline(box)]
                axes.add_collection(LineCollection(lines, **look, linewidths=1.5))
                if not detected:
                    grounds = list(corners[:, :4, 1::-1])
                    axes.add_collection(PolyCollection(grounds, facecolors=look["colors"], alpha=0.2, edgecolors="none"))
        axes.set(xlim=left[::-1], ylim=forward, aspect="equal", xlabel=words["left"], ylabel=words["forward"])
        axes.set_title(words["above"])
        axes.grid(linewidth=0.6)
        bar = axes.figure.colorbar(cloud, ax=axes, fraction=0.035, pad=0.03, label=words["height"])
        bar.outline.set_visible(False)
        _legend(axes, below=0.13)

    height = 5.4 * (forward[1] - forward[0]) / (left[1] - left[0]) + 1.2
    return _drawn(draw, letters, (6.4, min(max(height, 3.0), 9.0)))


def image_with_boxes(
    image: NDArray[np.uint8],
    labels: DrawnBoxes,
    project: Projection,
    detections: DrawnBoxes = NO_BOXES,
    *,
    language: Language = "en",
) -> bytes:
    """An image ``(H, W, 3)`` RGB with the edges of LiDAR boxes; labels with full, detections with broken lines.

    Edges are cut 0.1 m before the camera; boxes behind it are left out. The side that the heading goes through is tinted.
    """
    from matplotlib.collections import LineCollection, PolyCollection

    letters = lettering_for(language)
    words = WORDS[letters.language]

    def draw(axes: Axes) -> None:
        """Detections come last and lie on top; a class without a line before the camera is not in the legend either."""
        axes.imshow(image, interpolation="antialiased")
        for boxes, detected in ((labels, False), (detections, True)):
            for name, rows in _by_class(boxes):
                corners = lidar_corners(boxes.boxes[rows])
                look = _look(name, detected, letters)
                lines = [line for box in corners for line in _visible_edges(box, project)]
                if not lines:
                    continue
                axes.add_collection(LineCollection(lines, **look, linewidths=1.5))
                if not detected:
                    fronts = [pixels for pixels in (_front(box, project) for box in corners) if pixels is not None]
                    axes.add_collection(PolyCollection(fronts, facecolors=look["colors"], alpha=0.25, edgecolors="none"))
        axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5), xticks=[], yticks=[])
        axes.set_title(words["camera"])
        axes.spines[:].set_visible(False)
        _legend(axes, below=0.03)

    height = 8.4 * image.shape[0] / image.shape[1] + 0.9
    return _drawn(draw, letters, (8.4, min(max(height, 2.0), 9.0)))


def points_per_voxel(occupancy: VoxelOccupancy, *, language: Language = "en") -> bytes:
    """How many voxels hold 1, 2, … points; the last bar, voxels that are full, stands out."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    letters = lettering_for(language)
    words = WORDS[letters.language]
    counts = np.array(occupancy.voxels_by_points)

    def draw(axes: Axes) -> None:
        """Bar k is the voxels of k points; the room on the right is for the text on the last one."""
        places = np.arange(1, len(counts) + 1)
        axes.bar(places[:-1], counts[:-1], width=0.84, color="#2563eb")
        axes.bar(places[-1:], counts[-1:], width=0.84, color="#ea580c")
        axes.text(
            places[-1], counts[-1], f"{words['full']}\n{occupancy.full_share:.1%}", ha="center", va="bottom", color="#c2410c"
        )
        axes.set(xlabel=words["points"], ylabel=words["count"], xlim=(0.3, len(counts) + 0.9 + len(counts) / 40))
        axes.set_ylim(0, max(int(counts.max()), 1) * 1.14)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(axis="y")
        axes.set_title(words["voxels"], pad=24)
        axes.text(
            0, 1.02,
            words["summary"].format(
                frames=f"{occupancy.frames:,}", voxels=f"{occupancy.voxels:,}", median=occupancy.quantile(0.5),
                kept=f"{occupancy.kept_share:.1%}",
            ),
            transform=axes.transAxes, color=MUTED, va="bottom",
        )  # fmt: skip

    return _drawn(draw, letters, (6.4, 3.8))


def _shown(points: NDArray[np.float32], forward: tuple[float, float], left: tuple[float, float]) -> NDArray[np.float32]:
    """Points within the picture, evenly thinned to what can be seen, low ones first so that high ones cover them."""
    x, y = points[:, 0], points[:, 1]
    within = points[(x >= forward[0]) & (x <= forward[1]) & (y >= left[0]) & (y <= left[1]), :3]
    thinned = within[:: -(-len(within) // POINTS_SHOWN) or 1]
    return thinned[np.argsort(thinned[:, 2], kind="stable")]


def _by_class(drawn: DrawnBoxes) -> list[tuple[str, NDArray[np.int64]]]:
    names = np.array([str(name) for name in drawn.names], dtype=np.str_)
    return [(str(name), np.flatnonzero(names == name)) for name in sorted(set(names.tolist()))]


def _look(name: str, detected: bool, letters: Lettering) -> dict[str, Any]:
    """Line style of a class and its text in the legend: detections are broken lines in a darker tone, to be seen on labels."""
    colour, text = CLASS_COLOURS.get(name, OTHER_COLOUR), letters.printable(name, "?")
    if not detected:
        return {"colors": colour, "linestyles": "solid", "label": text}
    darker = "#" + "".join(f"{int(colour[at : at + 2], 16) * 45 // 100:02x}" for at in (1, 3, 5))
    return {"colors": darker, "linestyles": (0, (2.5, 1.5)), "label": WORDS[letters.language]["detected"].format(name=text)}


def _outline(corners: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The bottom ``(8, 3)`` as a closed line of (y, x), and a stroke from the centre beyond the front."""
    ground = corners[:4, 1::-1]
    centre, front = ground.mean(axis=0), ground[:2].mean(axis=0)
    return [np.concatenate([ground, ground[:1]]), np.stack([centre, centre + 1.25 * (front - centre)])]


def _visible_edges(corners: NDArray[np.float64], project: Projection) -> list[NDArray[np.float64]]:
    """Edges of a box ``(8, 3)`` as lines ``(2, 2)`` [px], each cut where it comes too near to the camera."""
    _, depth = project(corners)
    lines = []
    for start, end in EDGES:
        if depth[start] < NEAR_PLANE and depth[end] < NEAR_PLANE:
            continue
        ends = corners[[start, end]].copy()
        for side, (near, far) in enumerate(((start, end), (end, start))):
            if depth[near] < NEAR_PLANE:  # depth changes evenly along an edge
                share = (NEAR_PLANE - depth[near]) / (depth[far] - depth[near])
                ends[side] = corners[near] + share * (corners[far] - corners[near])
        lines.append(project(ends)[0])
    return lines


def _front(corners: NDArray[np.float64], project: Projection) -> NDArray[np.float64] | None:
    pixels, depth = project(corners[list(_FRONT)])
    return pixels if (depth >= NEAR_PLANE).all() else None


def _legend(axes: Axes, *, below: float) -> None:
    """Classes under the picture, in one line or, where they are many, in three columns."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, -below), ncols=len(handles) if len(handles) <= 4 else 3,
            handlelength=1.8,
        )  # fmt: skip


def _style(letters: Lettering) -> dict[str, Any]:
    return {
        "font.family": list(letters.families), "font.size": 9.5, "axes.titlesize": 12, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.titlepad": 10, "axes.titlecolor": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID,
        "axes.facecolor": GROUND, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "axes.unicode_minus": False, "grid.color": GRID, "grid.linewidth": 0.8, "text.color": INK, "text.parse_math": False,
        "xtick.color": MUTED, "ytick.color": MUTED, "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False,
        "figure.facecolor": GROUND, "savefig.facecolor": GROUND,
    }  # fmt: skip


def _drawn(draw: Callable[[Axes], None], letters: Lettering, size: tuple[float, float]) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style(letters)):
        figure = Figure(figsize=size, layout="tight")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        target = io.BytesIO()
        # no software version in the file: equal input gives equal bytes
        figure.savefig(target, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return target.getvalue()
