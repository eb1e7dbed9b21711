"""The sentences of definition, progress, conventions and warnings of image detection, in the languages an issue may have.

Sentences only. Words inside figures are in ``tasks.detection.detection_figures``, a report's own in ``mlops_assets.reports``.
"""

from __future__ import annotations

from typing import Final

from mlops_assets.request.vocabulary import Language

WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "split.train": "training",
        "split.validation": "validation",
        "split.test": "test",
        "definition.title": "Features of image detection",
        "definition.format": "One COCO annotation file for each split, in `annotations/`; boxes are left, top, width, "
        "height in pixels, cut at the image's borders. The images are the dataset's own files.",
        "definition.policy": "What becomes of each KITTI class",
        "definition.class": "class",
        "definition.role": "role",
        "definition.category": "learned as {name}",
        "definition.crowd": "region to ignore for {name}",
        "definition.every_crowd": "region to ignore for every class",
        "definition.background": "background",
        "definition.ignored": "A region to ignore is not an object to find, and a detection in it (half of its area "
        "or more) is not counted as wrong; training does not learn it as background. A detection of a background "
        "class counts as wrong.",
        "definition.objects": "Objects to find",
        "definition.frames": "frames",
        "definition.input": "The network reads RGB images scaled without distortion into {width} x {height} px (width "
        "x height), at the upper left, grey around.",
        "progress.reading": "reading the images",
        "progress.epoch": "epoch {done}/{total}",
        "progress.resumed": "going on after epoch {done} of {total} from the checkpoint",
        "progress.restarted": "the checkpoint cannot be continued, starting from the beginning: {reason}",
        "progress.measuring": "measuring on the validation split",
        "progress.done": "trained",
        "threshold.f1": "chosen on the validation split, where F1 over all classes is largest",
        "threshold.nothing_right": "the least score looked at, because no detection was right on the validation split",
        "threshold.no_validation": "not chosen on data, because the validation split holds no object",
        "convention.map_50": "COCO's average precision at IoU 0.5 (101 recall positions, at most 100 detections an "
        "image and class, scores from {least:g}), mean over the classes that the test split shows.",
        "convention.map": "As mAP@0.5, mean over IoU 0.5, 0.55 … 0.95.",
        "convention.recall": "Share of the objects of all classes together that are found at IoU 0.5 with a score "
        "of {threshold:.4g} or more. This threshold is {how}.",
        "convention.precision": "Share of the detections with a score of {threshold:.4g} or more that find an object "
        "of their class at IoU 0.5, all classes together; detections in regions to ignore do not count. The threshold "
        "is that of recall.",
        "convention.latency": "Median over {images} test images, one image at a time, one processor thread, PyTorch "
        "on the CPU of the machine that evaluated: decoded image to boxes, without reading the file or HTTP.",
        "warning.class_without_objects": "The test split holds no {name}: the means are without this class.",
        "warning.never_detected": "Not one {name} was detected at a score of {least:g} or more.",
        "warning.no_detections": "The network detected nothing at a score of {least:g} or more.",
        "warning.mixed_up": "The boxes fit well but their classes do not: the class names may be mixed up.",
        "warning.threshold": "The operating threshold {threshold:.4g} is {how}.",
    },
    "ja": {
        "split.train": "学習",
        "split.validation": "検証",
        "split.test": "テスト",
        "definition.title": "画像物体検出の特徴量",
        "definition.format": "分割ごとに COCO 形式のアノテーションファイルが 1 つ、`annotations/` にあります。ボックスは左、"
        "上、幅、高さ (ピクセル) で、画像の端で切り取っています。画像はデータセットのファイルそのものです。",
        "definition.policy": "KITTI の各クラスの扱い",
        "definition.class": "クラス",
        "definition.role": "扱い",
        "definition.category": "{name} として学習",
        "definition.crowd": "{name} の無視領域",
        "definition.every_crowd": "全クラスの無視領域",
        "definition.background": "背景",
        "definition.ignored": "無視領域は検出すべき物体に数えません。面積の半分以上が無視領域に入る検出は誤検出に数えず、学"
        "習でも背景として扱いません。背景のクラスを検出した場合は誤検出に数えます。",
        "definition.objects": "検出対象の物体数",
        "definition.frames": "フレーム",
        "definition.input": "ネットワークは RGB 画像を縦横比を保ったまま {width} x {height} px (幅 x 高さ) に収まるよう縮小"
        "し、左上に置いて余白を灰色で埋めて読み込みます。",
        "progress.reading": "画像を読み込み中",
        "progress.epoch": "エポック {done}/{total}",
        "progress.resumed": "チェックポイントから再開: {total} エポック中 {done} エポックまで完了",
        "progress.restarted": "チェックポイントから再開できないため、最初から学習します: {reason}",
        "progress.measuring": "検証データで計測中",
        "progress.done": "学習完了",
        "threshold.f1": "検証データで全クラスの F1 が最大になる値",
        "threshold.nothing_right": "検証データに正しい検出がなかったため、対象とするスコアの下限値",
        "threshold.no_validation": "検証データに物体がないため、データから選んでいない値",
        "convention.map_50": "COCO 方式、IoU 0.5 の平均適合率 (再現率 101 点、画像とクラスごとに最大 100 検出、スコア {least:g} "
        "以上)。テストデータに現れるクラスの平均。",
        "convention.map": "mAP@0.5 と同じ条件で、IoU 0.5、0.55 … 0.95 の平均。",
        "convention.recall": "全クラスの物体のうち、スコア {threshold:.4g} 以上、IoU 0.5 で検出できた割合。しきい値は{how}。",
        "convention.precision": "スコア {threshold:.4g} 以上の検出のうち、IoU 0.5 で同じクラスの物体に対応したものの割合 (全"
        "クラス合計)。無視領域での検出は数えません。しきい値は再現率と同じ。",
        "convention.latency": "テスト画像 {images} 枚の中央値。1 枚ずつ、1 スレッド、評価したマシンの CPU 上の PyTorch で、"
        "デコード済み画像からボックスまで。ファイルの読み込みと HTTP は含みません。",
        "warning.class_without_objects": "テストデータに {name} がないため、平均から除きました。",
        "warning.never_detected": "スコア {least:g} 以上の {name} の検出が 1 つもありませんでした。",
        "warning.no_detections": "スコア {least:g} 以上の検出が 1 つもありませんでした。",
        "warning.mixed_up": "ボックスの位置は合っていますがクラスが合っていません。クラス名を取り違えている可能性があります。",
        "warning.threshold": "しきい値 {threshold:.4g} は{how}です。",
    },
}
