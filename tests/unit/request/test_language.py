"""Whose language the thread answers in."""

from __future__ import annotations

import pytest

from mlops_assets.request.language import detect_language

YAML = "```yaml\ndataset_id: x\nalgorithm: xgboost\n```"


@pytest.mark.parametrize(
    ("title", "body", "language"),
    [
        ("", "", "en"),
        ("Train a model", YAML, "en"),
        ("モデル学習", YAML, "ja"),
        ("[MLOps] churn", f"顧客の離反を予測します。\n\n{YAML}", "ja"),
        ("[MLOps] churn", "```yaml\ndataset_id: x  # 顧客\nalgorithm: xgboost  # 決定木\n```", "ja"),
        (
            "Please predict churn",
            "We need this soon. It matters.\n\n```yaml\ndataset_id: x  # 顧客\nalgorithm: y # 決定木\n```",
            "en",
        ),
        ("Train", f"{YAML}\n<!-- 記入例：ここに書いてください。日本語でも英語でも。 -->", "en"),
        ("Train", f"{YAML}\n```python\n# 日本語のコメント\n# もう一つ\n# さらに\n```", "en"),
        ("", "データ: x\nアルゴリズム: xgboost", "en"),
        ("", "dataset_id: x\ntags: {team: 営業}", "ja"),
        ("", "ｄａｔａｓｅｔ＿ｉｄ：x\nalgorithm：xgboost", "en"),
        ("", "dataset_id: x\n# ﾃｽﾄ", "ja"),
    ],
)
def test_detected_language(title, body, language):
    assert detect_language(title, body) == language
