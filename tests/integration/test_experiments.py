"""MLflow behind our door, in real SQLite files: upserts, kills, the registry, loading what was registered."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_assets.errors import IntegrityError, NotFound
from mlops_assets.reports.record import DatasetFacts, TrainingRecord
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.serving.package import MANIFEST, make_manifest
from mlops_assets.tasks.interface import InputField, Signature
from resources.experiments import MlflowTracker
from tests.forks import forked

ROOT = Path(__file__).resolve().parents[2]


def record_for(training_id: str = "train-20261120-101500-ab12", **changes: Any) -> TrainingRecord:
    request = {
        "model_id": "churn",
        "dataset": {"dataset_id": "telco"},
        "learning_type": "supervised",
        "task_type": "classification",
        "algorithm": "xgboost",
    }
    return TrainingRecord(
        **{
            "training_id": training_id,
            "model_id": "churn",
            "issue": 7,
            "attempt": 1,
            "outcome": "deployed",
            "language": "ja",
            "started_at": "2026-11-20T10:15:00+00:00",
            "finished_at": "2026-11-20T10:15:20+00:00",
            "request": TrainingRequest.model_validate(request),
            "plan_digest": "ab" * 32,
            "approved_by": "hanako",
            "code_version": "0123abc",
            "environment": {"python": "3.11"},
            "dataset": DatasetFacts(
                dataset_id="telco",
                version="sha256-0123456789abcdef",
                target="churn",
                rows={"train": 70},
                removed={},
                split="stratified",
                features=12,
                digest="cd" * 32,
            ),
            "hyperparameters": {"max_depth": 6, "subsample": 0.8, "class_weight": None},
            "training_seconds": 1.5,
            "curves": {"validation_auc": [0.6 + i / 10_000 for i in range(1200)]},
            "metrics": {"auc_roc": 0.85, "mAP@0.5": 0.5},
            "per_class": {"はい": {"recall": 0.7}},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package as `packaging` makes it, as far as the registry reads it."""
    from onnx import TensorProto as Tensor
    from onnx import helper, save

    folder = tmp_path_factory.mktemp("package")
    inputs = [helper.make_tensor_value_info(name, Tensor.FLOAT, [None, 1]) for name in ("age", "fee")]
    nodes = [helper.make_node("Add", ["age", "fee"], ["sum"]), helper.make_node("Flatten", ["sum"], ["value"])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("value", Tensor.FLOAT, [None, 1])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(folder / "model.onnx"))
    fields = tuple(InputField(name=name, kind="number", required=False) for name in ("age", "fee"))
    signature = Signature(task_type="regression", inputs=fields, target="spend")
    (folder / "signature.json").write_text(signature.model_dump_json())
    (folder / "requirements.txt").write_text("# serving side only\nonnxruntime\nnumpy\n")
    (folder / MANIFEST).write_text(make_manifest(folder).model_dump_json())
    return folder


