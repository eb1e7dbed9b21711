"""Both catalogues say the same things: same keys, same fields, complete for the vocabularies, and nothing unused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import pytest

from mlops_assets.data.dataset import SPLITS, CatalogueEntry, DatasetVersion, PreparedDataset, QualityCheck
from mlops_assets.data.frame_quality import LABEL_FINDINGS, check_files, check_labels, check_repeated, check_support
from mlops_assets.data.frame_report import frame_report_markdown
from mlops_assets.data.frame_shards import DamagedFile
from mlops_assets.data.kitti.check import Finding
from mlops_assets.data.kitti.layout import PARTS
from mlops_assets.data.reasons import Reason, ReasonCode
from mlops_assets.errors import Problem
from mlops_assets.reports import language, replies
from mlops_assets.reports.comments import (
    Links,
    mended_comment,
    progress_comment,
    proposal_comment,
    refusal_comment,
    result_comment,
)
from mlops_assets.reports.facts import gate_sentence, hyperparameters
from mlops_assets.reports.language import catalogue, fields_of, has_sentence, sentence, word
from mlops_assets.reports.notifications import Event, NotificationFacts, notification_for, unconfigured_sentence
from mlops_assets.reports.phases import Row, RowState
from mlops_assets.reports.proposal import preprocessing
from mlops_assets.reports.quantities import METRIC_UNITS, CountKind, counted, term
from mlops_assets.reports.record import PHASES, Ending, GateDecision, Outcome, PhaseProgress, PhaseState
from mlops_assets.reports.report import report_html, report_markdown
from mlops_assets.reports.suggestions import SUGGESTIONS
from mlops_assets.request import vocabulary
from mlops_assets.request.adjustment import Difference
from mlops_assets.request.authority import Denial, DenialReason
from mlops_assets.request.commands import COMMANDS
from mlops_assets.request.lifecycle import StopCause
from mlops_assets.request.optimiser.models import OPTIMIZATION_PHASES
from mlops_assets.request.plan import NotDone
from mlops_assets.request.schema import EvaluationRequest, Preprocessing
from resources.channels.slack import slack_message
from tests.unit import frame_cases
from tests.unit.request.optimisation_cases import every_optimization

EVERY_OPTIMIZATION = (*every_optimization(), *frame_cases.every_optimization())


def words(text: str) -> list[str]:
    return text.split()


PROBLEMS = words(
    "unknown_key missing wrong_type not_allowed out_of_range too_large yaml_syntax yaml_anchor yaml_tag "
    "yaml_documents duplicate_key too_deep too_many_nodes not_a_mapping empty control_character bad_identifier "
    "bad_version conflict unknown_hyperparameter dataset_not_registered algorithm_not_available "
    "unknown_command two_commands unexpected_argument not_key_value not_by_reply only_narrowed "
    "algorithm_needs_extra not_offered wrong_form missing_parts unlabelled_class "
)
NOT_DONE = words(
    "hyperparameter_search bias_check ci_tests monitoring retraining canary ab_test shadow sagemaker_experiments "
    "grpc auto_scaling deployment_target training_instance distributed_training spot_instances augmentation "
    "dataset_selection aggregate_by_user time_features augmentation_off registered_copy more_than_labelled rest_of_frames "
    "listed_test table_settings "
)
WITHOUT_NONE = tuple(value for value in vocabulary.values(vocabulary.HandleOutliers) if value != "none")
FAMILIES: dict[str, tuple[str, ...]] = {
    "problem": tuple(PROBLEMS),
    "not_done": tuple(NOT_DONE),
    "suggestion": SUGGESTIONS,
    "suggestion_short": tuple(key for key in SUGGESTIONS if key != "more_data"),
    "warning": (
        "time_features_without_timestamp",
        "aggregate_without_entity",
        "standardize_supersedes_normalize",
        "no_validation_objects",
    ),
    "phase": PHASES,
    "state": get_args(RowState),
    "phase_row": get_args(Row),
    "outcome": (*get_args(Outcome), "withdrawn"),
    "status": get_args(Ending),
    "next": (
        "cancelled",
        "rejected",
        "superseded",
        "withdrawn",
        "closed",
        "unlabelled",
        "superseded_attempt",
        "superseded_plan",
    ),
    "command": COMMANDS,
    "action": get_args(replies.Action),
    "denied": get_args(DenialReason),
    "not_applicable": get_args(replies.NotApplicable),
    "metric": (*(vocabulary.METRICS.keys() - vocabulary.KITTI_METRICS.keys()), *words("support objects ap50 ap50_95")),
    "target": (frame_cases.plan_of(frame_cases.LONG).target,),
    "part": tuple(frame_cases.kitti().parts),
    "augmentation": tuple({name for algorithm in frame_cases.OFFERED for name in algorithm.augmentations}),
    "metric_unit": tuple(dict.fromkeys(METRIC_UNITS.values())),
    "algorithm": tuple(vocabulary.ALGORITHMS),
    "learning_type": vocabulary.values(vocabulary.LearningType),
    "task_type": vocabulary.values(vocabulary.TaskType),
    "profile": vocabulary.values(vocabulary.PerformanceProfile),
    "environment": vocabulary.values(vocabulary.Environment),
    "strategy": vocabulary.values(vocabulary.DeploymentStrategy),
    "split": (*vocabulary.values(vocabulary.SplitStrategy), "listed", "sequences"),
    "split_name": SPLITS,
    "handle_missing": ("default", *vocabulary.values(vocabulary.HandleMissing)),
    "handle_outliers": WITHOUT_NONE,
    "encoding": vocabulary.values(vocabulary.CategoricalEncoding),
    "derived": vocabulary.values(vocabulary.DerivedFeature),
    "selection": ("correlation", "importance"),
    "size": ("small", "medium", "large"),
    "reason": get_args(ReasonCode),
    "rule": get_args(get_type_hints(QualityCheck)["rule"]),
    "severity": get_args(get_type_hints(QualityCheck)["severity"]),
    "check": ("passed", "failed"),
    "removed": words("duplicates missing_target missing outliers damaged incomplete not_listed not_selected"),
    "event": get_args(Event),
    "event_text": get_args(Event),
    "gate": ("no_threshold", "passed_higher", "passed_lower", "missed_higher", "missed_lower"),
    "search": vocabulary.values(vocabulary.SearchMethod),
    "optimization_phase": OPTIMIZATION_PHASES,
    "recommend": tuple(dict.fromkeys(o.action.key for o in EVERY_OPTIMIZATION)),
    "because": tuple(dict.fromkeys(o.reason.key for o in EVERY_OPTIMIZATION)),
    "rule_name": tuple(dict.fromkeys(o.rule.rpartition(".")[2] for o in EVERY_OPTIMIZATION if o.carried_out and o.changes)),
    "count": tuple(f"{kind}.{number}" for kind in get_args(CountKind) for number in ("one", "other")),
}
#: Families whose words are looked up where there are any: names of figures, resources and compute kinds are open.
OPEN_FAMILIES = ("figure", "resource", "compute", "detail")


def test_both_catalogues_have_the_same_keys_and_format_fields() -> None:
    japanese, english = catalogue("ja"), catalogue("en")
    assert japanese.keys() == english.keys()
    assert {key: fields_of(text) for key, text in japanese.items()} == {key: fields_of(text) for key, text in english.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_exactly_the_words_of_its_vocabulary(family: str) -> None:
    found = {key.removeprefix(f"{family}.") for key in catalogue("en") if key.startswith(f"{family}.")}
    assert found == set(FAMILIES[family])


class Recording(dict[str, str]):
    """A catalogue that remembers which sentences were asked for."""

    def __init__(self, sentences: Mapping[str, str]) -> None:
        super().__init__(sentences)
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)


def write_everything(churn: SimpleNamespace) -> None:
    """Every kind of comment and report with every option that brings in a sentence of its own."""
    links = Links(report="r", history="h", mlflow="http://a.b", ui="u", log="l", endpoint="e")
    many = tuple(str(number) for number in range(99))
    refusal_comment([Problem("", code, allowed=many) for code in PROBLEMS], "a: 1", "en")
    left_out = [NotDone(field="x", key=key, asked="y") for key in NOT_DONE]
    balanced = churn.plan().characteristics.model_copy(update={"minority_share": 0.5, "class_counts": dict.fromkeys(many, 1)})
    proposal_comment(
        churn.plan(not_done=left_out, cost_cap_usd=None, optimizations=EVERY_OPTIMIZATION),
        "en",
        approved_by="a",
        how_to_approve="",
        estimate=churn.estimate(),
    )
    for basis, amount in (("price_table", 1.5), ("no_price", None), ("no_duration", None)):
        expected = churn.estimate(cost_basis=basis, cost_usd=amount, duration_seconds=None, similar=())
        off = churn.request(optimization={"enabled": False})
        proposal_comment(churn.plan(request=off), "en", approved_by="a", how_to_approve="", estimate=expected)
        report_markdown(churn.deployed(estimate=expected), "en")
    past = churn.estimate().similar[0].model_copy(update={"optimizations": FAMILIES["rule_name"]})
    proposal_comment(churn.plan(), "en", approved_by="a", how_to_approve="", estimate=churn.estimate(similar=(past,)))
    for name, (learning_type, task_types) in vocabulary.ALGORITHMS.items():
        for task_type in task_types:
            request = churn.request(
                algorithm=name, learning_type=learning_type, task_type=task_type, evaluation=EvaluationRequest()
            )
            proposal_comment(churn.plan(request=request), "en", approved_by=None, how_to_approve="")
    fair = churn.plan().characteristics.model_copy(update={"sensitive": many})
    proposal_comment(churn.plan(characteristics=fair), "en", approved_by=None, how_to_approve="")
    proposal_comment(churn.plan(characteristics=balanced, gate_metric="rmse"), "en", approved_by=None, how_to_approve="")
    for chosen in preprocessing_options():
        preprocessing(chosen, "en")
    for family in ("profile", "environment", "strategy", "size"):
        for name in FAMILIES[family]:
            term(family, name, "en")
    running = [PhaseProgress(phase="plan", state=state, seconds=4000.0) for state in get_args(PhaseState)]
    Links(log="l", afar=True).markdown("en")
    everywhere = Links(**dict.fromkeys(("report", "history", "mlflow", "ui", "log", "endpoint"), "http://a.b"))
    for progress in running:
        progress_comment("t", [progress], "en", everywhere, not_done=("monitoring",))
    for state in get_args(PhaseState):
        progress_comment("t", churn.phases(training=PhaseProgress(phase="training", state=state)), "en")
    for phase in PHASES:
        result_comment(churn.failed(phases=(PhaseProgress(phase=phase, state="failed"),)), "en", by_reply=True)
    for attempt in (1, 4):
        result_comment(churn.below_threshold(attempt=attempt), "en")
    for outcome, cause, ran in product(("cancelled", "rejected", "superseded"), (None, *get_args(StopCause)), (True, False)):
        so_far = {"dataset": churn.deployed().dataset} if ran else {"dataset": None, "approved_by": None}
        result_comment(churn.stopped(outcome, ended_because=cause, **so_far), "en")
    for outcome in ("cancelled", "rejected", "superseded"):
        report_html(churn.stopped(outcome), "en", {})
        result_comment(churn.stopped(outcome), "en")
    write_every_reply(churn)
    result_comment(churn.failed(), "en", links=links)
    result_comment(churn.failed(hyperparameters={}, error=None), "en")
    result_comment(churn.below_threshold(gate=gate(suggestions=SUGGESTIONS)), "en")
    for direction, threshold, passed in product(("higher", "lower"), (None, 0.5), (True, False)):
        gate_sentence(gate(direction=direction, threshold=threshold, passed=passed), "en")
    result_comment(churn.deployed(metrics=dict.fromkeys(vocabulary.METRICS, 0.5)), "en", predict_example="x", links=links)
    facts = churn.deployed().dataset
    rules = [QualityCheck(rule=name, severity="log", passed=True, evidence=dict.fromkeys(many, 1)) for name in FAMILIES["rule"]]
    stop = QualityCheck(rule="schema", severity="stop", passed=False)
    changed = facts.model_copy(update={"checks": (*rules, stop, *facts.checks), "removed": dict.fromkeys(FAMILIES["removed"], 1)})
    record = churn.deployed(dataset=changed, approved_by=None, confusion_matrix=[[1] * 40] * 40)
    report_html(record, "en", {})
    for outcome in (churn.below_threshold, churn.failed):
        report_html(outcome(), "en", {"roc.png": b"\x89PNG\r\n\x1a\n"})
    write_detectors()
    for rule in FAMILIES["split"]:
        report_markdown(churn.deployed(dataset=facts.model_copy(update={"split": rule})), "en")
    write_frame_report()
    hyperparameters({}, "en")
    for outcome in (record.model_copy(update={"dataset": facts.model_copy(update={"removed": {}})}), churn.deployed()):
        report_markdown(outcome, "en")
    for event, issue in product(get_args(Event), (None, 1)):
        told: dict[str, Any] = {"event": event, "issue": issue, "issue_url": "u", "by": "b", "error": "e", "failed_phase": "data"}
        slack_message(notification_for(NotificationFacts(training_id="t", model_id="m", language="en", **told)))
    unconfigured_sentence(["slack"], "en")
    for kind, number in product(get_args(CountKind), (1, 2)):
        counted(number, kind, "en")


def write_every_reply(churn: SimpleNamespace) -> None:
    """Every answer to a reply, with every reason it can have."""
    one = replies.Serving("dev", "v1.0.0", "http://a.b")
    person: dict[str, Any] = {"person": "a", "training_id": "t", "attempt": 1, "max_retry": 3}
    for waits, changed in product((True, False), ([], [Difference("a", 1, None)])):
        replies.adjusted_comment(changed, "en", **person, awaits_approval=waits)
    for corrected, code in product(("a: 1", None), ("two_commands", "unknown_command")):
        replies.refused_reply_comment([Problem("", code)], corrected, "en")
    for reason, action in product(get_args(DenialReason), get_args(replies.Action)):
        replies.denied_comment(Denial(reason=reason, login="a", permission="read"), action, "en")
    for comment in (replies.rejected_comment, replies.cancelled_comment, replies.withdrawn_comment):
        comment("a", "en")
    replies.superseded_comment("en")
    moved: dict[str, Any] = {"environment": "dev", "before": "v1", "after": "v2", "url": "http://a.b"}
    replies.rolled_back_comment("en", person="a", model_id="m", **moved)
    for asked, serving in product((None, "v1.0.0", "v3.0.0"), (one, None)):
        replies.rollback_impossible_comment("en", model_id="m", asked=asked, serving=serving, available=["v2.0.0"] * 20)
    for reason in get_args(replies.NotApplicable):
        replies.not_applicable_comment("retry", reason, "en")
    replies.status_comment("en", model_id="m", serving=[], training_id="t", awaits_approval=True)
    mended_comment("en")
    for training_id, outcome, serving in product((None, "t"), (None, "deployed"), ([one], [])):
        replies.status_comment("en", model_id="m", serving=serving, training_id=training_id, outcome=outcome)
    for metric, threshold_metric, metrics in (
        ("auc_roc", "auc_roc", ()),
        ("auc_roc", None, ("auc_roc",)),
        ("auc_roc", None, ()),
        ("recall", None, ("recall",)),
        ("accuracy", None, ()),
    ):
        evaluation = EvaluationRequest(metrics=metrics, threshold_metric=threshold_metric)
        plan = churn.plan(gate_metric=metric, request=churn.request(evaluation=evaluation))
        replies.explain_comment(plan, "en", record=churn.below_threshold())
    replies.retries_exhausted_comment("en", model_id="m", max_retry=3, serving=one)
    for second_person in (True, False):
        replies.how_to_approve("en", second_person=second_person)
    replies.how_to_approve("en", ended=True)
    replies.how_to_approve("en", by_itself="a")
    refusal_comment([Problem("", "empty")], None, "en")


def write_detectors() -> None:
    """Proposals and reports of detectors: with and without a list of augmentations, of images and of clouds."""
    limited = "dataset: {name: kitti, train_size: 100}\nalgorithm: yolox\n"
    for body in (frame_cases.LONG, frame_cases.CLOUDS, limited):
        proposal_comment(frame_cases.plan_of(body), "en", approved_by=None, how_to_approve="")
        report_html(frame_cases.trained(body), "en", {})
        result_comment(frame_cases.fell_short(body, gate=gate(suggestions=SUGGESTIONS)), "en")
    for algorithm in frame_cases.OFFERED:
        for name in algorithm.augmentations:
            term("augmentation", name, "en")


def write_frame_report() -> None:
    """A report in which every rule has failed on everything that it looks at."""
    version = DatasetVersion(
        dataset_id="d", version="v", form="kitti", raw_sha256="0", raw_bytes=1, rows=1, columns=(), duplicate_rows=0,
        target_counts={"Car": 1}, parts=dict.fromkeys(PARTS, 1), shards=1, added_at="",
        entry=CatalogueEntry(dataset_id="d", source="d"),
    )  # fmt: skip
    findings = [Finding.model_validate({"code": code, "frame": "0", "text": "t"}) for code in LABEL_FINDINGS]
    damaged = [
        DamagedFile(frame_id="0", part="image", key=code, reason="r", why=Reason(code=code, values=reason_fields(code)))
        for code in get_args(ReasonCode)
    ]
    checks = (
        *(check_files(1, [file], {"1": PARTS}, 0) for file in damaged),
        check_labels(findings, {}, ("Car",), 1),
        check_repeated(1, 1),
        check_support({split: {} for split in SPLITS}, ()),
    )
    frame_report_markdown(version, checks, "en")


def reason_fields(code: str) -> dict[str, str]:
    """A value for every field of a reason's sentence."""
    return {name: "train" if name == "splits" else "v" for name in fields_of(catalogue("en")[f"reason.{code}"])}


