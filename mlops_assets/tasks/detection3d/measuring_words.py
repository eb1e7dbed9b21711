"""The sentences of the evaluation of detection in clouds: what each number counts, and what could not be
measured.

The numbers are made in ``measuring``.
"""

from __future__ import annotations

from typing import Final

from mlops_assets.request.vocabulary import Language

WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "kitti": "KITTI {what} of {name}, {difficulty}: labels at least {height:g} px high, occluded at most {occlusion}, "
        "truncated at most {truncation:.0%}; overlap above {overlap:g} {where}; mean over {positions}; {objects} objects count. "
        "As a share of 1; KITTI's tables show percent.",
        "kitti.bbox": "average precision of boxes in the image",
        "kitti.aos": "average orientation similarity",
        "kitti.bev": "average precision of boxes seen from above",
        "kitti.3d": "average precision of boxes in space",
        "where.bbox": "in the image",
        "where.aos": "in the image",
        "where.bev": "from above",
        "where.3d": "in space",
        "positions.R40": "40 recall positions (R40, official since 2019)",
        "positions.R11": "11 recall positions (R11, before 2019)",
        "never": " The class was never detected, which counts as 0.",
        "map_50": "Mean over {classes} of the average precision of boxes in space at overlap 0.5 or more, at 101 recall "
        "positions as COCO. Ground truth: {objects} labelled objects of the test split with at least one LiDAR point, whatever "
        "their distance or height in the image. Where a detection finds nothing it is not wrong if it overlaps by half or more "
        "a Van (as Car), a Person_sitting (as Pedestrian) or an object without a point, if more than half of it in the image is "
        "DontCare, or if it is outside the image.",
        "map_50_95": "As mAP@0.5, averaged over the overlaps 0.5, 0.55 … 0.95.",
        "recall": "Share of the objects of all classes together (as in mAP@0.5) that a detection of score {threshold:.4g} or "
        "more finds at overlap 0.5 in space. This threshold is {how}.",
        "precision": "Share of the detections of score {threshold:.4g} or more that find an object of their class at overlap "
        "0.5 in space, all classes together; 0 without any. The threshold is that of recall.",
        "threshold.f1": "chosen on the validation split, where F1 over all classes is largest",
        "threshold.nothing_right": "the least score looked at, because no detection was right on the validation split",
        "threshold.no_validation": "not chosen on data, because the validation split holds no object",
        "latency": "Median over {clouds} test clouds, one at a time, from points in memory to boxes: pillars in numpy, both "
        "graphs in ONNX Runtime on one CPU thread of the machine that evaluated.",
        "warning.no_objects": "{name} has no object in the test split that counts; it takes no part in mAP.",
        "warning.never_detected": "{name} was never detected in the test split; its average precision is 0.",
        "warning.no_ground_truth": "KITTI's numbers are left out where no label of the test split counts: {cases}.",
        "warning.few": "R40 cannot be more than n/40 with n labels: {cases}. Compare such numbers only with others of this test "
        "split.",
        "warning.beyond": "{count} of {objects} objects of the test split lie beyond the detector's range (x up to {forward:g} "
        "m, y within {side:g} m). They cannot be found and count as missed.",
        "warning.rounded": "{name} {asked:g} m was rounded to {used:g} m, which the strides of the backbone divide.",
        "warning.no_image": "{count} of {frames} frames have no image; its size was taken from the calibration.",
        "warning.no_precision": "No detection of the test split reaches score {threshold:.4g}; precision is 0.",
        "warning.threshold": "The operating threshold {threshold:.4g} is {how}.",
    },
    "ja": {
        "kitti": "KITTI の {name} {difficulty} の{what}。対象は高さ {height:g} px 以上、オクルージョン {occlusion} 以下、"
        "切り取り {truncation:.0%} 以下のラベル {objects} 個。重なり(IoU)は{where}で {overlap:g} を超えること。"
        "{positions}の平均。1 に対する割合です(KITTI の表は % 表記)。",
        "kitti.bbox": "画像上のボックスの平均適合率(AP)",
        "kitti.aos": "平均方位類似度(AOS)",
        "kitti.bev": "鳥瞰ボックスの平均適合率(AP)",
        "kitti.3d": "3D ボックスの平均適合率(AP)",
        "where.bbox": "画像上",
        "where.aos": "画像上",
        "where.bev": "鳥瞰",
        "where.3d": "3D ",
        "positions.R40": "再現率 40 点(R40、2019 年以降の公式)",
        "positions.R11": "再現率 11 点(R11、2019 年より前の公式)",
        "never": "このクラスは一度も検出されなかったため 0 としています。",
        "map_50": "{classes} の 3D ボックスの平均適合率(IoU 0.5 以上、COCO と同じ再現率 101 点)のクラス平均。"
        "正解はテストデータのラベルのうち LiDAR の点を 1 つ以上含む {objects} 個で、距離や画像上の高さは問いません。"
        "物体に対応しない検出のうち、Van(Car として)、Person_sitting(Pedestrian として)、点を含まない物体と IoU 0.5 "
        "以上で重なるもの、画像上で半分より多くが DontCare 領域に入るもの、画像の外のものは誤りに数えません。",
        "map_50_95": "mAP@0.5 と同じ計算を IoU 0.5, 0.55 … 0.95 で行った平均。",
        "recall": "全クラスの物体(mAP@0.5 と同じ)のうち、スコア {threshold:.4g} 以上、3D の IoU 0.5 以上で検出できた割合。"
        "しきい値は{how}。",
        "precision": "スコア {threshold:.4g} 以上の検出のうち、3D の IoU 0.5 "
        "以上で同じクラスの物体に対応したものの割合(全クラス合計、検出がなければ 0)。しきい値は recall と同じ。",
        "threshold.f1": "検証データで全クラスの F1 が最大になる値",
        "threshold.nothing_right": "検証データに正しい検出がなかったため、対象とするスコアの下限値",
        "threshold.no_validation": "検証データに物体がないため、データから選んでいない値",
        "latency": "テスト点群 {clouds} 個を 1 つずつ処理した時間の中央値(メモリ上の点からボックスまで)。ピラーは numpy、2 "
        "つのグラフは ONNX Runtime、評価した計算機の CPU 1 スレッド。",
        "warning.no_objects": "{name} はテストデータに評価対象の物体がないため、mAP に含めていません。",
        "warning.never_detected": "{name} はテストデータで一度も検出されませんでした。平均適合率は 0 です。",
        "warning.no_ground_truth": "対象となるラベルがテストデータにない KITTI の指標は省きました: {cases}。",
        "warning.few": "ラベルが n 個のとき R40 は n/40 を超えられません: {cases}。同じテストデータの値とだけ比べてください。",
        "warning.beyond": "テストデータの物体 {objects} 個のうち {count} 個は検出範囲(x は {forward:g} m まで、y は ±{side:g} "
        "m)の外にあります。見つけられないため、見逃しに数えています。",
        "warning.rounded": "{name} {asked:g} m を、バックボーンのストライドで割り切れる {used:g} m にしました。",
        "warning.no_image": "{frames} フレーム中 {count} フレームに画像がないため、画像の大きさを較正から求めました。",
        "warning.no_precision": "テストデータにスコア {threshold:.4g} 以上の検出がないため、適合率は 0 です。",
        "warning.threshold": "しきい値 {threshold:.4g} は{how}です。",
    },
}
