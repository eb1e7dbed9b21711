"""Values become numbers as scikit-learn makes them: gaps, scales, categories, targets, classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from feature_tables import CATEGORIES, NUMBERS, feature, matrix, prepare, request, splits
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from mlops_assets.tasks.tabular.definition import read_inputs
from mlops_assets.tasks.tabular.raw_inputs import raw_inputs


@pytest.mark.parametrize(
    ("how", "strategy"), [(None, "median"), ("mean", "mean"), ("median", "median"), ("mode", "most_frequent")]
)
@pytest.mark.parametrize("scaling", [None, "normalize", "standardize"])
def test_numbers_agree_with_scikit_learn(tmp_path: Path, how: str | None, strategy: str, scaling: str | None) -> None:
    frames = splits()
    options: dict[str, Any] = {"handle_missing": how} | ({scaling: True} if scaling else {})
    summary = prepare(tmp_path, frames, request(**options))
    assert summary.feature_names[:3] == tuple(NUMBERS)
    imputer = SimpleImputer(strategy=strategy).fit(frames["train"][NUMBERS].astype(np.float32).astype(np.float64))
    scaler = {None: None, "normalize": MinMaxScaler(), "standardize": StandardScaler()}[scaling]
    for split, frame in frames.items():
        expected = imputer.transform(frame[NUMBERS].astype(np.float32).astype(np.float64))
        if scaler is not None:
            expected = (scaler.fit_transform if split == "train" else scaler.transform)(expected)
        np.testing.assert_allclose(matrix(tmp_path, split)[:, :3], expected, rtol=1e-6, atol=1e-6)


def test_one_hot_agrees_with_scikit_learn_and_unseen_is_zero(tmp_path: Path) -> None:
    frames = splits()
    frames["test"].loc[0, "都市"] = "那覇"
    summary = prepare(tmp_path, frames)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(frames["train"][CATEGORIES].fillna(""))
    for split, frame in frames.items():
        np.testing.assert_array_equal(matrix(tmp_path, split)[:, 3:], encoder.transform(frame[CATEGORIES].fillna("")))
    assert matrix(tmp_path, "test")[0, 3:8].sum() == 0
    assert summary.feature_names[3:8] == ("都市=(missing)", "都市=大阪", "都市=札幌", "都市=東京", "都市=福岡")


def test_many_categories_share_other_as_in_scikit_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frames = {s: pd.DataFrame({"c": [f"v{k:03d}" for k in rng.zipf(1.3, n).clip(max=150)], "y": "a"}) for s, n in
              [("train", 2000), ("validation", 50), ("test", 300)]}  # fmt: skip
    frames["train"].loc[:1, "y"] = "b"
    frames["test"].loc[0, "c"] = "never seen"
    summary = prepare(tmp_path, frames)
    assert len(summary.feature_names) == 51
    assert summary.feature_names[-1] == "c=(other)"
    kept = [name.removeprefix("c=") for name in summary.feature_names[:-1]]
    counts = frames["train"]["c"].value_counts()
    assert counts[kept].min() >= counts.drop(kept).max()
    expected = np.column_stack([frames["test"]["c"] == name for name in kept] + [~frames["test"]["c"].isin(kept)])
    np.testing.assert_array_equal(matrix(tmp_path, "test"), expected)
    assert matrix(tmp_path, "test")[0, -1] == 1


def test_label_encoding_agrees_with_scikit_learn(tmp_path: Path) -> None:
    frames = splits()
    frames["test"].loc[0, "都市"] = "那覇"
    prepare(tmp_path, frames, request(encode_categorical="label"))
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(frames["train"][CATEGORIES].fillna(""))
    np.testing.assert_array_equal(matrix(tmp_path, "test")[:, 3:], encoder.transform(frames["test"][CATEGORIES].fillna("")))


def test_missing_category_becomes_the_most_frequent_with_mode(tmp_path: Path) -> None:
    frames = splits()
    summary = prepare(tmp_path, frames, request(handle_missing="mode"))
    most = frames["train"]["都市"].mode()[0]
    assert not any("(missing)" in name for name in summary.feature_names)
    missing = frames["test"]["都市"].isna().to_numpy()
    assert missing.any()
    assert (feature(tmp_path, summary, f"都市={most}", "test")[missing] == 1).all()


def test_target_encoding_does_not_tell_a_training_row_its_own_answer(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frames = {
        s: pd.DataFrame({"user": [f"u{k}" for k in rng.integers(0, n, n)], "y": rng.choice(["a", "b"], n)})
        for s, n in [("train", 1500), ("validation", 100), ("test", 100)]
    }
    summary = prepare(tmp_path, frames, request(encode_categorical="target"))
    encoded = feature(tmp_path, summary, "user_target")
    answers = (frames["train"]["y"] == "b").to_numpy()
    assert abs(np.corrcoef(encoded, answers)[0, 1]) < 0.15
    served = onnxruntime.InferenceSession((tmp_path / "out/features.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    whole = served.run(None, raw_inputs(frames["train"], read_inputs(tmp_path / "out")))[0].ravel()
    assert np.corrcoef(whole, answers)[0, 1] > 0.5  # what would have leaked


@pytest.mark.parametrize(
    ("labels", "features"), [(["a", "b"], ["c_target"]), (["a", "b", "c"], ["c_target_a", "c_target_b", "c_target_c"])]
)
def test_target_encoding_agrees_with_scikit_learn_on_rows_outside_training(
    tmp_path: Path, labels: list[str], features: list[str]
) -> None:
    from sklearn.preprocessing import TargetEncoder

    rng = np.random.default_rng(4)
    frames = {
        s: pd.DataFrame({"c": rng.choice(["p", "q", "r"], n).astype(object), "y": rng.choice(labels, n).astype(object)})
        for s, n in [("train", 300), ("validation", 20), ("test", 30)]
    }
    frames["test"].loc[0, "c"] = "unseen"
    summary = prepare(tmp_path, frames, request(encode_categorical="target"))
    assert list(summary.feature_names) == features
    encoder = TargetEncoder(smooth=10.0).fit(frames["train"][["c"]], frames["train"]["y"])
    np.testing.assert_allclose(matrix(tmp_path, "test"), encoder.transform(frames["test"][["c"]]), rtol=1e-6)


def test_regression_target_encoding_and_answers(tmp_path: Path) -> None:
    frames = {s: f.assign(y=np.linspace(-1e12, 5, len(f))) for s, f in splits().items()}
    summary = prepare(tmp_path, frames, request("regression", encode_categorical="target"))
    assert summary.classes == ()
    assert summary.feature_names[-2:] == ("都市_target", "plan|x_target")
    with np.load(tmp_path / "out/test.npz", allow_pickle=False) as arrays:
        assert arrays["y"].dtype == np.float64
        np.testing.assert_array_equal(arrays["y"], frames["test"]["y"])


def test_class_indexes_follow_sorted_labels(tmp_path: Path) -> None:
    frames = {s: f.assign(y=f["y"].map({"no": "はい", "yes": "いいえ"})) for s, f in splits().items()}
    summary = prepare(tmp_path, frames)
    assert summary.classes == ("いいえ", "はい")
    with np.load(tmp_path / "out/validation.npz", allow_pickle=False) as arrays:
        assert arrays["y"].dtype == np.int64
        assert [summary.classes[i] for i in arrays["y"]] == frames["validation"]["y"].tolist()