def gate(**changed: Any) -> GateDecision:
    content = {"metric": "auc_roc", "direction": "higher", "value": 0.4, "threshold": 0.5, "passed": False}
    return GateDecision.model_validate({**content, **changed})


def preprocessing_options() -> list[Preprocessing]:
    options = {
        "handle_missing": FAMILIES["handle_missing"][1:],
        "handle_outliers": FAMILIES["handle_outliers"],
        "encode_categorical": FAMILIES["encoding"],
        "feature_selection": FAMILIES["selection"],
        "split": vocabulary.values(vocabulary.SplitStrategy),
        "resample": vocabulary.values(vocabulary.Resampling),
    }
    chosen = [{name: value} for name, values in options.items() for value in values]
    everything: dict[str, Any] = {"normalize": True, "standardize": True, "drop_columns": ("a",), "max_features": 3}
    return [
        Preprocessing.model_validate(content) for content in (*chosen, {**everything, "feature_engineering": FAMILIES["derived"]})
    ]


def test_every_sentence_is_used(churn: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(catalogue("en"))
    monkeypatch.setattr(language, "catalogue", lambda _: recording)
    write_everything(churn)
    unused = {key for key in recording.keys() - recording.asked if key.split(".")[0] not in OPEN_FAMILIES}
    assert unused == {f"warning.{name}" for name in FAMILIES["warning"]}, "the run asks for warnings, as details of a phase"


def test_an_unknown_key_raises_and_names_near_ones() -> None:
    with pytest.raises(KeyError, match=r"did you mean .*problem\.unknown_key"):
        sentence("problem.unknwon_key", "ja")


def test_a_missing_field_raises() -> None:
    with pytest.raises(KeyError, match="needs a value for: number"):
        sentence("count.rows.other", "en")


def test_a_value_is_never_read_as_a_template() -> None:
    assert sentence("count.rows.other", "en", number="{number.__class__} {0}") == "{number.__class__} {0} rows"


def test_a_word_that_the_catalogue_lacks_is_none() -> None:
    assert word("metric", "f2_score", "ja") is None
    assert has_sentence("metric.f1_score")


def test_no_japanese_sentence_was_left_in_english() -> None:
    """Names stay Latin; a sentence that is the same in both languages and has a space is one nobody translated."""
    names = {"algorithm.random_forest", "label.training_id", "label.dataset_id", "label.model_version", "label.mlflow_run"}
    same = {key for key, text in catalogue("ja").items() if text == catalogue("en")[key] and re.search("[a-z] [a-z]", text)}
    assert same <= names


def test_prepared_dataset_splits_have_names() -> None:
    assert set(get_args(get_type_hints(PreparedDataset)["split"])) <= set(FAMILIES["split"])
