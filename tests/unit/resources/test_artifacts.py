"""Artifacts of interleaving runs: each training reads its own, a run of a part adopts from one earlier training of its line."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetRecordsFilter,
    AssetsDefinition,
    DagsterInstance,
    ExecuteInProcessResult,
    InitResourceContext,
    IOManager,
    MaterializeResult,
    asset,
    io_manager,
    materialize,
)
from pydantic import Field

from mlops_assets.errors import NotFound
from mlops_assets.partitions import MODEL_LINES, model_lines
from mlops_assets.request.schema import Frozen
from resources.artifacts import TRAINING_TAG, Artifact, ArtifactIOManager, Staged, training_id_in
from resources.platform import Platform


class Content(Frozen):
    """Who made an artifact, and of what."""

    training_id: str
    read: dict[str, str] = Field(default_factory=dict)
    salt: int = 0


class Line:
    """Three tiny assets over the real IO manager, store and ledger: ``dataset -> features -> model <- dataset``."""

    def __init__(self, platform: Platform, instance: DagsterInstance, folder: Path) -> None:
        self.platform = platform
        self.instance = instance
        self.folder = folder
        self.salt = 0

    def run(
        self, line: str, assets: Sequence[str], training: str | None = None, *, raise_on_error: bool = True
    ) -> ExecuteInProcessResult:
        self.instance.add_dynamic_partitions(MODEL_LINES, [line])
        return materialize(
            self._assets(),
            selection=[AssetKey(name) for name in assets],
            partition_key=line,
            instance=self.instance,
            resources={"artifacts": self._io_manager()},
            tags={TRAINING_TAG: training} if training is not None else {},
            raise_on_error=raise_on_error,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def read(self, line: str, training: str, name: str) -> Content:
        reference = self.platform.ledger.reference(training, name)
        assert reference is not None and reference.model_id == line
        return Artifact(reference, self.platform.store.checkout(reference.prefix)).read("content.json", Content)

    def _io_manager(self) -> object:
        @io_manager
        def artifacts(_: InitResourceContext) -> IOManager:
            return ArtifactIOManager(self.platform)

        return artifacts

    def _staged(self, context: AssetExecutionContext, name: str, **inputs: Artifact) -> MaterializeResult[object]:
        training = training_id_in(context.instance, context.run_id)
        self.salt += 1
        folder = self.folder / f"{name}-{self.salt}"
        folder.mkdir(parents=True)
        read = {key: value.read("content.json", Content).training_id for key, value in inputs.items()}
        content = Content(training_id=training, read=read, salt=self.salt)
        (folder / "content.json").write_text(content.model_dump_json())
        prefix = f"trainings/{training}/{name}-{self.salt}"  # a place of its own each time, as a repeated step may make
        return MaterializeResult(value=Staged(folder, prefix, training, inputs))

    def _assets(self) -> list[AssetsDefinition]:
        @asset(partitions_def=model_lines, io_manager_key="artifacts")
        def dataset(context: AssetExecutionContext) -> MaterializeResult[object]:
            return self._staged(context, "dataset")

        @asset(partitions_def=model_lines, io_manager_key="artifacts")
        def features(context: AssetExecutionContext, dataset: Artifact) -> MaterializeResult[object]:
            return self._staged(context, "features", dataset=dataset)

        @asset(partitions_def=model_lines, io_manager_key="artifacts")
        def model(context: AssetExecutionContext, dataset: Artifact, features: Artifact) -> MaterializeResult[object]:
            return self._staged(context, "model", dataset=dataset, features=features)

        return [dataset, features, model]


@pytest.fixture
def line(platform: Platform, tmp_path: Path) -> Iterator[Line]:
    with DagsterInstance.ephemeral() as instance:
        yield Line(platform, instance, tmp_path / "staged")


A, B = "train-20260101-000000-aaaaaa", "train-20260101-000000-bbbbbb"


def test_two_trainings_of_one_line_that_interleave_read_their_own_artifacts(line: Line) -> None:
    for training in (A, B):
        line.run("churn", ["dataset"], training)
        line.run("churn", ["features"], training)
    line.run("churn", ["model"], A)
    line.run("churn", ["model"], B)
    for training in (A, B):
        assert line.read("churn", training, "model").read == {"dataset": training, "features": training}


def test_lineage_names_training_and_digest_of_every_input(line: Line) -> None:
    line.run("churn", ["dataset", "features"], A)
    line.run("churn", ["dataset", "features"], B)
    line.run("churn", ["model"], A)
    event = line.instance.fetch_materializations(
        AssetRecordsFilter(asset_key=AssetKey("model"), asset_partitions=["churn"]), limit=1
    ).records[0]
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    made = {name: line.platform.ledger.reference(A, name) for name in ("dataset", "features", "model")}
    assert metadata["training_id"].value == A and metadata["digest"].value == made["model"].digest  # type: ignore[union-attr]
    assert metadata["upstream"].value == {
        name: f"{A}@{made[name].digest}"  # type: ignore[union-attr]
        for name in ("dataset", "features")
    }


def test_a_run_without_a_training_starts_from_the_latest_of_its_partition_and_of_no_other(line: Line) -> None:
    line.run("churn", ["dataset", "features"], A)
    line.run("fraud", ["dataset", "features"], B)
    run = line.run("churn", ["model"])
    training = training_id_in(line.instance, run.run_id)
    assert line.read("churn", training, "model").read == {"dataset": A, "features": A}
    with pytest.raises(NotFound, match="`dataset` of the model line `empty` has not been made yet"):
        line.run("empty", ["model"])


def test_what_a_part_adopts_comes_from_one_training_even_where_a_later_one_got_less_far(line: Line) -> None:
    line.run("churn", ["dataset", "features"], A)
    line.run("churn", ["dataset"], B)
    run = line.run("churn", ["model"])
    assert line.read("churn", training_id_in(line.instance, run.run_id), "model").read == {"dataset": A, "features": A}


def test_what_an_earlier_part_adopted_can_be_adopted_from_it(line: Line) -> None:
    line.run("churn", ["dataset"], A)
    first = training_id_in(line.instance, line.run("churn", ["features"]).run_id)
    line.run("churn", ["dataset"], B)
    second = training_id_in(line.instance, line.run("churn", ["model"]).run_id)
    assert line.read("churn", second, "model").read == {"dataset": A, "features": first}


def test_a_training_of_an_issue_never_takes_another_trainings_artifact(line: Line) -> None:
    line.run("churn", ["dataset", "features"], A)
    with pytest.raises(NotFound, match="has not been made yet"):
        line.run("churn", ["features"], B)


def test_the_first_result_stands_when_a_step_is_repeated(line: Line) -> None:
    line.run("churn", ["dataset"], A)
    first = line.platform.ledger.reference(A, "dataset")
    line.run("churn", ["dataset"], A)
    assert line.platform.ledger.reference(A, "dataset") == first
    line.run("churn", ["features"], A)
    upstream = line.platform.ledger.reference(A, "features").upstream  # type: ignore[union-attr]
    assert upstream == {"dataset": f"{A}@{first.digest}"}  # type: ignore[union-attr]


def test_steps_of_one_run_without_a_training_belong_to_one_training(line: Line) -> None:
    run = line.run("churn", ["dataset", "features", "model"])
    training = training_id_in(line.instance, run.run_id)
    assert line.read("churn", training, "model").read == {"dataset": training, "features": training}
    assert json.loads(line.platform.store.get(f"trainings/{training}/artifacts/model.json"))["training_id"] == training
