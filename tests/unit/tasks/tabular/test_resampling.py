"""Resampling touches the training rows of the fit and nothing else, makes no impossible row, and tells what it did."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_features import Prepared, silent

from mlops_assets.errors import DataRejected, IntegrityError, UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import ClassRows, TrainSummary
from mlops_assets.tasks.tabular import TabularTask, resampling, training
from mlops_assets.tasks.tabular.definition import FeatureDefinition, FeatureEntry
from mlops_assets.tasks.tabular.native_model import TrainingData, read_model
from mlops_assets.tasks.tabular.resampling import nominal_columns, resample

TASK = TabularTask()
HOWS = ("smote", "undersample", "oversample")
FAST = {"random_forest": {"n_estimators": 15}, "xgboost": {"n_estimators": 20}, "logistic_regression": {}}


def entry(name: str, transformation: str = "number", source: str = "", **parameters: Any) -> FeatureEntry:
    unit = {"one_hot": "flag", "label": "code", "time_part": "calendar"}.get(transformation, "source")
    return FeatureEntry.model_validate(
        {
            "name": name,
            "inputs": (source or name,),
            "transformation": transformation,
            "unit": unit,
            "parameters": parameters,
        }
    )


#: age and income, one category one-hot, one label-coded, weekday with weekend flag, and a number that is 0 or 1.
MIXED = (
    entry("age"),
    entry("income"),
    *(entry(f"plan={name}", "one_hot", "plan", category=name) for name in "abc"),
    entry("city", "label"),
    entry("at_day_of_week", "time_part", "at", part="day_of_week"),
    entry("at_is_weekend", "time_part", "at", part="is_weekend"),
    entry("senior"),
)
GROUPS = ((2, 3, 4), (5,), (6, 7), (8,))


def people(rows: int = 600, rare: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``MIXED`` and their class 0 or 1; the fourth plan, unknown to the one-hot columns, is all zero."""
    generator = np.random.default_rng(seed)
    y = (generator.random(rows) < rare).astype(np.int64)
    plan = np.eye(4)[generator.integers(0, 4, rows)][:, :3]
    day = generator.integers(0, 7, rows)
    numbers = np.column_stack([generator.normal(40, 10, rows) + 5 * y, generator.lognormal(8, 1, rows)])
    codes = np.column_stack([generator.integers(0, 30, rows), day, day >= 5, generator.integers(0, 2, rows)])
    return np.column_stack([numbers, plan, codes]).astype(np.float32), y


def with_definition(data: Prepared, entries: tuple[FeatureEntry, ...]) -> Prepared:
    """Write the feature definition that ``prepare`` would have written."""
    definition = FeatureDefinition(
        target="target", task_type="classification", classes=data.classes, features=entries, train_rows=1, dataset_digest="0" * 64
    )
    (data.features / "definition.json").write_text(definition.model_dump_json())
    return data


@pytest.fixture
def customers(prepared: Callable[..., Prepared]) -> Prepared:
    x, y = people()
    names = tuple(item.name for item in MIXED)
    return with_definition(prepared(x, y, classes=("stays", "leaves"), names=names, sizes=(0.6, 0.2)), MIXED)