def digest_of(package: Path) -> str:
    return make_manifest(package).digest


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MLflow database without runs, made once: making it takes a second."""
    folder = tmp_path_factory.mktemp("empty")
    MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts").versions("churn")
    return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def tracker(tmp_path: Path, empty_store: bytes) -> MlflowTracker:
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    return MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")


def client_of(tracker: MlflowTracker) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracker.tracking_uri, registry_uri=tracker.tracking_uri)


def artifacts_in(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "roc.png").write_bytes(b"\x89PNG picture")
    (folder / "report.md").write_text("# レポート")
    return {"figures/roc_curve.png": folder / "roc.png", "report.md": folder / "report.md"}


def test_a_training_is_one_run_with_everything_however_often_it_is_logged(tracker: MlflowTracker, tmp_path: Path) -> None:
    artifacts = artifacts_in(tmp_path / "made")
    run_id = tracker.log_training(record_for(), experiment="churn", artifacts=artifacts)
    assert tracker.log_training(record_for(), experiment="churn", artifacts=artifacts) == run_id

    client = client_of(tracker)
    experiment = client.get_experiment_by_name("churn")
    assert len(client.search_runs([experiment.experiment_id])) == 1
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 20_000
    assert run.data.params["max_depth"] == "6"
    assert run.data.params["class_weight"] == "null"
    assert run.data.params["dataset.version"] == "sha256-0123456789abcdef"
    assert run.data.params["code.version"] == "0123abc"
    assert run.data.params["plan.digest"] == "ab" * 32
    assert run.data.params["request.seed"] == "42"
    assert run.data.tags["mlops.issue"] == "7"
    assert run.data.tags["mlops.approved_by"] == "hanako"
    assert run.data.metrics["auc_roc"] == 0.85
    assert run.data.metrics["mAP_at_0.5"] == 0.5
    assert run.data.metrics["class/はい/recall"] == 0.7
    curve = client.get_metric_history(run_id, "curve/validation_auc")
    assert [point.step for point in curve] == list(range(1200))
    assert len(run.inputs.dataset_inputs) == 1
    assert {file.path for file in client.list_artifacts(run_id)} == {"figures", "report.md"}
    assert [file.path for file in client.list_artifacts(run_id, "figures")] == ["figures/roc_curve.png"]
    assert tracker.run_url(run_id) == f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs/{run_id}"


def test_a_failed_training_is_a_failed_run_with_its_reason(tracker: MlflowTracker) -> None:
    failed = record_for(outcome="failed", error="ComputeError: no memory", dataset=None, metrics={}, curves={}, approved_by=None)
    run = client_of(tracker).get_run(tracker.log_training(failed, experiment="churn", artifacts={}))
    assert run.info.status == "FAILED"
    assert run.data.tags["mlops.error"] == "ComputeError: no memory"


def test_another_value_for_a_logged_parameter_is_refused(tracker: MlflowTracker) -> None:
    tracker.log_training(record_for(), experiment="churn", artifacts={})
    with pytest.raises(IntegrityError, match="max_depth"):
        tracker.log_training(record_for(hyperparameters={"max_depth": 7}), experiment="churn", artifacts={})


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/x", ""])
def test_an_artifact_cannot_leave_its_run(tracker: MlflowTracker, tmp_path: Path, name: str) -> None:
    with pytest.raises(IntegrityError, match="relative path"):
        tracker.log_training(record_for(), experiment="churn", artifacts={name: artifacts_in(tmp_path / "made")["report.md"]})


def test_an_experiments_name_stays_below_the_artifact_root(tracker: MlflowTracker, tmp_path: Path) -> None:
    run_id = tracker.log_training(
        record_for(), experiment="../../x y'; --", artifacts={"a.md": artifacts_in(tmp_path / "made")["report.md"]}
    )
    (copied,) = (tmp_path / "artifacts").rglob("a.md")
    assert run_id in copied.parts


def test_a_hostile_training_id_is_refused(tracker: MlflowTracker) -> None:
    with pytest.raises(NotFound, match="training id"):
        tracker.log_training(record_for("x' OR '1'='1"), experiment="churn", artifacts={})


def registered(tracker: MlflowTracker, package: Path, number: int) -> str:
    training_id = f"train-20261120-1015{number:02}-ab12"
    run_id = tracker.log_training(record_for(training_id, curves={}), experiment="churn", artifacts={})
    return tracker.register_version(
        "churn", f"v1.{number}.0", package, run_id=run_id, digest=digest_of(package), training_id=training_id
    )


def test_versions_are_registered_once_kept_and_loadable(
    tracker: MlflowTracker, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.onnx
    import mlflow.pyfunc

    assert tracker.versions("churn") == ()
    numbers = [registered(tracker, package, number) for number in range(6)]
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    assert registered(tracker, package, 3) == "4", "the same training made a second version"
    assert tracker.versions("churn") == tuple(f"v1.{n}.0" for n in range(6))

    tracker.set_champion("churn", "v1.5.0")
    tracker.set_champion("churn", "v1.1.0")
    tracker.set_champion("churn", "v1.1.0")
    client = client_of(tracker)
    champion = client.get_model_version_by_alias("churn", "champion")
    assert str(champion.version) == "2"
    assert champion.tags == {
        "semantic_version": "v1.1.0",
        "digest": digest_of(package),
        "mlops.training_id": "train-20261120-101501-ab12",
    }

    mlflow.set_tracking_uri(tracker.tracking_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.tracking_uri)
    assert mlflow.onnx.load_model("models:/churn@champion").graph.input[0].name == "age"
    loaded = mlflow.pyfunc.load_model("models:/churn/1")
    answer = loaded.predict({"age": np.array([[1.0], [2.0]], np.float32), "fee": np.array([[0.5], [0.5]], np.float32)})
    assert answer["value"].ravel().tolist() == [1.5, 2.5]
    (model,) = client.search_logged_models(
        [client.get_run(champion.run_id).info.experiment_id],
        filter_string="tags.`mlops.training_id` = 'train-20261120-101501-ab12'",
    )
    assert model.status == "READY"
    assert [output.model_id for output in client.get_run(champion.run_id).outputs.model_outputs] == [model.model_id]


def test_a_package_that_is_no_model_is_refused(tracker: MlflowTracker, package: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(package, broken)
    (broken / "model.onnx").write_bytes(b"not a graph")
    (broken / MANIFEST).write_text(make_manifest(broken).model_dump_json())
    with pytest.raises(IntegrityError, match=r"can be registered"):
        registered(tracker, broken, 0)
    assert tracker.versions("churn") == ()
    assert registered(tracker, package, 0) == "1"


def test_the_registered_graph_is_byte_for_byte_the_packages(tracker: MlflowTracker, package: Path, tmp_path: Path) -> None:
    registered(tracker, package, 0)
    (graph,) = (tmp_path / "artifacts").rglob("model.onnx")
    assert graph.read_bytes() == (package / "model.onnx").read_bytes()


def test_an_unknown_version_cannot_become_champion(tracker: MlflowTracker, package: Path) -> None:
    registered(tracker, package, 0)
    with pytest.raises(NotFound, match=r"v1\.0\.0"):
        tracker.set_champion("churn", "v9.0.0")
    with pytest.raises(NotFound, match="train the line first"):
        tracker.set_champion("nobody", "v1.0.0")


def test_a_version_is_refused_where_it_contradicts_what_is_registered(tracker: MlflowTracker, package: Path) -> None:
    registered(tracker, package, 0)
    first = {"run_id": "x", "digest": digest_of(package), "training_id": "train-20261120-101500-ab12"}
    with pytest.raises(IntegrityError, match=r"already registered as churn v1\.0\.0"):
        tracker.register_version("churn", "v1.7.0", package, **first)
    with pytest.raises(IntegrityError, match="next free version"):
        tracker.register_version("churn", "v1.0.0", package, **{**first, "training_id": "train-other"})
    with pytest.raises(IntegrityError, match="has the digest"):
        tracker.register_version("churn", "v1.8.0", package, **{**first, "digest": "00"})


def everything(tracker: MlflowTracker, package: Path, artifacts: dict[str, Path]) -> None:
    record = record_for(curves={"validation_auc": [0.5 + i / 100 for i in range(30)]})
    run_id = tracker.log_training(record, experiment="churn", artifacts=artifacts)
    tracker.register_version("churn", "v1.0.0", package, run_id=run_id, digest=digest_of(package), training_id=record.training_id)
    tracker.set_champion("churn", "v1.0.0")


WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "log_inputs",
    "log_artifact",
    "set_terminated",
    "create_registered_model",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_outputs",
    "create_model_version",
    "set_registered_model_alias",
)


def kill_after_call(number: int) -> None:
    """Make this process kill itself once its MLflow client has finished its ``number``-th call."""
    from mlflow.tracking import MlflowClient

    made = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            result = method(*args, **kwargs)
            made += 1
            if made == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in WRITES:
        setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))


def test_killed_after_any_write_the_same_calls_again_leave_one_of_each(tmp_path: Path, empty_store: bytes, package: Path) -> None:
    import mlflow.onnx  # noqa: F401  imported before the fork, so that a child is quick
    from mlflow.tracking import MlflowClient  # noqa: F401

    artifacts = artifacts_in(tmp_path / "made")
    killed = 0
    for number in range(1, 40):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "mlflow.db").write_bytes(empty_store)
        tracker = MlflowTracker(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")
        child = forked()
        if child == 0:
            kill_after_call(number)
            everything(tracker, package, artifacts)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        killed += 1
        everything(tracker, package, artifacts)
        client = client_of(tracker)
        (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
        assert run.info.status == "FINISHED"
        assert len(client.get_metric_history(run.info.run_id, "curve/validation_auc")) == 30
        assert len(run.outputs.model_outputs) == 1
        assert len(run.inputs.dataset_inputs) == 1
        assert len(client.search_logged_models([run.info.experiment_id])) == 1
        assert client.get_model_version_by_alias("churn", "champion").tags["semantic_version"] == "v1.0.0"
        assert len(client.search_model_versions("name = 'churn'")) == 1
    assert killed >= 15


FIRST_USE = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
from resources.experiments import MlflowTracker
folder = Path(sys.argv[1])
print(MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts").versions("churn"))
"""


def test_two_processes_may_use_a_fresh_store_at_once_and_nothing_is_printed(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.999999").write_text("left by a killed process")
    command = [sys.executable, "-c", FIRST_USE, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [(out, err) for out, err in answers] == [("()\n", "")] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_importing_the_door_imports_no_mlflow() -> None:
    code = "import sys, resources.experiments; print([m for m in ('mlflow', 'onnx', 'pandas', 'dagster') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_log_levels_of_others_are_put_back(tracker: MlflowTracker) -> None:
    logging.getLogger("alembic").setLevel(logging.DEBUG)
    tracker.versions("churn")
    assert logging.getLogger("alembic").level == logging.DEBUG
