"""What is sent to MLflow is what MLflow accepts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.experiment_content import tracked_name


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300) | st.text("a/.@ ", max_size=12))
def test_every_name_becomes_one_that_mlflow_accepts(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    tracked = tracked_name(name)
    _validate_metric_name(tracked)
    assert tracked_name(tracked) == tracked, "what is accepted stays as it is"


@pytest.mark.parametrize(
    ("name", "tracked"),
    [
        ("mAP@0.5:0.95", "mAP_at_0.5:0.95"),
        ("class/../recall", "class/_/recall"),
        ("auc_roc", "auc_roc"),
        ("再現率", "再現率"),
        ("", "_"),
    ],
)
def test_names_stay_as_readable_as_they_can(name: str, tracked: str) -> None:
    assert tracked_name(name) == tracked
