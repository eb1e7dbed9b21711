"""The feature folder: held to scikit-learn, to its own graph, and to what the brief of the task promises."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from mlops_assets.data.dataset import Column, PreparedDataset
from mlops_assets.errors import DataRejected, IntegrityError, UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import FeatureSummary
from mlops_assets.tasks.tabular.definition import SENTENCES, FeatureDefinition, read_inputs
from mlops_assets.tasks.tabular.features import prepare_features
from mlops_assets.tasks.tabular.raw_inputs import raw_inputs

KINDS = {"f": "number", "O": "category", "M": "timestamp"}


def write_dataset(
    folder: Path, frames: dict[str, pd.DataFrame], target: str = "y", ignored: dict[str, str] | None = None, **named: Any
) -> Path:
    """A prepared dataset folder of these frames; float columns are numbers, object ones categories, datetimes timestamps."""
    folder.mkdir(parents=True, exist_ok=True)
    types = {"f": pa.float64(), "O": pa.string(), "M": pa.timestamp("us", tz="UTC"), "i": pa.int64()}
    first = next(iter(frames.values()))
    schema = pa.schema([(name, types[first[name].dtype.kind]) for name in first.columns])
    for split, frame in frames.items():
        pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), folder / f"{split}.parquet")
    ignored = ignored or {}
    columns = tuple(
        Column(name=name, kind=KINDS[first[name].dtype.kind], missing=0, distinct=1)
        for name in first.columns
        if name != target and name not in ignored
    )
    prepared = PreparedDataset(
        dataset_id="d", version="sha256-0", target=target, positive_class=None, columns=columns, ignored=ignored, sensitive=(),
        timestamp=named.get("timestamp"), entity=named.get("entity"), rows={s: len(f) for s, f in frames.items()}, removed={},
        split="random", seed=42, target_counts={}, checks=(), digest="0" * 64,
    )  # fmt: skip
    (folder / "dataset.json").write_text(prepared.model_dump_json())
    return folder


def request(task: str = "classification", language: str = "en", **preprocessing: Any) -> TrainingRequest:
    content = {
        "model_id": "line", "dataset": {"dataset_id": "d"}, "learning_type": "supervised", "task_type": task,
        "algorithm": "random_forest", "preprocessing": preprocessing, "language": language,
    }  # fmt: skip
    return TrainingRequest.model_validate(content)


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Numbers with gaps, Japanese categories with gaps, and a label."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "年齢 (歳)": rng.normal(40, 12, rows).round(1),
            "a": rng.exponential(1e3, rows),
            'a.b "c"': rng.integers(0, 4, rows).astype(float),
            "都市": rng.choice(["東京", "大阪", "札幌", "福岡"], rows).astype(object),
            "plan|x": rng.choice(["basic", "pro"], rows).astype(object),
            "y": rng.choice(["no", "yes"], rows).astype(object),
        }
    )
    for name in frame.columns[:-1]:
        frame.loc[rng.random(rows) < 0.1, name] = np.nan if frame[name].dtype.kind == "f" else None
    return frame


def splits(train: int = 200, other: int = 40) -> dict[str, pd.DataFrame]:
    return {"train": table(train, 1), "validation": table(other, 2), "test": table(other, 3)}


def prepare(folder: Path, frames: dict[str, pd.DataFrame], asked: TrainingRequest | None = None, **named: Any) -> FeatureSummary:
    return prepare_features(write_dataset(folder / "data", frames, **named), asked or request(), folder / "out")


def matrix(folder: Path, split: str = "train") -> np.ndarray:
    with np.load(folder / "out" / f"{split}.npz", allow_pickle=False) as arrays:
        return arrays["X"]


def feature(folder: Path, summary: FeatureSummary, name: str, split: str = "train") -> np.ndarray:
    return matrix(folder, split)[:, summary.feature_names.index(name)]


NUMBERS = ["年齢 (歳)", "a", 'a.b "c"']
CATEGORIES = ["都市", "plan|x"]


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


def test_serving_the_graph_row_by_row_gives_the_very_same_bits(tmp_path: Path) -> None:
    frames = splits()
    prepare(tmp_path, frames, request(standardize=True))
    inputs = read_inputs(tmp_path / "out")
    session = onnxruntime.InferenceSession((tmp_path / "out/features.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == [field.tensor_name for field in inputs] == NUMBERS + CATEGORIES
    for split, frame in frames.items():
        rows = [session.run(["features"], raw_inputs(frame.iloc[[i]], inputs))[0] for i in range(len(frame))]
        assert np.concatenate(rows).tobytes() == matrix(tmp_path, split).tobytes()


def test_the_graph_is_valid_onnx_with_unique_names_and_no_dead_inputs(tmp_path: Path) -> None:
    frames = {s: f.rename(columns={"a": "features", "年齢 (歳)": "f:0_Concat"}) for s, f in splits().items()}
    prepare(tmp_path, frames, request(max_features=3, normalize=True))
    graph = onnx.load(tmp_path / "out/features.onnx")
    onnx.checker.check_model(graph, full_check=True)
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    read = {name for node in graph.graph.node for name in node.input}
    made = {name for node in graph.graph.node for name in node.output} - {"features"}
    assert {i.name for i in graph.graph.input} | {c.name for c in graph.graph.initializer} | made == read


def test_validation_and_test_rows_change_nothing_that_training_sees(tmp_path: Path) -> None:
    options = {"standardize": True, "encode_categorical": "target", "feature_selection": "importance"}
    first, other = splits(), splits()
    other["validation"], other["test"] = table(33, 8), table(21, 9).assign(a=1e9, 都市="那覇")
    prepare(tmp_path / "one", first, request(**options))
    prepare(tmp_path / "two", other, request(**options))
    for name in ("train.npz", "features.onnx", "inputs.json"):
        assert (tmp_path / "one/out" / name).read_bytes() == (tmp_path / "two/out" / name).read_bytes()


def test_the_same_input_gives_the_same_bytes_and_digest_and_a_changed_one_another(tmp_path: Path) -> None:
    options = {"encode_categorical": "target", "feature_selection": "importance", "normalize": True}
    digests = [prepare(tmp_path / name, splits(), request(**options)).digest for name in ("one", "two")]
    assert digests[0] == digests[1]
    files = sorted(p.name for p in (tmp_path / "one/out").iterdir())
    assert files == [
        "definition.json",
        "definition.md",
        "features.onnx",
        "inputs.json",
        "summary.json",
        "test.npz",
        "train.npz",
        "validation.npz",
    ]
    for name in files:
        one, two = ((tmp_path / folder / "out" / name).read_bytes() for folder in ("one", "two"))
        assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest(), name
    changed = splits()
    changed["test"].loc[0, "y"] = "no" if changed["test"].loc[0, "y"] == "yes" else "yes"
    assert prepare(tmp_path / "three", changed, request(**options)).digest != digests[0]


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


def test_time_features_before_and_after_1970_with_missing_ones_imputed(tmp_path: Path) -> None:
    times = [datetime(1968, 2, 29, 23, 59, 59, tzinfo=UTC) + timedelta(hours=1000.5 * i) for i in range(400)]
    frame = pd.DataFrame({"いつ": pd.to_datetime(pd.Series(times), utc=True), "y": ["a", "b"] * 200})
    frame.loc[3, "いつ"] = pd.NaT
    frames = {"train": frame, "validation": frame[:5], "test": frame[5:9]}
    summary = prepare(tmp_path, frames, request(feature_engineering=("time_features",)))
    expected = {
        "いつ_hour": [t.hour for t in times],
        "いつ_day_of_week": [t.weekday() for t in times],
        "いつ_day_of_month": [t.day for t in times],
        "いつ_month": [t.month for t in times],
        "いつ_is_weekend": [t.weekday() >= 5 for t in times],
    }
    assert summary.feature_names == tuple(expected)
    present = np.arange(400) != 3
    for name, values in expected.items():
        got = feature(tmp_path, summary, name)
        np.testing.assert_array_equal(got[present], np.array(values)[present])
        assert got[3] == np.median(np.array(values)[present])
    assert read_inputs(tmp_path / "out")[0].example == "1968-02-29T23:59:59Z"


def test_a_timestamp_is_no_feature_without_time_features(tmp_path: Path) -> None:
    frames = {s: f.assign(t=pd.Timestamp("2024-02-29", tz="UTC")) for s, f in splits().items()}
    summary = prepare(tmp_path, frames)
    assert summary.dropped == {"t": "timestamp_without_time_features"}
    assert "t" not in [field.name for field in read_inputs(tmp_path / "out")]


def test_aggregates_by_an_ignored_entity_column(tmp_path: Path) -> None:
    frames = splits()
    for seed, frame in enumerate(frames.values()):
        frame["user"] = np.random.default_rng(seed).integers(2**40, 2**40 + 20, len(frame))
    frames["test"]["user"] = frames["test"]["user"].astype("int64")
    frames["test"].loc[0, "user"] = 7
    asked = request(feature_engineering=("aggregate_by_user",), entity_column="user")
    summary = prepare(tmp_path, frames, asked, ignored={"user": "identifier"})
    train = frames["train"]
    groups = train.groupby("user")
    known = frames["test"]["user"].isin(train["user"]).to_numpy()
    users = frames["test"].loc[known, "user"]
    assert known.sum() >= 30
    count = feature(tmp_path, summary, "user_count", "test")
    np.testing.assert_array_equal(count[known], groups.size().loc[users])
    assert count[0] == pytest.approx(groups.size().mean())
    mean = feature(tmp_path, summary, "a_mean_by_user", "test")
    np.testing.assert_allclose(mean[known], groups["a"].mean().loc[users], rtol=1e-5)
    assert mean[0] == pytest.approx(train["a"].mean(), rel=1e-5)
    (field,) = [f for f in read_inputs(tmp_path / "out") if f.name == "user"]
    assert (field.kind, field.categories, field.example) == ("string", (), None)
    assert "user" not in summary.feature_names


def test_what_is_asked_for_and_cannot_be_is_a_warning(tmp_path: Path) -> None:
    asked = request(handle_missing="mean", normalize=True, feature_engineering=("aggregate_by_user", "time_features"))
    summary = prepare(tmp_path, splits(), asked)
    assert set(summary.warnings) == {"aggregate_without_entity", "time_features_without_timestamp"}
    assert "no entity column is declared" in (tmp_path / "out/definition.md").read_text()


def test_correlated_and_unimportant_features_leave_the_graph(tmp_path: Path) -> None:
    frames = {}
    for split, frame in splits(400).items():
        signal = (frame["y"] == "yes").astype(float) + np.random.default_rng(1).normal(0, 0.1, len(frame))
        frames[split] = frame.assign(signal=signal, copy=signal * -3 + 1)
    summary = prepare(tmp_path / "c", frames, request(feature_selection="correlation"))
    assert summary.dropped["copy"] == "correlation"
    assert "signal" in summary.feature_names
    summary = prepare(tmp_path / "i", frames, request(feature_selection="importance", max_features=2))
    assert set(summary.feature_names) <= {"signal", "copy", *NUMBERS}
    assert len(summary.feature_names) == 2
    names = {field.name for field in read_inputs(tmp_path / "i/out")}
    assert names == set(summary.feature_names)
    summary = prepare(tmp_path / "n", frames, request(max_features=4))
    assert len(summary.feature_names) == 4
    summary = prepare(tmp_path / "m", frames, request(feature_selection="importance"))
    assert {"signal", "copy"} == set(summary.feature_names)


def test_hard_values_stay_finite(tmp_path: Path) -> None:
    hard = [1e30, -1e30, -0.0, 0.0, 1e-30, 3.4e38, -3.4e38, 1e300, np.inf, np.nan]
    frame = pd.DataFrame(
        {"hard": hard, "same": 0.1, "none": np.nan, "nothing": pd.Series([None] * 10, dtype=object), "y": ["a", "b"] * 5}
    )
    frames = dict.fromkeys(("train", "validation", "test"), frame)
    for scaling in ("normalize", "standardize"):
        summary = prepare(tmp_path, frames, request(**{scaling: True}, feature_selection="correlation"))
        assert np.isfinite(matrix(tmp_path)).all()
        assert summary.dropped == {"none": "all_missing", "nothing": "all_missing"}
        assert (feature(tmp_path, summary, "same") == 0).all()
    summary = prepare(tmp_path, frames)
    values = feature(tmp_path, summary, "hard")
    assert values[0] == np.float32(1e30)
    assert np.signbit(values[2])
    assert (values[7:] == values[7]).all()  # too large for float32 and infinite read as missing
    json.loads((tmp_path / "out/definition.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("encoding", ["onehot", "label", "target"])
def test_a_single_row_can_be_prepared(tmp_path: Path, encoding: str) -> None:
    frame = table(30)[:1].assign(y="yes")
    frames = dict.fromkeys(("train", "validation", "test"), frame)
    summary = prepare(tmp_path, frames, request(standardize=True, encode_categorical=encoding, feature_selection="importance"))
    assert summary.rows == {"train": 1, "validation": 1, "test": 1}
    assert np.isfinite(matrix(tmp_path)).all()


def test_batches_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"encode_categorical": "target", "standardize": True}
    whole = prepare(tmp_path / "whole", splits(), request(**options))
    monkeypatch.setattr("mlops_assets.tasks.tabular.splits.BATCH_ROWS", 7)
    assert prepare(tmp_path / "parts", splits(), request(**options)).digest == whole.digest


def test_required_follows_handle_missing_drop(tmp_path: Path) -> None:
    frames = {s: f.dropna() for s, f in splits().items()}
    prepare(tmp_path, frames, request(handle_missing="drop"))
    fields = read_inputs(tmp_path / "out")
    assert all(field.required for field in fields)
    train = frames["train"]
    assert fields[0].minimum == pytest.approx(train["年齢 (歳)"].min())
    assert fields[0].maximum == pytest.approx(train["年齢 (歳)"].max())
    assert fields[0].example == train["年齢 (歳)"].iloc[0]  # as typed, not as the nearest float32 prints in full
    assert fields[3].categories == ("大阪", "札幌", "東京", "福岡")
    assert fields[3].example in fields[3].categories


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_split_is_refused_by_name(tmp_path: Path, split: str) -> None:
    frames = splits()
    frames[split] = frames[split][:0]
    with pytest.raises(DataRejected, match=f"{split} split has no rows"):
        prepare(tmp_path, frames)
    assert not (tmp_path / "out").exists()


def test_refusals_name_what_is_wrong(tmp_path: Path) -> None:
    frames = splits()
    with pytest.raises(UserError) as refused:
        prepare(tmp_path, frames, request(feature_engineering=("aggregate_by_user",), entity_column="usr"))
    assert refused.value.field == "preprocessing.entity_column"
    assert "都市" in refused.value.allowed
    with pytest.raises(UserError, match="target cannot play"):
        prepare(tmp_path, frames, request(feature_engineering=("aggregate_by_user",), entity_column="y"))
    with pytest.raises(UserError, match="supervised"):
        prepare(tmp_path, frames, request("clustering"))
    unseen = frames | {"test": frames["test"].assign(y="maybe")}
    with pytest.raises(DataRejected, match="classes that the training split does not have"):
        prepare(tmp_path, unseen)
    with pytest.raises(DataRejected, match="an answer is missing"):
        prepare(tmp_path, frames | {"validation": frames["validation"].assign(y=pd.Series([None] * 40, dtype=object))})
    with pytest.raises(DataRejected, match="no feature is left"):
        prepare(tmp_path, {s: f[["y"]].assign(t=pd.Timestamp("2024-01-01", tz="UTC")) for s, f in frames.items()})
    (tmp_path / "data/test.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(IntegrityError, match=r"test\.parquet"):
        prepare_features(tmp_path / "data", request(), tmp_path / "out")


@pytest.mark.parametrize(("language", "word"), [("ja", "特徴量定義書"), ("en", "Feature definition")])
@pytest.mark.parametrize("encoding", ["onehot", "label", "target"])
def test_the_definition_tells_every_feature_in_the_language_asked_for(
    tmp_path: Path, language: str, word: str, encoding: str
) -> None:
    frames = {
        s: f.assign(t=pd.Timestamp("2024-01-01", tz="UTC")).rename(columns={"plan|x": "<b>|`@team`\n|x"})
        for s, f in splits().items()
    }
    asked = request(
        language=language, encode_categorical=encoding, standardize=True, normalize=True, entity_column="都市",
        feature_engineering=("time_features", "aggregate_by_user"), feature_selection="correlation",
    )  # fmt: skip
    summary = prepare(tmp_path, frames, asked)
    definition = FeatureDefinition.read(tmp_path / "out")
    assert tuple(entry.name for entry in definition.features) == summary.feature_names
    assert definition.classes == summary.classes
    assert {name for entry in definition.features for name in entry.inputs} == {f.name for f in read_inputs(tmp_path / "out")}
    (age,) = [entry for entry in definition.features if entry.name == "年齢 (歳)"]
    assert age.unit == "standard_deviations"
    assert age.parameters["scale"] == pytest.approx(
        np.nanstd(frames["train"]["年齢 (歳)"].fillna(age.parameters["fill"])), rel=1e-6
    )
    document = (tmp_path / "out/definition.md").read_text()
    assert word in document
    rows = [line for line in document.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert len(rows) == len(summary.feature_names)
    assert {row.count("|") for row in rows} == {7}
    assert "{" not in document
    assert "@team" not in "".join(document.split("`")[::2])  # only ever inside a code span


def test_both_languages_have_every_sentence_with_the_same_places() -> None:
    places = {
        language: {key: sorted({name for _, name, _, _ in Formatter().parse(text) if name}) for key, text in sentences.items()}
        for language, sentences in SENTENCES.items()
    }
    assert places["ja"] == places["en"]


def test_a_run_that_dies_half_way_leaves_no_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, splits())

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        prepare(tmp_path, splits())
    assert not (tmp_path / "out/summary.json").exists()
    monkeypatch.undo()
    summary = prepare(tmp_path, splits())
    assert FeatureSummary.model_validate_json((tmp_path / "out/summary.json").read_bytes()) == summary
    assert not list((tmp_path / "out").glob("*.tmp"))


cells = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["東京", "(missing)", "(other)", "nan", "\0", "A", "a"]))
floats = st.one_of(st.none(), st.floats(width=32), st.floats())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(floats, cells, cells, st.sampled_from(["p", "q"])), min_size=2, max_size=12),
    options=st.fixed_dictionaries(
        {
            "handle_missing": st.sampled_from([None, "mean", "median", "mode"]),
            "encode_categorical": st.sampled_from(["onehot", "label", "target"]),
            "standardize": st.booleans(),
            "normalize": st.booleans(),
            "feature_selection": st.sampled_from(["none", "correlation"]),
        }
    ),
)
def test_any_cells_become_finite_features_that_serving_repeats(
    tmp_path: Path, rows: list[tuple[Any, ...]], options: dict[str, Any]
) -> None:
    frame = pd.DataFrame(rows, columns=["n", "c", "列", "y"])
    frame = frame.astype({"n": float, "c": object, "列": object, "y": object})
    try:
        summary = prepare(tmp_path, dict.fromkeys(("train", "validation", "test"), frame), request(**options))
    except DataRejected as refused:
        assert "no feature is left" in refused.headline
        assert not np.isfinite(frame["n"].astype(np.float32)).any()
        assert all(not cell for name in ("c", "列") for cell in frame[name])
        return
    assert len(set(summary.feature_names)) == len(summary.feature_names)
    assert np.isfinite(matrix(tmp_path)).all()
    inputs = read_inputs(tmp_path / "out")
    served = onnxruntime.InferenceSession((tmp_path / "out/features.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    assert served.run(None, raw_inputs(frame, inputs))[0].tobytes() == matrix(tmp_path, "test").tobytes()
    if options["encode_categorical"] == "onehot" and options["feature_selection"] == "none":
        for name in {"c", "列"} & {field.name for field in inputs}:
            mine = [i for i, entry in enumerate(FeatureDefinition.read(tmp_path / "out").features) if entry.inputs == (name,)]
            assert (matrix(tmp_path)[:, mine].sum(axis=1) == 1).all()


def test_an_entity_and_a_timestamp_without_any_value_are_left_out_with_their_reason(tmp_path: Path) -> None:
    frames = {s: f.assign(t=pd.Series(pd.NaT, index=f.index, dtype="datetime64[us, UTC]"), u=None) for s, f in splits().items()}
    asked = request(feature_engineering=("aggregate_by_user", "time_features"), entity_column="u")
    summary = prepare(tmp_path, frames, asked, ignored={"u": "identifier"})
    assert summary.dropped == {"t": "all_missing", "u": "all_missing"}
    assert {field.name for field in read_inputs(tmp_path / "out")} == {*NUMBERS, *CATEGORIES}
