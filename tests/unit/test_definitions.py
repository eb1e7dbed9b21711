"""The code location as Dagster sees it, and the real graph run in process where its shape decides: gate and blocking checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import (
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    Definitions,
    RunsFilter,
)

from jobs.frame_jobs import FRAME_ASSETS, SHARDS_JOB
from jobs.instance import open_instance
from jobs.line_jobs import line_jobs
from jobs.runner import Runner
from mlops_assets import definitions
from mlops_assets.assets.data import BLOCKING, DESCRIPTIONS
from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.definitions import defs
from mlops_assets.partitions import kitti_shards, model_lines
from resources.artifacts import TRAINING_TAG
from resources.platform import Platform
from resources.runs import TRAIN_JOB

PROPOSED = {"training_request", "plan"}
TRAINED = {"dataset", "features", "model", "evaluation", "approved_model", "operator_request", "package", "endpoint"}
GROUPS = {
    "request": PROPOSED,
    "data": {"dataset", "features"},
    "development": {"model"},
    "validation": {"evaluation", "approved_model", "operator_request"},
    "delivery": {"package", "endpoint"},
    "frames": set(FRAME_ASSETS),
}


def names(keys: set[AssetKey]) -> set[str]:
    return {key.to_user_string() for key in keys}


def test_the_definitions_load_as_dagster_loads_them() -> None:
    Definitions.validate_loadable(defs)
    loadable = [found for found in vars(definitions).values() if isinstance(found, Definitions)]
    assert loadable == [defs], "Dagster wants one of them in the module"


def test_every_asset_is_described_grouped_and_partitioned_by_line_or_by_shard() -> None:
    graph = defs.resolve_asset_graph()
    assert names(set(graph.materializable_asset_keys)) == PROPOSED | TRAINED | set(FRAME_ASSETS)
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.partitions_def == (kitti_shards if key.to_user_string() in FRAME_ASSETS else model_lines), key
        assert node.description, key
        assert key.to_user_string() in GROUPS[node.group_name or ""], key


@pytest.mark.parametrize(("job", "assets"), [("propose", PROPOSED), ("train", TRAINED), ("retrain", PROPOSED | TRAINED)])
def test_a_job_selects_what_it_says(job: str, assets: set[str]) -> None:
    resolved = defs.resolve_job_def(job)
    assert names(set(resolved.asset_layer.selected_asset_keys)) == assets
    assert resolved.partitions_def == model_lines
    assert {line_job.name for line_job in line_jobs} == {"propose", "train", "retrain"}


def test_shards_are_a_graph_of_their_own_that_no_line_waits_for() -> None:
    assert names(set(defs.resolve_job_def(SHARDS_JOB).asset_layer.selected_asset_keys)) == set(FRAME_ASSETS)
    graph = defs.resolve_asset_graph()
    parents = {name: names(set(graph.get(AssetKey(name)).parent_keys)) for name in (*FRAME_ASSETS, "dataset")}
    assert parents == {"kitti_frames": set(), "voxels": {"kitti_frames"}, "kitti_coco": {"kitti_frames"}, "dataset": {"plan"}}


def test_rules_that_stop_a_training_are_blocking_checks_and_the_others_are_not() -> None:
    graph = defs.resolve_asset_graph()
    of_dataset = {key.name for key in graph.asset_check_keys if key.asset_key == AssetKey("dataset")}
    assert of_dataset == set(DESCRIPTIONS)
    for rule in DESCRIPTIONS:
        node = graph.get(AssetCheckKey(AssetKey("dataset"), rule))
        assert node.blocking == (rule in BLOCKING), rule
        assert node.description, rule
    assert set(BLOCKING) == {"schema", "target", "class_support", "files"}


@pytest.fixture
def instance(platform: Platform) -> Iterator[DagsterInstance]:
    with open_instance(platform.home) as opened:
        yield opened


def carried(platform: Platform, instance: DagsterInstance, fields: str) -> tuple[str, DagsterRun]:
    """An issue on the registered table, carried as far as it goes: its outcome and its train run."""
    body = f"```yaml\ndataset_id: tiny\nalgorithm: random_forest\nhyperparameters:\n  n_estimators: 5\n{fields}```\n"
    issue = platform.tracker.open_issue("tiny", body, ["mlops:train"])
    record = Runner(platform, instance, lambda action, detail: None).carry(issue.number)
    assert record is not None
    (run,) = instance.get_runs(RunsFilter(job_name=TRAIN_JOB, tags={TRAINING_TAG: record.training_id}))
    return record.outcome, run


def events(instance: DagsterInstance, run: DagsterRun, kind: DagsterEventType) -> set[str]:
    records = instance.get_records_for_run(run.run_id, of_type=kind).records
    found = (record.event_log_entry.get_dagster_event() for record in records)
    return {event.asset_key.to_user_string() if event.asset_key else str(event.step_key) for event in found}


def register(platform: Platform, folder: Path, rows: list[str]) -> None:
    table = folder / "tiny.csv"
    table.write_text("\n".join(["size,weight,kind", *rows]) + "\n", encoding="utf-8")
    platform.catalogue.add(CatalogueEntry(dataset_id="tiny", source=str(table), target="kind"))


def test_a_model_short_of_its_threshold_goes_to_the_operator_and_is_not_packaged(
    platform: Platform, instance: DagsterInstance, tmp_path: Path
) -> None:
    register(platform, tmp_path, [f"{(i * 7) % 31},{(i * 13) % 17},{'ab'[(i * i + i // 3) % 2]}" for i in range(120)])
    outcome, run = carried(platform, instance, "task_type: classification\nevaluation_threshold: 1.0\n")
    made = events(instance, run, DagsterEventType.ASSET_MATERIALIZATION)
    assert outcome == "below_threshold" and run.is_success
    assert "operator_request" in made and made & {"approved_model", "package", "endpoint"} == set()
    assert events(instance, run, DagsterEventType.STEP_SKIPPED) == {"package", "endpoint"}


def test_a_model_that_reaches_its_threshold_is_packaged_and_never_asks_the_operator(
    platform: Platform, instance: DagsterInstance, tmp_path: Path
) -> None:
    register(platform, tmp_path, [f"{i},{i % 7},{'small' if i < 60 else 'large'}" for i in range(120)])
    outcome, run = carried(platform, instance, "task_type: classification\nevaluation_threshold: 0.5\n")
    try:
        made = events(instance, run, DagsterEventType.ASSET_MATERIALIZATION)
        assert outcome == "deployed"
        assert made == TRAINED - {"operator_request"}
    finally:
        for served in platform.endpoints.list():
            platform.endpoints.stop(served.name)


def test_numbers_as_target_leave_the_rules_of_classes_passed(
    platform: Platform, instance: DagsterInstance, tmp_path: Path
) -> None:
    register(platform, tmp_path, [f"{i % 40},{i % 7},{(i % 40) * 2.5 + i % 7}" for i in range(160)])
    outcome, run = carried(
        platform, instance, "task_type: regression\nevaluation_metrics: [rmse]\nevaluation_threshold: 0.000001\n"
    )
    assert outcome == "below_threshold", instance.all_logs(run.run_id)[-1]
    assert "features" in events(instance, run, DagsterEventType.ASSET_MATERIALIZATION)


def test_data_that_breaks_a_stop_rule_leaves_evidence_and_stops_the_run_before_features(
    platform: Platform, instance: DagsterInstance, tmp_path: Path
) -> None:
    register(platform, tmp_path, [f"{i},{i % 5},{'rare' if i == 17 else 'usual'}" for i in range(60)])
    outcome, run = carried(platform, instance, "task_type: classification\nevaluation_threshold: 0.5\n")
    assert outcome == "failed" and run.is_failure
    assert events(instance, run, DagsterEventType.ASSET_MATERIALIZATION) == set()
    assert events(instance, run, DagsterEventType.STEP_START) == {"dataset"}
    records = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION).records
    evaluations = [r.event_log_entry.get_dagster_event().asset_check_evaluation_data for r in records]
    failed = {e.check_name: e for e in evaluations if not e.passed}
    assert failed["class_support"].severity == AssetCheckSeverity.ERROR
    assert failed["class_support"].metadata["evidence"].value["rare"] == 1
    assert {e.check_name for e in evaluations if e.passed} >= {"schema", "target", "null_rate"}