def asking(data: Prepared, how: str, algorithm: str = "random_forest", **changes: Any) -> Any:
    changes = {"hyperparameters": FAST[algorithm], "preprocessing": {"resample": how}} | changes
    return data.request(algorithm, **changes)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def content(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


# --- only the training rows, only for the fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
def test_the_splits_reach_fit_and_measurement_as_they_are(
    customers: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Fails when sampling is moved before the split, or to the validation rows: what each verb reads is held to its digest."""
    from mlops_assets.tasks.tabular import evaluation, forest

    given_to_fit: list[TrainingData] = []
    measured: list[str] = []
    fit = forest.fit

    def watched_fit(data: TrainingData, *rest: Any) -> Any:
        given_to_fit.append(data)
        return fit(data, *rest)

    def watched(measure: Callable[..., Any]) -> Callable[..., Any]:
        def call(y: Any, *rest: Any) -> Any:
            measured.append(content(y))
            return measure(y, *rest)

        return call

    monkeypatch.setattr(forest, "fit", watched_fit)
    monkeypatch.setattr(training, "measure", watched(training.measure))
    monkeypatch.setattr(evaluation, "measure", watched(evaluation.measure))
    before = digests(customers.features)
    stored = {}
    for name in ("train", "validation", "test"):
        with np.load(customers.features / f"{name}.npz") as arrays:
            stored[name] = (content(arrays["X"]), content(arrays["y"]))
    TASK.train(customers.features, asking(customers, how), tmp_path / "model", silent)
    TASK.evaluate(customers.features, tmp_path / "model", asking(customers, how), tmp_path / "evaluation")
    (data,) = given_to_fit
    assert (content(data.x_measured), content(data.y_measured)) == stored["train"]
    assert (content(data.x_validation), content(data.y_validation)) == stored["validation"]
    assert (content(data.x), content(data.y)) != stored["train"]
    assert measured == [stored[name][1] for name in ("train", "validation", "test")]
    assert digests(customers.features) == before


def test_cleaning_splitting_and_preparing_do_not_look_at_resampling(tmp_path: Path) -> None:
    """Byte for byte the same splits and matrices: fails as soon as anything is resampled before or while the data is split."""
    from mlops_assets.data.cleaning import prepare_dataset
    from mlops_assets.data.dataset import CatalogueEntry
    from mlops_assets.data.ingest import ingest

    x, y = people(400)
    lines = [f"{a:.0f},{i:.0f},{'ABCD'[p.index(max(p[:3]))]},{'yes' if v else 'no'}" for (a, i, *p), v in zip(x, y, strict=True)]
    (tmp_path / "data.csv").write_text("\n".join(["age,income,plan,left", *lines]))
    entry = CatalogueEntry(dataset_id="data", source="data.csv", target="left")
    ingest(tmp_path / "data.csv", entry, tmp_path / "version")
    made = {}
    for how in ("none", *HOWS):
        request = TrainingRequest.model_validate(
            {
                "model_id": "line",
                "dataset": {"dataset_id": "data"},
                "learning_type": "supervised",
                "task_type": "classification",
                "algorithm": "random_forest",
                "hyperparameters": FAST["random_forest"],
                "preprocessing": {"resample": how},
            }
        )
        dataset = prepare_dataset(tmp_path / "version", request, "left", tmp_path / how / "dataset")
        features = TASK.prepare(tmp_path / how / "dataset", request, tmp_path / how / "features")
        splits = digests(tmp_path / how / "dataset") | digests(tmp_path / how / "features")
        made[how] = (dataset.digest, features.digest, {name: splits[name] for name in splits if name != "dataset.json"})
        if how == "smote":
            summary = TASK.train(tmp_path / how / "features", request, tmp_path / how / "model", silent)
            assert sum(rows.before for rows in summary.resampled) == features.rows["train"]
            assert len({rows.after for rows in summary.resampled}) == 1
    assert all(made[how] == made["none"] for how in HOWS)


@pytest.mark.parametrize("algorithm", sorted(FAST))
@pytest.mark.parametrize("how", HOWS)
def test_training_metrics_are_those_of_the_original_rows(customers: Prepared, tmp_path: Path, algorithm: str, how: str) -> None:
    from mlops_assets.tasks.tabular.measures import measure

    summary = TASK.train(customers.features, asking(customers, how, algorithm), tmp_path / "model", silent)
    model, _ = read_model(tmp_path / "model")
    with np.load(customers.features / "train.npz") as train:
        expected = measure(train["y"], model.predict(train["X"]), 2, 1).metrics
    assert {f"train_{name}": value for name, value in expected.items()}.items() <= summary.metrics.items()
    if algorithm == "random_forest":
        assert summary.curves["train_log_loss"][-1] == pytest.approx(expected["log_loss"], rel=1e-5)


@pytest.mark.parametrize("algorithm", sorted(FAST))
@pytest.mark.parametrize("how", HOWS)
def test_the_same_request_gives_the_same_digits(customers: Prepared, tmp_path: Path, algorithm: str, how: str) -> None:
    request = asking(customers, how, algorithm)
    runs = [TASK.train(customers.features, request, tmp_path / name, silent) for name in "ab"]
    assert runs[0].model_copy(update={"seconds": 0.0}) == runs[1].model_copy(update={"seconds": 0.0})
    assert (tmp_path / "a/model.json").read_bytes() == (tmp_path / "b/model.json").read_bytes()
    plain = TASK.train(customers.features, asking(customers, "none", algorithm), tmp_path / "c", silent)
    assert plain.metrics != runs[0].metrics
    assert plain.resampled == ()
    assert "imbalanced-learn" in json.loads((tmp_path / "a/model.json").read_text())["libraries"]
    assert "imbalanced-learn" not in json.loads((tmp_path / "c/model.json").read_text())["libraries"]


IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.tabular import TabularTask
features, out = map(Path, sys.argv[1:])
request = TrainingRequest.model_validate_json(sys.stdin.read())
print(TabularTask().train(features, request, out, lambda *_: None).model_copy(update={"seconds": 0.0}).model_dump_json())
"""


def test_another_process_with_other_threads_and_hashes_gives_the_same_metrics(customers: Prepared, tmp_path: Path) -> None:
    """What reproducing a training does: the same plan in a new process, perhaps on another machine."""
    request = asking(customers, "smote")
    here = TASK.train(customers.features, request, tmp_path / "here", silent).model_copy(update={"seconds": 0.0})
    for hashes, threads in (("1", "1"), ("2", "3")):
        surroundings = os.environ | {"PYTHONHASHSEED": hashes, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        there = subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS, customers.features, tmp_path / hashes],
            input=request.model_dump_json(),
            env=surroundings,
            capture_output=True,
            text=True,
            check=True,
        )
        assert TrainSummary.model_validate_json(there.stdout) == here


def test_another_seed_draws_other_rows() -> None:
    x, y = people()
    for how in HOWS:
        assert content(resample(x, y, how, 1, GROUPS)[0]) != content(resample(x, y, how, 2, GROUPS)[0])


# --- the rows that are made ---------------------------------------------------------------------------------------------


def test_columns_without_values_in_between_are_found() -> None:
    x, _ = people()
    assert nominal_columns(MIXED, x) == GROUPS
    date = (entry("m", "time_part", "at", part="month"), entry("h", "time_part", "at", part="hour"))
    date += (entry("d", "time_part", "at", part="day_of_month"), entry("mean", "target_mean"))
    assert nominal_columns(date, np.zeros((3, 4), np.float32)) == ((0, 2), (1,))


def as_patterns(x: np.ndarray) -> list[set[tuple[float, ...]]]:
    return [set(map(tuple, x[:, list(group)].tolist())) for group in GROUPS]


def test_a_synthetic_row_has_only_values_that_there_are_and_stands_between_real_ones() -> None:
    x, y = people()
    made, answers = resample(x, y, "smote", 42, GROUPS)
    assert np.array_equal(made[: len(x)], x)
    assert np.array_equal(answers[: len(y)], y)
    assert Counter(answers.tolist()) == {0: int((y == 0).sum()), 1: int((y == 0).sum())}
    new, rare = made[len(x) :], x[y == 1]
    for seen, there_are in zip(as_patterns(new), as_patterns(rare), strict=True):
        assert seen <= there_are
    assert (new[:, 2:5].sum(axis=1) <= 1).all()
    assert ((new[:, 6] >= 5) == (new[:, 7] == 1)).all()
    for column in (0, 1):
        assert rare[:, column].min() <= new[:, column].min() <= new[:, column].max() <= rare[:, column].max()
        assert len(set(new[:, column].tolist()) - set(rare[:, column].tolist())) > len(new) // 2
    # without the groups the same rows would be impossible: this is what the test is about
    naive, _ = resample(x, y, "smote", 42, ())
    assert (naive[len(x) :, 2:5] % 1 != 0).any()


def test_a_new_row_lies_on_the_line_between_two_rows_of_its_class() -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(60, 3)).astype(np.float32)
    y = np.array([0] * 50 + [1] * 10)
    made, _ = resample(x, y, "smote", 0, ())
    for new in made[60:]:
        gaps = [
            np.linalg.norm(new - a) + np.linalg.norm(new - b) - np.linalg.norm(a - b)
            for a in x[50:]
            for b in x[50:]
            if a is not b
        ]
        assert min(gaps) < 1e-5


