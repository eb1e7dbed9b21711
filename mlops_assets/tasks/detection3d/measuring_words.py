"""The sentences of the evaluation of detection in clouds: what each number counts, what could not be measured, words of figures.

The numbers are made in ``measuring``.
"""

from __future__ import annotations

from typing import Final

from mlops_assets.request.vocabulary import Language

WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "kitti": "KITTI {what} of {name}, {difficulty}: labels at least {height:g} px high, occluded at most {occlusion}, "
        "truncated "
        "at most {truncation:.0%}; overlap above {overlap:g} {where}; mean over {positions}; {objects} objects count. As a "
        "share of "
        "1; KITTI's tables show percent.",
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
        "positions as "
        "COCO. Ground truth: {objects} labelled objects of the test split with at least one LiDAR point, whatever their "
        "distance or "
        "height in the image. Van (for Car), Person_sitting (for Pedestrian), objects without a point, detections outside the "
        "image "
        "and unmatched ones by more than half in a DontCare region are neither right nor wrong.",
        "map_50_95": "As mAP@0.5, averaged over the overlaps 0.5, 0.55 … 0.95.",
        "recall": "Share of all objects that mAP@0.5 counts and that a detection of score {score:g} or more finds, overlap in "
        "space "
        "0.5 or more.",
        "precision": "Share of all detections of score {score:g} or more that are right, overlap in space 0.5 or more; ground "
        "truth "
        "as for mAP@0.5.",
        "latency": "Median over {clouds} test clouds, one at a time, from points in memory to boxes: pillars in numpy, both "
        "graphs in "
        "ONNX Runtime on one CPU thread of the machine that evaluated.",
        "warning.no_objects": "{name} has no object in the test split that counts; it takes no part in mAP.",
        "warning.never_detected": "{name} was never detected in the test split; its average precision is 0.",
        "warning.no_ground_truth": "KITTI's numbers of {name} ({difficulty}) are left out: no label of the test split counts "
        "there.",
        "warning.few": "R40 cannot be more than n/40 with n labels: {cases}. Compare such numbers only with others of this test "
        "split.",
        "warning.beyond": "{count} of {objects} objects of the test split lie beyond the detector's range (x up to {forward:g} "
        "m, "
        "y within {side:g} m). They cannot be found and count as missed.",
        "warning.rounded": "{name} {asked:g} m was rounded to {used:g} m, which the strides of the backbone divide.",
        "warning.no_image": "{count} of {frames} frames have no image; its size was taken from the calibration.",
        "warning.no_precision": "No detection reaches score {score:g}, so there is no precision.",
        "figure.pr": "Precision and recall in space, overlap 0.5",
        "figure.recall": "Recall",
        "figure.precision": "Precision",
        "figure.confusion": "Confusion matrix, score from {score:g}, overlap in space 0.5",
        "figure.true": "True class",
        "figure.detected": "Detected class",
        "figure.background": "background",
        "figure.share": "Share of the row",
    },
    "ja": {
        "kitti": "KITTI の {name} {difficulty} の{what}。対象は高さ {height:g} px 以上、オクルージョン {occlusion} 以下、"
        "切り取り "
        "{truncation:.0%} 以下のラベル {objects} 個。重なり(IoU)は{where}で {overlap:g} を超えること。{positions}の平均。"
        "1 に対する割合です(KITTI の表は % 表記)。",
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
        "map_50": "{classes} の 3D ボックスの平均適合率(IoU 0.5 以上、COCO と同じ再現率 101 点)のクラス平均。正解はテストデータの"
        "ラベルのうち LiDAR の点を 1 つ以上含む {objects} 個で、距離や画像上の高さは問いません。Van(Car に対して)、"
        "Person_sitting(Pedestrian に対して)、点を含まない物体、画像外の検出、どの物体にも対応せず DontCare "
        "領域に半分より多く入る検出は"
        "正誤に数えません。",
        "map_50_95": "mAP@0.5 と同じ計算を IoU 0.5, 0.55 … 0.95 で行った平均。",
        "recall": "mAP@0.5 が対象とする全物体のうち、スコア {score:g} 以上の検出で見つかった割合(3D の IoU 0.5 以上)。",
        "precision": "スコア {score:g} 以上の全検出のうち正しいものの割合(3D の IoU 0.5 以上、正解は mAP@0.5 と同じ)。",
        "latency": "テスト点群 {clouds} 個を 1 つずつ処理した時間の中央値(メモリ上の点からボックスまで)。ピラーは numpy、2 "
        "つのグラフは "
        "ONNX Runtime、評価した計算機の CPU 1 スレッド。",
        "warning.no_objects": "{name} はテストデータに評価対象の物体がないため、mAP に含めていません。",
        "warning.never_detected": "{name} はテストデータで一度も検出されませんでした。平均適合率は 0 です。",
        "warning.no_ground_truth": "{name} の KITTI 指標({difficulty})は、対象となるラベルがテストデータにないため省きました。",
        "warning.few": "ラベルが n 個のとき R40 は n/40 を超えられません: {cases}。同じテストデータの値とだけ比べてください。",
        "warning.beyond": "テストデータの物体 {objects} 個のうち {count} 個は検出範囲(x は {forward:g} m まで、y は ±{side:g} "
        "m)の"
        "外にあります。見つけられないため、見逃しに数えています。",
        "warning.rounded": "{name} {asked:g} m を、バックボーンのストライドで割り切れる {used:g} m にしました。",
        "warning.no_image": "{frames} フレーム中 {count} フレームに画像がないため、画像の大きさを較正から求めました。",
        "warning.no_precision": "スコア {score:g} 以上の検出がないため、適合率はありません。",
        "figure.pr": "適合率と再現率(3D、IoU 0.5)",
        "figure.recall": "再現率",
        "figure.precision": "適合率",
        "figure.confusion": "混同行列(スコア {score:g} 以上、3D の IoU 0.5)",
        "figure.true": "正解クラス",
        "figure.detected": "検出クラス",
        "figure.background": "背景",
        "figure.share": "行の中の割合",
    },
}
