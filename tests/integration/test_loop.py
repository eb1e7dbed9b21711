"""The whole loop through the command line: from an issue to an answering endpoint, and every way in which it ends otherwise.

One installation for the whole module: the tests read, in file order, what the loops before them left. What is killed on the
way is in ``test_loop_kills``.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installation import EXAMPLES, Installation

from mlops_assets.reports.record import TrainingRecord
from mlops_assets.reports.report import history_files
from resources.history import HistoryRepository
from resources.platform import Platform
from tests.shared_data import at_hand

pytestmark = [pytest.mark.service]

LINE = "breast-cancer-random-forest"
OUT_OF_REACH = """# Never good enough

```yaml
dataset_id: breast-cancer
model_id: out-of-reach
task_type: classification
algorithm: logistic_regression
evaluation_threshold: 0.9999
```
"""


@pytest.fixture(scope="module")
def mlops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("loop"))
    yield installation
    installation.stop()
    installation.assert_nothing_runs()


@pytest.fixture(scope="module")
def demo(mlops: Installation) -> dict[str, Any]:
    """The demo's own answer; it opened issue 1."""
    return dict(mlops.json("demo"))


@pytest.fixture(scope="module")
def japanese(mlops: Installation, demo: dict[str, Any]) -> TrainingRecord:
    """The same line a second time, from the issue in Japanese, number 2."""
    return TrainingRecord.model_validate(mlops.json("demo", "--japanese")["record"])


@pytest.fixture(scope="module")
def refused(mlops: Installation, japanese: TrainingRecord) -> tuple[int, TrainingRecord]:
    """An issue whose model stays below its threshold, carried through once."""
    number = mlops.issue("below", OUT_OF_REACH)
    return number, TrainingRecord.model_validate(mlops.json("run", str(number)))


def rows_of_test_split(platform: Platform, record: TrainingRecord) -> tuple[list[dict[str, Any]], list[str], np.ndarray]:
    """Raw rows of the test split, and the native model's labels and probabilities for them."""
    import pandas as pd

    from mlops_assets.tasks.tabular.feature_folder import FeatureFolder
    from mlops_assets.tasks.tabular.labels import labels_from_probabilities
    from mlops_assets.tasks.tabular.native_model import read_model

    def folder(asset: str) -> Path:
        reference = platform.ledger.reference(record.training_id, asset)
        assert reference is not None
        return platform.store.checkout(reference.prefix)

    features = FeatureFolder.read(folder("features"))
    native, card = read_model(folder("model"))
    expected = native.predict(features.split("test")[0])
    frame = pd.read_parquet(folder("dataset") / "test.parquet")[[field.name for field in features.inputs]]
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows, [card.classes[i] for i in labels_from_probabilities(expected)], expected


def assert_served_as_trained(platform: Platform, record: TrainingRecord) -> int:
    """Every row of the test split over HTTP: equal labels, probabilities to 1e-5; how many there were."""
    assert record.endpoint is not None
    rows, labels, expected = rows_of_test_split(platform, record)
    served: list[dict[str, Any]] = []
    for start in range(0, len(rows), 500):
        body = json.dumps({"rows": rows[start : start + 500]}).encode()
        request = urllib.request.Request(f"{record.endpoint.url}/invocations", body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            served += json.load(answer)["predictions"]
    assert [row["label"] for row in served] == labels
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in served], expected, atol=1e-5, rtol=0)
    return len(served)


def test_the_demo_reaches_an_endpoint_that_really_gives_the_answer_in_the_thread(
    mlops: Installation, demo: dict[str, Any]
) -> None:
    record = TrainingRecord.model_validate(demo["record"])
    assert (record.outcome, record.model_id, record.issue) == ("deployed", LINE, 1)
    assert record.model is not None and record.model.version == "v1.0.0"
    body = mlops.result_comment(1)
    block = re.search(r"```console\n(curl .*?)\n(\{.*?)\n```", body, re.DOTALL)
    assert block is not None
    answer = subprocess.run(shlex.split(block[1]), capture_output=True, text=True, check=True, timeout=30).stdout
    assert json.loads(answer) == json.loads(block[2])
    assert json.loads(answer)["model_version"] == "v1.0.0"
    assert demo["prediction"] == f"{block[1]}\n{block[2]}"