@pytest.mark.parametrize("how", ["smote", "oversample"])
def test_every_class_grows_to_the_largest(how: str) -> None:
    x, _ = people(500)
    y = np.repeat([0, 1, 2, 4], [300, 120, 50, 30])  # class 3 has no training row and gets none
    made, answers = resample(x, y, how, 0, GROUPS)
    assert Counter(answers.tolist()) == {0: 300, 1: 300, 2: 300, 4: 300}
    assert np.array_equal(made[:500], x)


def test_undersampling_keeps_real_rows_in_file_order() -> None:
    x, y = people()
    made, answers = resample(x, y, "undersample", 0, GROUPS)
    assert Counter(answers.tolist()) == {0: int(y.sum()), 1: int(y.sum())}
    positions = [int(np.flatnonzero((x == row).all(axis=1))[0]) for row in made]
    assert positions == sorted(set(positions))


def test_oversampling_repeats_real_rows() -> None:
    x, y = people()
    made, answers = resample(x, y, "oversample", 0, GROUPS)
    rare = set(map(tuple, x[y == 1].tolist()))
    assert {tuple(row) for row in made[len(x) :].tolist()} <= rare
    assert set(answers[len(y) :].tolist()) == {1}


@pytest.mark.parametrize("shape", ["only categories", "constant numbers", "all rows alike"])
def test_classes_without_any_spread_can_grow(shape: str) -> None:
    x, y = people(200)
    if shape == "only categories":
        x, groups = x[:, 2:], tuple(tuple(c - 2 for c in group) for group in GROUPS)
    else:
        groups = GROUPS
        x[y == 1, :2] = 7.0
        if shape == "all rows alike":
            x[y == 1] = x[y == 1][0]
    made, answers = resample(x, y, "smote", 0, groups)
    assert (answers == 0).sum() == (answers == 1).sum()
    new = set(map(tuple, made[len(x) :, list(groups[0])].tolist()))
    assert new <= set(map(tuple, x[y == 1][:, list(groups[0])].tolist()))


