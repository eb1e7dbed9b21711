"""The definition document of a features folder: what a detector on clouds reads, learns and is judged by, for people.

Making the folder is ``preparation``; how numbers are counted is told beside each in the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlops_assets.data.dataset import SPLITS, Split
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection3d.pillar_settings import KITTI_ANCHORS, STANDARD
from mlops_assets.tasks.interface import FeatureSummary

SENTENCES: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "title": "Definition of the detector's data",
        "intro": "One frame is one LiDAR cloud with its calibration and labels. Train {train}, validation {validation}, test "
        "{test} frames. Dataset digest: `{digest}`.",
        "points": "Points",
        "points_text": "x, y, z [m] in the LiDAR frame (x forward, y left, z up) and reflectance 0 to 1, as measured: nothing "
        "is scaled or imputed. Pillars are made while training, within the range of the request (standard: x {x0} to {x1} m, y "
        "{y0} to {y1} m, z {z0} to {z1} m); points outside it are not looked at.",
        "classes": "Classes",
        "head": "| class | train | validation | test | part |",
        "learned": "learned",
        "alike": "left out for {of}: neither object nor background, neither right nor wrong",
        "no_objects": "no object in the training split: not learned",
        "ignored": "excuses detections in its place; trained as background",
        "background": "background",
        "policy": "Policy",
        "van": "Van (for Car) and Person_sitting (for Pedestrian) are too much like the class to be called wrong and are not "
        "the class: anchors on them are left out of the loss, and a detection on one is neither right nor wrong.",
        "dont_care": "DontCare marks regions of the image that nobody labelled. It has no box in space, so training cannot know "
        "of it; a detection whose projection lies to more than half in one is not counted.",
        "empty": "Labelled objects without a point in their box are left out of the loss: there is nothing to learn from.",
        "view": "KITTI labels what the camera sees. A LiDAR also meets objects beside the image, without a label: training "
        "leaves those points out, and detections there are not counted. The endpoint looks at the whole cloud within its range.",
        "database": "Object database for augmentation: {objects} objects with at least one point, cut from the training split "
        "only.",
    },
    "ja": {
        "title": "検出器データの定義書",
        "intro": "1 フレームは LiDAR 点群 1 つとその較正・ラベルです。学習 {train}、検証 {validation}、テスト {test} フレーム。"
        "データセットのダイジェスト: `{digest}`。",
        "points": "点群",
        "points_text": "LiDAR 座標系(x 前方、y 左方、z 上方)の x, y, z [m] と反射強度 0〜1 を測定値のまま使い、"
        "スケーリングや補完はしません。ピラーは学習時に依頼の範囲で作ります(標準: x {x0}〜{x1} m、y {y0}〜{y1} m、z {z0}〜{z1} "
        "m)。範囲外の点は見ません。",
        "classes": "クラス",
        "head": "| クラス | 学習 | 検証 | テスト | 扱い |",
        "learned": "学習する",
        "alike": "{of} に対して除外: 物体でも背景でもなく、検出しても正誤に数えない",
        "no_objects": "学習用データに 1 つもないため学習しない",
        "ignored": "その位置の検出を正誤に数えない。学習では背景",
        "background": "背景",
        "policy": "扱いの方針",
        "van": "Van(Car に対して)と Person_sitting(Pedestrian に対して)は似ているため誤りとも正解とも言えません。"
        "これらに重なるアンカーは損失から除き、検出しても正誤に数えません。",
        "dont_care": "DontCare はラベル付けされていない画像領域です。3D ボックスがないため学習では考慮できません。"
        "投影の半分より多くがこの領域に入る検出は数えません。",
        "empty": "ボックス内に点が 1 つもない物体は、学ぶ手がかりがないため損失から除きます。",
        "view": "KITTI のラベルはカメラに写る物体だけです。画像の左右の外にある点は学習から除き、そこでの検出は数えません。"
        "エンドポイントは範囲内の点群全体を見ます。",
        "database": "データ拡張用の物体データベース: 点を 1 つ以上含む物体 {objects} 個(学習用データだけから切り出し)。",
    },
}


def definition_document(
    summary: FeatureSummary, objects: Mapping[Split, Mapping[str, int]], database: int, digest: str, language: Language
) -> str:
    """The document as Markdown; ``objects`` counts every label of a split by class, ``database`` the objects cut out."""
    say = SENTENCES[language]
    low, high = STANDARD.range_min, STANDARD.range_max
    corners = {f"{axis}{end}": value for end, corner in enumerate((low, high)) for axis, value in zip("xyz", corner, strict=True)}
    names = [*summary.classes, *sorted({name for found in objects.values() for name in found} - set(summary.classes))]
    rows = [
        f"| {_code(name)} | " + " | ".join(f"{objects[split][name]:,}" for split in SPLITS) + f" | {_part(name, summary, say)} |"
        for name in names
    ]
    frames = {split: f"{count:,}" for split, count in summary.rows.items()}
    lines = [
        f"# {say['title']}", "", say["intro"].format(**frames, digest=digest), "",
        f"## {say['points']}", "", say["points_text"].format(**corners), "",
        f"## {say['classes']}", "", say["head"], "| --- | ---: | ---: | ---: | --- |", *rows, "",
        f"## {say['policy']}", "", *(f"- {say[key]}" for key in ("van", "dont_care", "empty", "view")),
        f"- {say['database'].format(objects=f'{database:,}')}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _part(name: str, summary: FeatureSummary, say: Mapping[str, str]) -> str:
    if name in summary.classes:
        return say["learned"]
    if name in summary.dropped:
        return say[summary.dropped[name]]
    like = next((kind.name for kind in KITTI_ANCHORS if name in kind.alike and kind.name in summary.classes), None)
    if like is not None:
        return say["alike"].format(of=like)
    return say["ignored" if name == "DontCare" else "background"]


def _code(name: str) -> str:
    """A class of a label file, which anyone may have written, as a code span in a table cell."""
    return "`" + name[:40].replace("`", "'").replace("|", "¦") + "`"