def test_one_loop_leaves_one_of_everything(mlops: Installation, demo: dict[str, Any]) -> None:
    record = mlops.only_training(1)
    assert record == TrainingRecord.model_validate(demo["record"])
    assert mlops.json("thread", "1")["labels"] == ["mlops:done", "mlops:train"]
    assert mlops.registered(LINE) == [("v1.0.0", record.training_id)]
    assert mlops.commits() == [f"{LINE}: deployed ({record.training_id})"]
    mlops.assert_published_folders_are_whole()
    assert list(mlops.platform.scratch.glob("*")) == [], "work in progress is gone once the result is reported"


def test_the_thread_tells_the_result_in_english(mlops: Installation, demo: dict[str, Any]) -> None:
    body = mlops.result_comment(1)
    record = TrainingRecord.model_validate(demo["record"])
    assert record.gate is not None and record.model is not None
    for expected in (
        "Training succeeded",
        f"Accuracy of {record.gate.value:.4f} reaches the threshold of 0.9",
        record.model.package_digest,
        record.plan_digest,
        "Approved by",
        f"training_history/{record.training_id}.md",
    ):
        assert expected in body
    text = mlops.run("thread", "1").stdout
    assert body in text


def test_every_row_of_the_test_split_is_served_as_the_native_model_predicts_it(mlops: Installation, demo: dict[str, Any]) -> None:
    record = TrainingRecord.model_validate(demo["record"])
    assert assert_served_as_trained(mlops.platform, record) == record.dataset.rows["test"] > 100


def test_an_issue_in_japanese_is_answered_in_japanese_with_the_next_version(
    mlops: Installation, japanese: TrainingRecord
) -> None:
    assert japanese.model is not None and japanese.model.version == "v1.1.0"
    assert mlops.only_training(2).training_id == japanese.training_id
    body = mlops.result_comment(2)
    for expected in ("正解率", "エンドポイント", "学習履歴", "承認しました", "v1.1.0"):
        assert expected in body
    assert "Training succeeded" not in body
    history = (mlops.home / "history" / "training_history" / f"{japanese.training_id}.md").read_text(encoding="utf-8")
    assert "正解率" in history


def test_the_same_request_gives_the_same_numbers_to_the_last_digit_in_either_language(
    demo: dict[str, Any], japanese: TrainingRecord
) -> None:
    first = TrainingRecord.model_validate(demo["record"])
    assert first.feature_digest == japanese.feature_digest
    assert first.metrics == japanese.metrics
    assert first.dataset is not None and japanese.dataset is not None
    assert first.dataset.digest == japanese.dataset.digest


def test_running_again_after_the_conclusion_changes_nothing(mlops: Installation, japanese: TrainingRecord) -> None:
    before = mlops.state()
    assert mlops.json("run", "2")["training_id"] == japanese.training_id
    assert mlops.state() == before


def test_rollback_sends_predictions_to_the_version_before_and_a_stopped_server_is_started_for_a_prediction(
    mlops: Installation, japanese: TrainingRecord
) -> None:
    row = mlops.folder / "row.json"
    example = rows_of_test_split(mlops.platform, japanese)[0][0]
    row.write_text(json.dumps(example))
    table = mlops.folder / "row.csv"
    table.write_text(",".join(example) + "\n" + ",".join(map(str, example.values())) + "\n")
    assert mlops.json("predict", LINE, row)["model_version"] == "v1.1.0"
    back = mlops.json("rollback", LINE)
    assert back["version"] == "v1.0.0"
    answer = mlops.json("predict", LINE, row)
    assert answer["model_version"] == "v1.0.0"
    assert "no previous version" in mlops.run("rollback", LINE, expect=2).stderr
    assert mlops.json("stop", LINE)["stopped"] is True
    (listed,) = mlops.json("endpoints")
    assert listed["healthy"] is False
    mlops.assert_nothing_runs()
    assert mlops.json("predict", LINE, table) == answer
    assert mlops.run("predict", LINE, "-", stdin=row.read_text()).stdout.count(answer["predictions"][0]["label"]) == 1
    (listed,) = mlops.json("endpoints")
    assert (listed["version"], listed["healthy"]) == ("v1.0.0", True)


