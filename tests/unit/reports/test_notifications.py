"""What notifications say, in both languages, and that nobody's text becomes markup, a mention or a header in any medium."""

from __future__ import annotations

import html
import re
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlops_assets.reports.notifications import (
    SEVERITIES,
    Event,
    NotificationFacts,
    facts_of_plan,
    facts_of_record,
    for_mail_html,
    for_mail_text,
    for_slack,
    for_summary,
    inert,
    notification_for,
    one_line,
    unconfigured_sentence,
)
from mlops_assets.request.vocabulary import Language

THREAD = "https://github.com/owner/name/issues/12"
HOSTILE = (
    "<!channel> <@U012AB3CD> @here @everyone <script>alert(1)</script> & ![x](http://evil.example/x.png)\r\n"
    "Bcc: victim@example.com\u202e\u2028<!here> [click](javascript:alert(1)) `code` *bold* $(id) {title} %s #1"
)


def facts(event: Event = "failed", language: Language = "en", **more: Any) -> NotificationFacts:
    return NotificationFacts(event=event, training_id="train-20261120-101010-abcdef", model_id="churn", language=language, **more)


def test_a_proposal_asks_for_an_approval_and_names_the_estimate_and_the_plan(churn: SimpleNamespace) -> None:
    plan = churn.plan(request=churn.request(language="ja"))
    facts = facts_of_plan(plan, "train-1", issue=12, issue_title="Churn", issue_url=THREAD, estimated_cost_usd=1.5)
    told = notification_for(facts)
    assert (told.event, told.severity, told.issue, told.training_id) == ("approval_needed", "info", 12, "train-1")
    assert told.language == plan.request.language == "ja"
    assert "承認" in told.title and "#12" in told.title
    assert "$1.50" in told.text and plan.digest[:12] in told.text
    assert [link.url for link in told.links] == [THREAD]


def test_without_an_estimate_it_says_so_instead_of_zero(churn: SimpleNamespace) -> None:
    plan = churn.plan(request=churn.request(language="ja"))
    text = notification_for(facts_of_plan(plan, "train-1", issue=1, issue_title="", issue_url=None)).text
    assert "まだ見積もりはありません" in text and "$" not in text


def test_a_deployment_names_version_environment_and_the_score(churn: SimpleNamespace) -> None:
    told = notification_for(facts_of_record(churn.deployed(), issue_title="Churn", issue_url=THREAD))
    assert told.event == "deployed"
    assert "v1.2.0" in told.text and "ステージング" in told.text and "0.9123" in told.text
    assert "http://127.0.0.1:8101" in {link.url for link in told.links}


def test_a_model_below_its_threshold_says_by_how_much(churn: SimpleNamespace) -> None:
    told = notification_for(facts_of_record(churn.below_threshold()))
    assert (told.event, told.severity) == ("below_threshold", "warning")
    assert "0.8412" in told.text and "0.85" in told.text


def test_a_failure_names_the_phase_and_the_error(churn: SimpleNamespace) -> None:
    told = notification_for(facts_of_record(churn.failed()))
    assert (told.event, told.severity) == ("failed", "error")
    assert "データ準備" in told.text and "has one class only" in told.text


def test_the_last_allowed_attempt_is_worse_than_a_failure_and_a_success_never_is(churn: SimpleNamespace) -> None:
    for record in (churn.failed(), churn.below_threshold()):
        told = notification_for(facts_of_record(record, retries_exhausted=True))
        assert (told.event, told.severity) == ("retries_exhausted", "critical")
    assert facts_of_record(churn.deployed(), retries_exhausted=True).event == "deployed"


@pytest.mark.parametrize("event", get_args(Event))
def test_every_event_is_told_in_the_language_of_the_issue(event: Event) -> None:
    japanese, english = (notification_for(facts(event, language, issue=3)) for language in ("ja", "en"))
    assert re.search("[ぁ-んァ-ヶ一-龠]", japanese.title) and re.search("[ぁ-ん]", japanese.text.splitlines()[0])
    assert not re.search("[ぁ-んァ-ヶ一-龠（）]", english.title + english.text + english.markdown)
    assert japanese.severity == english.severity == SEVERITIES[event]
    assert "churn" in english.title and "#3" in english.title


