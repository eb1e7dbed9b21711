"""The feature folder as a whole: the same bits in serving and when made again, its definition, refusals, a run that dies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from feature_tables import CATEGORIES, NUMBERS, feature, matrix, prepare, request, splits, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.errors import DataRejected, IntegrityError, UserError
from mlops_assets.tasks.interface import FeatureSummary
from mlops_assets.tasks.tabular.definition import SENTENCES, FeatureDefinition, read_inputs
from mlops_assets.tasks.tabular.features import prepare_features
from mlops_assets.tasks.tabular.raw_inputs import raw_inputs


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