def test_large_data_is_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limits of a small machine: bounded neighbours and batches, the same counts, still no impossible value."""
    monkeypatch.setattr(resampling, "PART_ROWS", 40)
    monkeypatch.setattr(resampling, "ROWS_AT_ONCE", 25)
    x, y = people(700)
    told: list[tuple[int, int]] = []
    made, answers = resample(x, y, "smote", 0, GROUPS, progress=lambda done, total: told.append((done, total)))
    assert (answers == 0).sum() == (answers == 1).sum()
    for seen, there_are in zip(as_patterns(made), as_patterns(x), strict=True):
        assert seen <= there_are
    assert told[-1][0] == told[-1][1] == len(made) - len(x)
    assert len(told) > len(x) // 50
    assert len(np.unique(made[len(x) :], axis=0)) > 0.9 * (len(made) - len(x))


@pytest.mark.parametrize("how", ["smote", "oversample"])
def test_many_classes_beside_a_large_one_do_not_multiply_the_data(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "MOST_CELLS", 0)
    y = np.concatenate([np.zeros(1000, np.int64), np.repeat(np.arange(1, 41), 10), np.full(300, 41)])
    x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    _, answers = resample(x, y, how, 0, ())
    counts = Counter(answers.tolist())
    assert len(answers) <= 2 * len(y)
    assert counts[0] == 1000
    assert counts[41] == 300
    assert len({counts[label] for label in range(1, 41)}) == 1
    assert counts[1] > 40


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(6, 60), min_size=2, max_size=5), st.sampled_from(HOWS), st.integers(0, 2**31 - 1))
def test_any_classes_are_balanced_and_real_rows_kept(sizes: list[int], how: str, seed: int) -> None:
    x, _ = people(sum(sizes), seed=seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    made, answers = resample(x, y, how, seed, GROUPS)
    size = min(sizes) if how == "undersample" else max(sizes)
    assert Counter(answers.tolist()) == dict.fromkeys(range(len(sizes)), size)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    if how != "undersample":
        assert np.array_equal(made[: len(x)], x)


# --- refusals and what is told ------------------------------------------------------------------------------------------


def test_too_few_rows_for_smote_name_class_rows_need_and_remedy(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    y = np.array([0] * 60 + [1] * 30 + [2] * 5)
    data = prepared(generator.normal(size=(95, 2)), y, classes=("good", "poor", "bad"), sizes=(1.0, 0.0), shuffle=False)
    with_definition(data, (entry("column_0"), entry("column_1")))
    with pytest.raises(DataRejected) as refused:
        TASK.train(data.features, asking(data, "smote"), tmp_path / "model", silent)
    text = str(refused.value)
    assert "bad: 5 row(s)" in text
    assert "at least 6" in text
    assert "oversample" in text
    assert "poor" not in text
    assert not (tmp_path / "model").exists()
    TASK.train(data.features, asking(data, "oversample"), tmp_path / "model", silent)


def test_missing_values_are_refused_by_smote_alone(customers: Prepared, tmp_path: Path) -> None:
    with np.load(customers.features / "train.npz") as train:
        x, y = train["X"].copy(), train["y"]
    x[3, 0] = np.nan
    np.savez(customers.features / "train.npz", X=x, y=y)
    with pytest.raises(DataRejected, match="missing"):
        TASK.train(customers.features, asking(customers, "smote"), tmp_path / "model", silent)
    TASK.train(customers.features, asking(customers, "undersample"), tmp_path / "model", silent)


def test_resampling_of_values_is_refused(diabetes: Prepared, tmp_path: Path) -> None:
    request = diabetes.request("random_forest", preprocessing={"resample": "smote"})
    with pytest.raises(UserError, match="classification only"):
        TASK.train(diabetes.features, request, tmp_path / "model", silent)


@pytest.mark.parametrize("damage", ["absent", "other columns"])
def test_a_definition_that_does_not_fit_the_matrix_is_refused(customers: Prepared, tmp_path: Path, damage: str) -> None:
    if damage == "absent":
        (customers.features / "definition.json").unlink()
    else:
        with_definition(customers, (*MIXED[1:], MIXED[0]))
    with pytest.raises(IntegrityError, match="definition"):
        TASK.train(customers.features, asking(customers, "smote"), tmp_path / "model", silent)


@pytest.mark.parametrize(("language", "said"), [("ja", "行数をそろえました"), ("en", "balanced the training split")])
def test_the_log_and_the_summary_tell_the_rows_of_each_class(
    customers: Prepared, tmp_path: Path, language: str, said: str
) -> None:
    lines: list[str] = []
    fractions: list[float] = []

    def report(fraction: float, line: str, metrics: Mapping[str, float]) -> None:
        lines.append(line)
        fractions.append(fraction)

    summary = TASK.train(customers.features, asking(customers, "smote", language=language), tmp_path / "model", report)
    with np.load(customers.features / "train.npz") as train:
        stays, leaves = np.bincount(train["y"]).tolist()
    assert summary.resampled == (
        ClassRows(label="stays", before=stays, after=stays),
        ClassRows(label="leaves", before=leaves, after=stays),
    )
    (line,) = [line for line in lines if said in line]
    assert f"leaves: {leaves} → {stays}" in line
    assert fractions == sorted(fractions)


def test_weights_apply_on_top_of_resampling(customers: Prepared, tmp_path: Path) -> None:
    knobs = {**FAST["xgboost"], "max_depth": 1}
    even = TASK.train(
        customers.features, asking(customers, "oversample", "xgboost", hyperparameters=knobs), tmp_path / "a", silent
    )
    request = asking(customers, "oversample", "xgboost", hyperparameters={**knobs, "scale_pos_weight": 4.0})
    weighed = TASK.train(customers.features, request, tmp_path / "b", silent)
    assert weighed.metrics["train_recall"] > even.metrics["train_recall"]
    forest = {**FAST["random_forest"], "class_weight": "balanced"}
    TASK.train(customers.features, asking(customers, "smote", hyperparameters=forest), tmp_path / "c", silent)