def test_below_its_threshold_a_model_is_not_served_and_the_operator_is_told_what_to_change(
    mlops: Installation, refused: tuple[int, TrainingRecord]
) -> None:
    number, record = refused
    assert record.outcome == "below_threshold"
    assert (record.model, record.endpoint) == (None, None)
    assert mlops.only_training(number) == record
    assert mlops.json("thread", str(number))["labels"] == ["mlops:needs-operator", "mlops:train"]
    gate = record.gate
    assert gate is not None and gate.threshold is not None and gate.suggestions
    body = mlops.result_comment(number)
    assert f"{gate.value:.4f}" in body
    assert f"{gate.threshold - gate.value:.4f}" in body, "by how much it fell short"
    assert "```yaml" in body, "what to change, ready to paste"
    assert mlops.platform.ledger.reference(record.training_id, "operator_request") is not None
    for asset in ("approved_model", "package", "endpoint"):
        assert mlops.platform.ledger.reference(record.training_id, asset) is None
    assert mlops.platform.models.versions("out-of-reach") == []
    assert [e["line"] for e in mlops.json("endpoints")] == [LINE]


def test_again_is_another_training_with_identical_numbers(mlops: Installation, refused: tuple[int, TrainingRecord]) -> None:
    number, first = refused
    second = TrainingRecord.model_validate(mlops.json("run", str(number), "--again"))
    assert (second.training_id != first.training_id, second.attempt) == (True, 2)
    assert second.plan_digest == first.plan_digest
    assert (second.metrics, second.per_class, second.importance) == (first.metrics, first.per_class, first.importance)
    assert second.curves == first.curves
    assert [c["marker"] for c in mlops.comments(number)] == [f"training:{r.training_id}" for r in (first, second)]
    listed = mlops.json("trainings", "out-of-reach")
    assert [t["training_id"] for t in listed] == [first.training_id, second.training_id]


def test_reproduce_finds_every_metric_equal_and_names_the_one_that_was_altered(
    mlops: Installation, refused: tuple[int, TrainingRecord]
) -> None:
    _, record = refused
    result = mlops.json("reproduce", record.training_id)
    assert result["same_data"] and result["same_features"]
    assert {c["metric"]: c["reproduced"] for c in result["comparisons"]} == record.metrics
    altered = record.model_copy(update={"metrics": {**record.metrics, "accuracy": record.metrics["accuracy"] + 1e-12}})
    folder = mlops.folder / "altered-history"
    HistoryRepository(folder).commit(record.training_id, history_files(altered), "altered")
    told = mlops.run("reproduce", record.training_id, expect=1, MLOPS_HISTORY_FOLDER=str(folder))
    differing = [line.split()[0] for line in told.stderr.splitlines() if line.endswith("DIFFERS")]
    assert differing == ["accuracy"]
    assert "NOT reproduced" in told.stderr
    assert not any(mlops.platform.scratch.glob("reproduce-*"))


def test_plan_only_posts_the_plan_with_its_digest_and_runs_nothing(mlops: Installation, demo: dict[str, Any]) -> None:
    number = mlops.issue("waiting", OUT_OF_REACH.replace("out-of-reach", "waiting-line"))
    assert mlops.json("run", str(number), "--plan-only") == {"issue": number, "state": "proposed"}
    assert mlops.json("run", str(number), "--plan-only")["state"] == "proposed"
    platform = mlops.platform
    (training,) = platform.ledger.trainings("waiting-line")
    plan = platform.front_desk.plan(training)
    assert plan is not None
    body = mlops.result_comment(number)
    assert plan.digest in body
    assert f"mlops run {number}" in body
    assert platform.ledger.approval(training, plan.digest) is None
    for asset in ("dataset", "features", "model"):
        assert platform.ledger.reference(training, asset) is None
    assert platform.ledger.record(training) is None
    assert training not in mlops.training_runs()


