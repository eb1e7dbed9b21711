"""The sentences of progress lines of PointPillars, in the languages an issue may have.

Sentences of the evaluation are in ``measuring_words``, those of the definition in ``definition``.
"""

from __future__ import annotations

from typing import Final

from mlops_assets.request.vocabulary import Language

PROGRESS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "reading": "{train} training and {validation} validation frames, {objects} objects to put in",
        "rounded": "{name} {asked:g} m becomes {used:g} m, which the strides of the backbone divide",
        "begin": "step {step}/{total} on {device}",
        "step": "epoch {epoch}/{epochs}, step {step}/{total}",
        "norms": "measuring the statistics of batch normalisation",
        "done": "{total} steps trained",
        "restarted": "the training begins anew, the checkpoint cannot be continued: {reason}",
        "validating": "detecting in {frames} validation frames",
        "trained": "trained",
    },
    "ja": {
        "reading": "学習 {train} フレーム、検証 {validation} フレーム、挿入用の物体 {objects} 個",
        "rounded": "{name} {asked:g} m を、バックボーンのストライドで割り切れる {used:g} m にしました",
        "begin": "ステップ {step}/{total} から開始({device})",
        "step": "エポック {epoch}/{epochs}、ステップ {step}/{total}",
        "norms": "バッチ正規化の統計量を計算中",
        "done": "{total} ステップの学習が終わりました",
        "restarted": "チェックポイントから再開できないため、最初から学習します: {reason}",
        "validating": "検証 {frames} フレームで検出中",
        "trained": "学習完了",
    },
}
