"""What the four comments say, in both languages, and that nothing a person wrote can act in them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlops_assets.errors import Problem
from mlops_assets.reports.comments import Links, progress_comment, proposal_comment, refusal_comment, result_comment
from mlops_assets.reports.phases import phase_table
from mlops_assets.reports.record import GateDecision, PhaseProgress, TrainingRecord
from mlops_assets.reports.report import report_html, report_markdown
from mlops_assets.reports.suggestions import SUGGESTIONS
from mlops_assets.request.schema import DatasetRequest
from mlops_assets.request.vocabulary import Language

LANGUAGES: tuple[Language, ...] = ("ja", "en")
#: Words that have a Japanese translation: none of them may be left in Japanese text outside code.
ENGLISH = re.compile(
    r"\b(?:"
    r"training|test|split|validation|threshold|phase|done|waiting|running|skipped|failed|deployed|deployment|classes|rows|"
    r"columns|features|cost|estimate|cap|approved|value|given|allowed|problem|unknown|key|missing|result|error|"
    r"environment|seconds|hyperparameter|preprocessing|duplicates|stratified|supervised|classification|medium|canary|"
    r"shadow|suggestion|model|line"
    r")\b",
    re.IGNORECASE,
)
LIVE = re.compile(r"@[A-Za-z0-9]|#\d|\bgh-\d|https?://(?!127\.)|\bwww\.|mailto:|[A-Za-z0-9]@[A-Za-z0-9]", re.IGNORECASE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_readers_on_other_machines_get_the_history_as_a_link_and_no_path_or_address_of_the_server(
    churn: SimpleNamespace, language: Language
) -> None:
    here = {"mlflow": "http://127.0.0.1:5000/#/experiments/1", "log": "logs/x/training.log", "report": "reports/x/report.html"}
    page = "https://github.example/acme/models/blob/main/training_history/x.md"
    text = result_comment(churn.deployed(), language, links=Links(history=page, **here, afar=True), by_reply=True)
    links = text[text.index({"ja": "### リンク", "en": "### Links"}[language]) :]
    assert f"<{page}>" in links and "report.html" not in links
    assert "`http://127.0.0.1:5000/#/experiments/1`" in links
    assert {"ja": "`logs/x/training.log`（プラットフォームのストア内）", "en": "`logs/x/training.log` (in the platform's store)"}[
        language
    ] in links
    assert "<http://127" not in text
    reached = Links(**{**here, "mlflow": "https://mlflow.example/#/experiments/1"}, afar=True).markdown(language)
    assert "<https://mlflow.example/#/experiments/1>" in reached and "`reports/x/report.html`" in reached


def prose(markdown: str) -> str:
    """The Markdown without code spans, fences and addresses."""
    return re.sub(r"```.*?```|`[^`\n]*`|<http[^>]*>", "", markdown, flags=re.DOTALL)


def comments(churn: SimpleNamespace, language: Language) -> dict[str, str]:
    problems = [Problem("deploy_to", "not_allowed", "prod", ("dev", "staging", "production"), "production")]
    links = Links(log="/var/log/training.log", ui="http://127.0.0.1:3000/runs/1")
    return {
        "refusal": refusal_comment(problems, "deploy_to: production\n", language),
        "proposal": proposal_comment(churn.plan(), language, approved_by=None, how_to_approve="👍"),
        "approved": proposal_comment(churn.plan(), language, approved_by="hanako", how_to_approve="👍"),
        "progress": progress_comment("train-20250110-123456-ab12", churn.phases()[:3], language, links),
        "deployed": result_comment(churn.deployed(), language, predict_example='$ curl -d x\n{"labels": ["No"]}', links=links),
        "below_threshold": result_comment(churn.below_threshold(), language, links=links),
        "failed": result_comment(churn.failed(), language, links=links),
        **{o: result_comment(churn.stopped(o), language) for o in ("cancelled", "rejected", "superseded")},
        "report": report_markdown(churn.deployed(), language),
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_placeholder_and_no_python_word_is_left(churn: SimpleNamespace, language: Language) -> None:
    for name, text in comments(churn, language).items():
        assert not re.search(r"\{[a-z_]*\}|None|True|False|nan\b|mappingproxy", prose(text)), name
        assert text.endswith("\n")
        assert "\n\n\n" not in text


def test_japanese_comments_have_no_english_word_that_has_a_translation(churn: SimpleNamespace) -> None:
    for name, text in comments(churn, "ja").items():
        names = prose(text).replace("Model Version", "").replace("Training ID", "")
        assert ENGLISH.findall(names) == [], name


def test_english_comments_have_no_japanese(churn: SimpleNamespace) -> None:
    for name, text in comments(churn, "en").items():
        assert not re.search("[\u3040-\u30ff\u4e00-\u9fff（）、。]", text.replace("49,978件、21列", "")), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_shows_every_problem_with_its_remedy_and_the_block_to_paste(language: Language) -> None:
    problems = [
        Problem("hyperparameters.max_deph", "unknown_hyperparameter", "10", ("max_depth", "n_estimators"), "max_depth"),
        Problem("", "empty"),
        Problem("algorithm", "not_allowed", "x", tuple(f"a{number}" for number in range(40))),
    ]
    text = refusal_comment(problems, "hyperparameters:\n  max_depth: 10\n", language)
    assert "`hyperparameters.max_deph`" in text
    assert "`max_depth`" in text
    assert "```yaml\nhyperparameters:\n  max_depth: 10\n```" in text
    assert text.count("\n| ") == 2 + len(problems)
    assert "`a15`" in text
    assert "`a16`" not in text, "a long list of allowed values is cut"
    assert "24" in text
    assert "```" not in refusal_comment(problems[::2], None, language), "no block where none can be guessed"
    assert "```yaml\nmodel_id: " in refusal_comment([Problem("", "empty")], None, language), "what a request looks like"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_proposal_says_what_the_example_proposal_says(churn: SimpleNamespace, language: Language) -> None:
    plan = churn.plan()
    text = proposal_comment(plan, language, approved_by=None, how_to_approve="**HOW**", estimate=churn.estimate())
    for fact in (
        "Random Forest",
        "50,000",
        "10.0%",
        "90.0%",
        "0.85",
        "AUC-ROC",
        "$0.00",
        "$5.00",
        plan.digest,
        "`canary`",
        "**HOW**",
    ):
        assert fact in text
    assert {"ja": "教師あり学習（分類）", "en": "Supervised learning (classification)"}[language] in text
    assert {"ja": "中規模", "en": "medium"}[language] in text
    assert {"ja": "クラス不均衡: 検出", "en": "Class imbalance: detected"}[language] in text
    assert {"ja": "デプロイ: ステージング（ブルー/グリーン）", "en": "Deployment: staging (blue/green)"}[language] in text


@pytest.mark.parametrize(
    ("amount", "basis", "japanese", "english"),
    [
        (None, "no_duration", "費用: まだ見積もりはありません", "Cost: no estimate yet"),
        (None, "no_price", "単価が価格表にありません", "the price table lacks this instance"),
        (0.0, "local", "課金は発生しません", "no charge"),
        (
            12.5,
            "price_table",
            "$12.50（`ml.m5.xlarge`、`2026-11-21` 時点の単価）",
            "$12.50 (`ml.m5.xlarge`, prices of `2026-11-21`)",
        ),
    ],
)
def test_an_unknown_cost_is_told_from_no_cost(
    churn: SimpleNamespace, amount: float | None, basis: str, japanese: str, english: str
) -> None:
    expected = churn.estimate(cost_usd=amount, cost_basis=basis, instance_type="ml.m5.xlarge")
    assert japanese in proposal_comment(churn.plan(), "ja", approved_by=None, how_to_approve="", estimate=expected)
    assert english in proposal_comment(churn.plan(), "en", approved_by=None, how_to_approve="", estimate=expected)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_approved_proposal_names_who_approved_and_drops_the_instructions(churn: SimpleNamespace, language: Language) -> None:
    text = proposal_comment(churn.plan(), language, approved_by="hanako", how_to_approve="INSTRUCTIONS")
    assert "hanako" in text
    assert "INSTRUCTIONS" not in text


def phase_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"\| \d\.", line)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_progress_shows_the_seven_phases_in_order_whatever_is_known(language: Language) -> None:
    phases = [
        PhaseProgress(phase="training", state="running", detail="37/100"),
        PhaseProgress(phase="features", state="done", seconds=0.25, detail="46"),
        PhaseProgress(phase="data", state="done", seconds=0.5, detail="49,978"),
    ]
    text = progress_comment("t", phases, language)
    rows = phase_rows(text)
    assert len(rows) == 7
    assert "✅" in rows[0] and "0.75" in rows[0] and "49,978 · 46" in rows[0], "data and features are one phase"
    assert "🔄" in rows[1] and "37/100" in rows[1]
    assert all("⬜" in row for row in rows[2:5])
    assert {"ja": "フェーズ2/7（モデル開発）", "en": "phase 2 of 7: Model development"}[language] in text
    assert text.index({"ja": "リクエスト検証", "en": "Request check"}[language]) < text.index("| 1.")


@pytest.mark.parametrize(
    ("data", "features", "icon", "after"),
    [
        ("waiting", "waiting", "⬜", "➖"),
        ("running", "waiting", "🔄", "🛑"),
        ("done", "waiting", "🔄", "🛑"),
        ("done", "running", "🔄", "🛑"),
        ("done", "failed", "❌", "❌"),
        ("failed", "waiting", "❌", "❌"),
        ("done", "skipped", "✅", "✅"),
        ("skipped", "skipped", "➖", "➖"),
        ("done", "done", "✅", "✅"),
    ],
)
def test_a_phase_of_two_steps_has_one_state_and_none_goes_on_after_the_end(
    data: Any, features: Any, icon: str, after: str
) -> None:
    phases = [PhaseProgress(phase="data", state=data), PhaseProgress(phase="features", state=features)]
    assert icon in phase_rows(phase_table(phases, "en"))[0]
    ended = phase_rows(phase_table(phases, "en", ended=True))
    assert after in ended[0]
    assert not re.search("running|waiting", "".join(ended))


def test_phases_that_are_not_built_say_so_only_where_they_were_asked_for() -> None:
    nothing = phase_rows(phase_table((), "ja"))[5:]
    assert ["未対応" in row for row in nothing] == [False, False]
    asked = phase_rows(phase_table((), "ja", not_done=("canary", "monitoring", "retraining")))[5:]
    assert ["未対応" in row for row in asked] == [True, True]
    assert ["not built yet" in row for row in phase_rows(phase_table((), "en", not_done=("retraining",)))[5:]] == [False, True]


def test_links_stand_in_the_row_of_their_phase_and_paths_below_the_table() -> None:
    links = Links(
        log="/var/log/x", mlflow="http://127.0.0.1:5000/#/runs/1", endpoint="http://127.0.0.1:8101", report="javascript:x"
    )
    text = progress_comment("t", (), "en", links)
    rows = phase_rows(text)
    assert "[MLflow](<http://127.0.0.1:5000/#/runs/1>)" in rows[1]
    assert "[endpoint](<http://127.0.0.1:8101>)" in rows[4]
    below = text.split("| 7.")[1]
    assert "`/var/log/x`" in below and "`javascript:x`" in below and "5000" not in below
    assert "Links" not in progress_comment("t", (), "en", Links(log="/var/log/x")).split("| 1.")[0], "no empty column"


def test_no_list_is_torn_apart_by_blank_lines(churn: SimpleNamespace) -> None:
    """Two lists after each other are one list to Markdown, and every line of it becomes a paragraph."""
    for name, text in comments(churn, "en").items():
        assert loose_items(text) == 0, name


def loose_items(markdown: str) -> int:
    depth = loose = 0
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        depth += (token.type == "list_item_open") - (token.type == "list_item_close")
        loose += token.type == "paragraph_open" and depth > 0 and not token.hidden
    return loose


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("outcome", ["cancelled", "rejected", "superseded"])
def test_a_training_that_people_ended_says_what_it_was_by_whom_and_what_next(
    churn: SimpleNamespace, language: Language, outcome: str
) -> None:
    text = result_comment(churn.stopped(outcome), language, by_reply=True)
    assert "train-20250110-123456-ab12" in text and "Random Forest" in text
    assert ("taro" in text) == (outcome != "superseded")
    assert "YAML" in text or outcome == "superseded"
    assert ("/retry" in text) == (outcome == "cancelled")
    assert len(phase_rows(text)) == (7 if outcome == "cancelled" else 0)
    assert not re.search(r"実行中|待機中|running|waiting", text)
    assert "mlops run" not in text
    report = report_markdown(churn.stopped(outcome), language)
    assert "mlops reproduce" not in report
    assert {"ja": "自動承認", "en": "automatic"}[language] not in report


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_result_says_what_the_example_report_says(churn: SimpleNamespace, language: Language) -> None:
    record = churn.deployed()
    text = result_comment(record, language, predict_example='$ curl -d x\n{"labels": ["No"]}')
    facts = ["train-20250110-123456-ab12", "Random Forest", "2025-01-10 12:34:56 UTC", "telco-churn", "34,984", "7,497"]
    facts += [
        "0.8765",
        "0.9123",
        "0.9512",
        "0.000432",
        "0.85",
        "v1.2.0",
        "http://127.0.0.1:8101",
        "v1.1.0",
        "mlops rollback customer-churn",
    ]
    facts += ["| `n_estimators`", "| `null`", '```console\n$ curl -d x\n{"labels": ["No"]}\n```']
    assert [fact for fact in facts if fact not in text] == []
    assert "✅" in text.splitlines()[2]


@pytest.mark.parametrize("language", LANGUAGES)
def test_below_the_threshold_says_by_how_much_and_gives_blocks_to_paste(churn: SimpleNamespace, language: Language) -> None:
    text = result_comment(churn.below_threshold(), language)
    assert "0.0088" in text
    assert "mlops run 12" in text
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    assert blocks == [
        {"hyperparameters": {"n_estimators": 200, "max_depth": 10, "class_weight": "balanced"}},
        {"algorithm": "xgboost", "hyperparameters": {}},
        {"evaluation_threshold": 0.84},
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_below_the_threshold_both_ways_to_answer_are_given_as_long_as_retries_are_left(
    churn: SimpleNamespace, language: Language
) -> None:
    text = result_comment(churn.below_threshold(attempt=3), language, by_reply=True)
    lines = re.findall(r"```text\n(.*?)\n```", text)
    assert lines == [
        "/retry n_estimators=200 class_weight=balanced",
        "/retry algorithm=xgboost",
        "/retry evaluation_threshold=0.84",
    ]
    assert {"ja": "3回中1回", "en": "Retries left: 1 of 3"}[language] in text
    assert "mlops run" not in text
    last = result_comment(churn.below_threshold(attempt=4), language, by_reply=True)
    assert "/retry" not in last and "max_retry: 3" in last
    assert last.count("```yaml") == 3, "the issue can still be edited"


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_people_have_no_shell_the_ways_on_are_replies(churn: SimpleNamespace, language: Language) -> None:
    deployed = result_comment(churn.deployed(), language, by_reply=True)
    assert "`/rollback`" in deployed and "mlops rollback" not in deployed
    assert "`/retry`" in result_comment(churn.failed(), language, by_reply=True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_failure_names_the_phase_the_error_the_log_and_the_next_command(churn: SimpleNamespace, language: Language) -> None:
    text = result_comment(churn.failed(), language, links=Links(log="/var/log/training.log"))
    assert "has one class only" in text
    assert text.count("`/var/log/training.log`") == 1
    assert "mlops run 12" in text
    assert {"ja": "データ準備", "en": "Data preparation"}[language] in text


def test_a_value_just_below_the_threshold_is_never_shown_as_equal(churn: SimpleNamespace) -> None:
    gate = GateDecision(metric="auc_roc", direction="higher", value=0.849999, threshold=0.85, passed=False)
    text = result_comment(churn.below_threshold(gate=gate), "en")
    assert "AUC-ROC of 0.849999 is 1e-06 short of the threshold of 0.85." in text


def test_an_error_metric_is_above_its_threshold_not_short_of_it(churn: SimpleNamespace) -> None:
    gate = GateDecision(metric="rmse", direction="lower", value=52_345.678, threshold=50_000.0, passed=False)
    assert "RMSE of 52,345.68 is 2,345.68 above the threshold of 50,000." in result_comment(
        churn.below_threshold(gate=gate), "en"
    )
    assert "閾値 50,000 を 2,345.68 超えました" in result_comment(churn.below_threshold(gate=gate), "ja")


PIECES = [
    "@octocat", "<script>x</script>", "<!-- mlops:x -->", "[a](http://evil.example)", "`", "|", "\n", "\n\n# h", "#12", "o/r#1",
    "GH-1", "http://evil.example", "www.evil.example", "\\", "{x}", "</style>", "```", "~~~\n", "a@b.c", "\u202e",
]  # fmt: skip
hostile = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), min_size=1, max_size=5).map("".join)


def hostile_record(churn: SimpleNamespace, text: str) -> TrainingRecord:
    """A record in which every free string is ``text``."""
    facts = churn.deployed().dataset
    check = facts.checks[1].model_copy(update={"evidence": {text: text}, "limit": text})
    dataset = {
        "dataset_id": text,
        "version": text,
        "target": text,
        "removed": {text: 3},
        "split": text,
        "classes": (text, "b"),
        "digest": text,
    }
    return churn.deployed(
        request=churn.request(variant=text, dataset=DatasetRequest(dataset_id=(text * 3)[:100] or "x"), tags={text: text}),
        approved_by=text,
        code_version=text,
        plan_digest=text,
        environment={text: text},
        dataset=facts.model_copy(update={**dataset, "checks": (check,), "rows": {text: 5}}),
        hyperparameters={text: text},
        metrics={text: 0.5, "auc_roc": 0.9},
        per_class={text: {text: 0.1}},
        curves={text: [0.1, 0.2]},
        importance={text: 0.5},
        phases=(PhaseProgress(phase="data", state="failed", detail=text),),
        error=text,
        model=churn.deployed().model.model_copy(update={"version": text, "uri": text, "mlflow_run_id": text}),
        endpoint=churn.deployed().endpoint.model_copy(update={"url": f"/{text}", "environment": text, "previous_version": text}),
    )


def assert_harmless(markdown: str) -> None:
    """No tag, mention, reference or foreign link, and every table still as wide as its header."""
    markdown.encode()
    cells: list[int] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown):
        if token.type == "tr_open":
            cells.append(0)
        elif token.type in {"th_open", "td_open"}:
            cells[-1] += 1
        elif token.type == "table_close":
            assert len(set(cells)) == 1
            cells.clear()
        assert token.type != "html_block"
        for child in token.children or []:
            assert child.type not in {"html_inline", "image", "em_open", "s_open"}
            assert child.type != "link_open" or str(child.attrs["href"]).startswith("http://127.0.0.1")
            assert child.type != "text" or not LIVE.search(child.content)


@settings(max_examples=40, deadline=None)
@given(text=hostile)
def test_hostile_text_in_any_field_stays_text(churn: SimpleNamespace, text: str) -> None:
    record = hostile_record(churn, text)
    links = Links(log=f"/{text}", ui=f"/{text}")
    assert_harmless(refusal_comment([Problem(text, "not_allowed", text, (text, text), text)], text, "ja"))
    assert_harmless(progress_comment(text, record.phases, "en", links))
    assert_harmless(result_comment(record, "ja", predict_example=text, links=links))
    assert_harmless(result_comment(record.model_copy(update={"outcome": "failed"}), "en", links=links))
    for outcome in ("cancelled", "rejected"):
        assert_harmless(result_comment(record.model_copy(update={"outcome": outcome, "ended_by": text}), "ja"))
    assert_harmless(report_markdown(record, "en"))
    plan = churn.plan(request=record.request, target=text, resources={text: text}, hyperparameters={text: text}, metrics=(text,))
    assert_harmless(proposal_comment(plan, "ja", approved_by=text, how_to_approve="👍"))
    left_out = [{"field": text, "key": "canary", "asked": text}]
    found = plan.characteristics.model_copy(update={"class_counts": {text: 1}, "target": text})
    assert_harmless(
        proposal_comment(churn.plan(not_done=left_out, characteristics=found), "en", approved_by=None, how_to_approve="")
    )


@settings(max_examples=20, deadline=None)
@given(text=hostile)
def test_hostile_text_makes_no_element_in_the_page(churn: SimpleNamespace, text: str) -> None:
    page = report_html(hostile_record(churn, text), "en", {})
    plain_page = report_html(hostile_record(churn, "x"), "en", {})
    tags = r"</?(script|img|style|a|h1|main)\b"
    assert re.findall(tags, page) == re.findall(tags, plain_page)
    assert "<!-- " not in page


def test_two_fields_left_out_for_one_reason_share_a_line(churn: SimpleNamespace) -> None:
    text = result_comment(churn.deployed(not_done=("deployment_target", "deployment_target", "grpc")), "ja")
    assert text.count("指定のデプロイ先は未対応") == 1
    assert "gRPC は未対応" in text


def test_every_suggestion_can_be_said(churn: SimpleNamespace) -> None:
    gate = churn.below_threshold().gate.model_copy(update={"suggestions": SUGGESTIONS})
    for language in LANGUAGES:
        assert result_comment(churn.below_threshold(gate=gate), language).count("```yaml") == 3