def test_a_plan_that_was_approved_for_other_code_does_not_run_and_is_proposed_again(
    mlops: Installation, demo: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first proposal is made and approved in this process as by an earlier release of the code."""
    from jobs.instance import open_instance
    from jobs.runner import Runner

    number = mlops.issue("release", OUT_OF_REACH.replace("out-of-reach", "older-release"))
    platform = mlops.platform
    with monkeypatch.context() as earlier, open_instance(platform.home) as instance:
        earlier.setattr("resources.planning.code_version", lambda: "0.0.9+src.0123456789ab")
        Runner(platform, instance, lambda action, detail: None).carry(number, plan_only=True)
        (old,) = platform.ledger.trainings("older-release")
        platform.front_desk.approve(old, platform.tracker.current_actor(), "command")
    record = TrainingRecord.model_validate(mlops.json("run", str(number)))
    assert record.training_id != old
    assert (record.attempt, record.outcome) == (1, "below_threshold"), "what never ran is no attempt"
    stopped = mlops.platform.ledger.record(old)
    assert stopped is not None and (stopped.outcome, stopped.ended_because) == ("superseded", "plan_changed")
    said = mlops.platform.ledger.stopped(old)
    assert said is not None and "code_version" in said.detail
    assert stopped.plan_digest != record.plan_digest
    assert mlops.platform.ledger.reference(old, "dataset") is None, "not a row was prepared under the old approval"
    assert [c["marker"] for c in mlops.comments(number)] == [f"training:{t}" for t in (old, record.training_id)]


def test_an_invalid_issue_is_refused_with_every_problem_and_accepted_once_it_is_edited(
    mlops: Installation, demo: dict[str, Any]
) -> None:
    wrong = OUT_OF_REACH.replace("out-of-reach", "mended-line").replace("logistic_regression", "logistic_regresion")
    wrong = wrong.replace("dataset_id: breast-cancer", "dataset_id: breast-cancer\ntaget: diagnosis").replace("0.9999", "high")
    number = mlops.issue("wrong", wrong)
    for _ in range(2):
        told = mlops.run("run", str(number), expect=2).stderr
        assert all(field in told for field in ("algorithm", "taget", "evaluation_threshold"))
    (comment,) = mlops.comments(number)
    assert comment["marker"] == "refusal"
    for part in ("logistic_regresion", "`logistic_regression`", "taget", "evaluation_threshold", "high"):
        assert part in comment["body"]
    assert mlops.json("thread", str(number))["labels"] == ["mlops:invalid", "mlops:train"]
    assert "mended-line" not in mlops.platform.ledger.lines()
    (path,) = (mlops.home / "issues").glob(f"{number:04d}-*.md")
    mended = path.read_text(encoding="utf-8").replace("\ntaget: diagnosis", "")
    mended = mended.replace("algorithm: logistic_regresion", "algorithm: logistic_regression")
    path.write_text(mended.replace("evaluation_threshold: high", "evaluation_threshold: 0.5"), encoding="utf-8")
    assert mlops.json("run", str(number), "--plan-only")["state"] == "proposed"
    assert "mlops:invalid" not in mlops.json("thread", str(number))["labels"]
    assert [c["marker"].split(":")[0] for c in mlops.comments(number)] == ["refusal", "training"]


def test_a_dataset_that_is_not_registered_is_refused_and_accepted_once_it_is(mlops: Installation, demo: dict[str, Any]) -> None:
    number = mlops.issue("wine", "```yaml\ndataset_id: wines\ntask_type: classification\nalgorithm: random_forest\n```\n")
    mlops.run("run", str(number), expect=2)
    assert "mlops dataset add" in mlops.comments(number)[0]["body"]
    added = mlops.json("dataset", "add", "wines", "sklearn:wine", "--target", "cultivar")
    assert added["rows"] == 178
    assert mlops.json("run", str(number), "--plan-only")["state"] == "proposed"


def test_two_commands_for_one_issue_at_the_same_moment_are_one_training(mlops: Installation, demo: dict[str, Any]) -> None:
    number = mlops.issue("twice", OUT_OF_REACH.replace("out-of-reach", "at-once"))
    both = [mlops.start("run", str(number)) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    record = mlops.only_training(number)
    from dagster import RunsFilter

    from jobs.instance import open_instance
    from resources.artifacts import TRAINING_TAG

    with open_instance(mlops.home) as instance:
        runs = instance.get_runs(RunsFilter(tags={TRAINING_TAG: record.training_id}))
    assert sorted(run.job_name for run in runs) == ["propose", "train"]


def test_who_may_not_write_may_not_approve(mlops: Installation, demo: dict[str, Any]) -> None:
    number = mlops.issue("stranger", OUT_OF_REACH.replace("out-of-reach", "stranger-line"))
    told = mlops.run("run", str(number), expect=1, MLOPS_ACTOR="somebody-else")
    assert "somebody-else may not approve" in told.stderr
    (training,) = mlops.platform.ledger.trainings("stranger-line")
    assert mlops.platform.ledger.record(training) is None


def test_every_command_that_lists_gives_json_and_text(mlops: Installation, refused: tuple[int, TrainingRecord]) -> None:
    lines = {entry["line"]: entry for entry in mlops.json("lines")}
    assert lines[LINE]["versions"] == ["v1.0.0", "v1.1.0"]
    assert lines["out-of-reach"]["versions"] == []
    assert {i["number"] for i in mlops.json("issues")} >= {1, 2, refused[0]}
    assert "breast-cancer" in mlops.json("dataset", "list")
    assert mlops.json("dataset", "show", "breast-cancer")["rows"] == 569
    assert mlops.json("comment", "1", "thanks")["issue"] == 1
    assert mlops.json("thread", "1")["comments"][-1]["body"] == "thanks"
    for words in (("lines",), ("trainings", LINE), ("issues",), ("endpoints",), ("dataset", "show", "breast-cancer")):
        assert len(mlops.run(*words).stdout.splitlines()) >= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("thread", "99"), "there is no issue 99"),
        (("run", "99"), "there is no issue 99"),
        (("comment", "99", "hello"), "there is no issue 99"),
        (("comment", "1", "  "), "empty"),
        (("trainings", "nowhere"), LINE),
        (("predict", "nowhere", "row.json"), LINE),
        (("rollback", LINE, "--environment", "production"), "dev"),
        (("stop", "nowhere"), "no endpoint"),
        (("submit", "absent.md"), "there is no such file"),
        (("submit", "empty.md"), "empty"),
        (("submit", "latin.md"), "UTF-8"),
        (("submit", "huge.md"), "too large"),
        (("dataset", "add", "own", "own.csv", "--target", "Chrun"), "did you mean Churn?"),
        (("dataset", "add", "own", "absent.csv"), "there is no such file"),
        (("dataset", "add", "../own", "own.csv"), "cannot be used"),
        (("dataset", "show", "brest-cancer"), "breast-cancer"),
        (("reproduce", "train-20200101-000000-abcdef"), "no training of that id"),
        (("reproduce", "../../etc/passwd"), "not a training id"),
        (("predict", LINE, "absent.csv"), "there is no such file"),
        (("predict", LINE, "empty.md"), "no rows"),
        (("predict", LINE, "latin.md"), "UTF-8"),
        (("predict", LINE, "own.csv"), "mean_radius"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_mistake_is_answered_with_exit_code_2_and_what_to_do(
    mlops: Installation, demo: dict[str, Any], words: tuple[str, ...], said: str
) -> None:
    (mlops.folder / "empty.md").write_text("")
    (mlops.folder / "latin.md").write_bytes("# Gr\u00fc\u00dfe\n".encode("latin-1"))
    (mlops.folder / "huge.md").write_text("x" * 70_000)
    (mlops.folder / "own.csv").write_text("Tenure,Churn\n1,Yes\n2,No\n")
    (mlops.folder / "row.json").write_text("{}")
    told = mlops.run(*words, expect=2)
    assert said in told.stderr
    assert told.stdout == ""


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MLOPS_LANGUAGE", "fr", "'auto', 'ja' or 'en'"),
        ("MLOPS_MEMORY_LIMIT", "plenty", "MLOPS_MEMORY_LIMIT"),
        ("MLOPS_STORE_URL", "ftp://somewhere", "s3://bucket/prefix"),
        ("MLOPS_HOEM", "/tmp/elsewhere", "did you mean MLOPS_HOME?"),
    ],
)
def test_a_mistaken_variable_is_the_persons_mistake(mlops: Installation, variable: str, value: str, said: str) -> None:
    assert said in mlops.run("lines", expect=2, **{variable: value}).stderr


@pytest.mark.parametrize(
    ("name", "folder", "target", "positive", "example", "floor"),
    [
        ("telco-churn", "telco_churn", "Churn", "Yes", "telco_churn.md", 0.83),
        ("adult-income", "adult_income", "income", ">50K", "adult_income.md", 0.92),
    ],
)
@pytest.mark.slow
def test_real_tables_reach_what_their_example_issue_asks_for(
    mlops: Installation, name: str, folder: str, target: str, positive: str, example: str, floor: float
) -> None:
    source = at_hand("data", "tabular", folder, "data.csv")
    mlops.run("dataset", "add", name, source, "--target", target, "--positive", positive)
    number = mlops.json("submit", EXAMPLES / example)["issue"]
    record = TrainingRecord.model_validate(mlops.json("run", str(number)))
    assert record.outcome == "deployed", record.error
    assert record.gate is not None and record.gate.metric == "auc_roc"
    assert record.gate.value >= floor
    assert mlops.only_training(number).training_id == record.training_id
    assert assert_served_as_trained(mlops.platform, record) > 1000