def test_the_same_event_of_a_training_is_the_same_notification_and_another_is_not() -> None:
    assert notification_for(facts()) == notification_for(facts())
    assert notification_for(facts()).id != notification_for(facts("deployed")).id


def test_who_rejected_is_named() -> None:
    assert "maintainer" in notification_for(facts("rejected", by="maintainer")).text


def test_channels_that_are_not_set_up_are_named_with_the_command_that_says_what_is_missing() -> None:
    assert unconfigured_sentence((), "ja") == ""
    for language in get_args(Language):
        line = unconfigured_sentence(("slack", "email"), language)
        assert "`slack`" in line and "`email`" in line and "`mlops notify test slack`" in line and "\n" not in line


# --- hostile text -----------------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(
            ["<", ">", "&", "!channel", "@", "\r\n", "\u2028", "\x00", "`", "|", "*", "://", "www.", "\ud800", "é", "漢"]
        ),
        max_size=60,
    ).map("".join),
)


@given(TEXTS, st.integers(1, 500))
@settings(max_examples=150, deadline=None)
def test_slack_text_has_no_control_character_of_its_own_and_keeps_the_limit(text: str, limit: int) -> None:
    escaped = for_slack(text, limit)
    assert len(escaped) <= limit
    assert not re.search("[<>]", escaped)
    assert re.sub("&(?:amp|lt|gt);", "", escaped).count("&") == 0
    if len(html.escape(text, quote=False)) < limit:
        assert html.unescape(escaped) == html.unescape(html.escape(text, quote=False))


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_whatever_people_write_stays_text_on_one_line(text: str) -> None:
    line = inert(text, 120)
    assert "\n" not in line and "\r" not in line and len(line.splitlines()) <= 1
    assert not re.search(r"@[A-Za-z]|://|[\x00-\x1f\u202a-\u202e\ud800-\udfff]", line)
    told = notification_for(facts(issue=1, issue_title=text, error=text, by=text))
    assert len(told.title.splitlines()) == 1
    assert len(for_summary(told)) <= 1024
    told.model_dump_json().encode()


def tags_of(markup: str) -> set[str]:
    return set(re.findall(r"<\s*/?\s*([a-zA-Z!][a-zA-Z0-9]*)", markup))


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_the_html_of_a_mail_has_only_our_own_tags_and_links(text: str) -> None:
    told = notification_for(facts(issue=1, issue_title=text, error=text, issue_url=THREAD, endpoint_url=f"javascript:{text}"))
    markup = for_mail_html(told)
    ours = {"!DOCTYPE", "html", "head", "meta", "title", "body", "h1", "p", "ul", "li", "a", "code"}
    assert tags_of(markup) <= ours
    assert re.findall(r'href="([^"]*)"', markup) == [THREAD]


def test_a_hostile_title_makes_no_mention_link_or_markup_in_markdown() -> None:
    told = notification_for(facts(issue=5, issue_title=HOSTILE, error=HOSTILE, by=HOSTILE, issue_url="x](javascript:alert(1))"))
    rendered = MarkdownIt("commonmark", {"html": True}).render(told.markdown)
    assert tags_of(rendered) <= {"p", "ul", "li", "code"}
    assert not re.search(r"@[a-z]", re.sub("<code>.*?</code>", "", rendered))


def test_a_title_is_never_read_as_a_template() -> None:
    assert "{model.__class__}" in notification_for(facts(issue=1, issue_title="{model.__class__} {0}")).title


def test_a_long_title_is_cut_and_a_pager_gets_one_line() -> None:
    told = notification_for(facts(issue=1, issue_title="x" * 5000, error="y\n" * 5000))
    assert len(told.title) < 200 and len(told.text) < 1500
    assert "\n" not in for_summary(told)
    assert len(one_line("語" * 5000, 1024)) == 1024


def test_a_file_on_this_machine_is_text_and_not_a_link() -> None:
    told = notification_for(facts(issue=1, issue_url="file:///home/somebody/.mlops/issues/0001-x.md"))
    assert "href" not in for_mail_html(told) and "file:///home" in for_mail_html(told)
    assert "file:///home" in for_mail_text(told)
