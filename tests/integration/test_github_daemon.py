"""One thread on GitHub from the opened issue to the answering endpoint, with the real daemon and nobody typing a command.

The issue is the full example with the real customers of a telephone company, where that data is at hand; else one of the same
shape over generated customers. GitHub is the stand-in, spoken to by PyGithub over HTTP; what took how long is printed.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon
from front_door import ACCOUNT, REPOSITORY, register_customers, settings_for, tell

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.request.draft import IssueDraft, draft_issue
from resources.closing import example_rows
from resources.platform import Platform
from tests.shared_data import SHARED
from tests.standins.github import Exchange, GitHubStandIn

pytestmark = [pytest.mark.slow, pytest.mark.service]

DATASET = "dataset-20250128-001"
POLL_SECONDS = 5.0
"""The shortest time between two ticks of the issue sensor."""
GENERATED = f"""title: "[MLOps] モデル学習リクエスト: 解約予測"
labels: mlops:train

dataset_id: {DATASET}
data_preprocessing:
  handle_missing: mean
  encode_categorical: onehot
learning_type: supervised
task_type: classification
algorithm: random_forest
hyperparameters:
  n_estimators: 60
  max_depth: 10
experiment_name: "customer-churn-v1"
evaluation_threshold: 0.9999
evaluation_metrics:
  - accuracy
  - recall
model_version: v1.2.0
deployment_strategy: canary
deploy_to: staging
workflow_optimization:
  enabled: true
  auto_approve: false
max_retry: 3
"""


@dataclass
class Thread:
    """The issue, who is at it, and when what happened, in seconds of the monotonic clock."""

    github: GitHubStandIn
    platform: Platform
    daemon: Daemon
    draft: IssueDraft
    share: str
    number: int = 0
    moments: dict[str, float] = field(default_factory=dict)
    polls: list[float] = field(default_factory=list)

    def note(self, exchange: Exchange) -> None:
        """When the daemon asked for news, and when a comment of the platform was first written."""
        request = exchange.request
        if request.method == "GET" and request.path == f"/repos/{REPOSITORY}/issues":
            self.polls.append(time.monotonic())
        if request.method == "POST" and request.path.endswith(f"/issues/{self.number}/comments"):
            self.moments.setdefault("first comment", time.monotonic())

    def ours(self, kind: str = "training:") -> list[dict[str, Any]]:
        """The platform's comments of a kind, oldest first."""
        comments = (comment for comment in self.github.comments(self.number) if comment["user"]["login"] == ACCOUNT)
        return [comment for comment in comments if f"<!-- mlops:comment {kind}" in comment["body"]]

    def training(self, attempt: int) -> str | None:
        """The id of an attempt's training."""
        found = [identity.training_id for identity in self.platform.ledger.of_issue(self.number) if identity.attempt == attempt]
        return found[0] if found else None

    def has_labels(self, *names: str) -> bool:
        return self.github.labels(self.number) - {"mlops:train"} == set(names)


def example(platform: Platform, folder: Path) -> tuple[IssueDraft, str]:
    """The issue, its dataset registered, and the share of the rarer class as the thread shows it."""
    table = SHARED / "data" / "tabular" / "telco_churn" / "data.csv"
    if table.is_file():
        entry = CatalogueEntry(dataset_id=DATASET, source=str(table), target="Churn", positive_class="Yes")
        platform.catalogue.add(entry)
        text = (SHARED / "spec" / "examples" / "random_forest_full.yaml").read_text(encoding="utf-8")
        return draft_issue(text, name="random_forest_full"), "26.5"
    register_customers(platform, folder, DATASET, rows=3000)
    return draft_issue(GENERATED, name="generated"), "12"


@pytest.fixture(scope="module")
def thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thread]:
    """`mlops ui` over a repository in which nothing has happened yet."""
    folder = tmp_path_factory.mktemp("github-daemon")
    with GitHubStandIn(repository=REPOSITORY) as github:
        settings = settings_for(github, folder / "home")
        platform = Platform(settings)
        draft, share = example(platform, folder)
        for login, permission in (("maintainer", "write"), ("requester", "read"), ("stranger", "read")):
            github.add_user(login, permission=permission)
        github.push("maintainer", {"README.md": "# Models\n"}, "Begin")
        thread = Thread(github, platform, Daemon(settings, folder), draft, share)
        github.observe(thread.note)
        try:
            thread.daemon.start()
            thread.daemon.until("two polls", lambda: len(thread.polls) >= 2)
            yield thread
        finally:
            thread.daemon.end()
            for endpoint in platform.endpoints.list():
                platform.endpoints.stop(endpoint.name)


@pytest.fixture(scope="module")
def proposed(thread: Thread) -> str:
    """The first proposal, as it was shown, once it waits for a thumb."""
    opened = time.monotonic()
    draft = thread.draft
    thread.number = thread.github.open_issue("requester", draft.title, draft.body, labels=list(draft.labels))
    thread.daemon.until("the first comment", lambda: thread.moments.get("first comment"))
    seen = next(moment for moment in thread.polls if moment >= opened)
    thread.moments |= {"opened": opened, "seen": seen}
    thread.daemon.until("the wait for a thumb", lambda: thread.number in thread.platform.docket.listing().waiting)
    (comment,) = thread.ours()
    return str(comment["body"])


@pytest.fixture(scope="module")
def denied(thread: Thread, proposed: str) -> str:
    """What a stranger's thumb was answered."""
    thread.github.react(thread.ours()[0]["id"], "stranger", "+1")
    thread.daemon.until("the explanation", lambda: thread.ours("denied:"))
    ticks = len(thread.polls)
    thread.daemon.until("two more polls", lambda: len(thread.polls) >= ticks + 2)
    (comment,) = thread.ours("denied:")
    return str(comment["body"])


@pytest.fixture(scope="module")
def reported(thread: Thread, denied: str) -> str:
    """The report of the first attempt, which a maintainer's thumb has started."""
    assert thread.platform.ledger.approval(str(thread.training(1)), str(_digest(thread, 1))) is None
    thumb = time.monotonic()
    thread.github.react(thread.ours()[0]["id"], "maintainer", "+1")
    thread.daemon.until("the start", lambda: thread.has_labels("mlops:running"))
    thread.moments["thumb to start"] = time.monotonic() - thumb
    thread.daemon.until("the report", lambda: thread.has_labels("mlops:needs-operator"), 180)
    thread.moments["thumb to report"] = time.monotonic() - thumb
    (comment,) = thread.ours()
    return str(comment["body"])


@pytest.fixture(scope="module")
def retried(thread: Thread, reported: str) -> str:
    """The report of the second attempt, which the operator has asked for in a fenced block."""
    asked = time.monotonic()
    comment = "しきい値を下げて、もう一度お願いします。\n\n```yaml\nevaluation_threshold: 0.6\n```\n"
    thread.github.comment(thread.number, "maintainer", comment)
    thread.daemon.until("the answer", lambda: thread.ours("reply:"))
    thread.moments["reply to answer"] = time.monotonic() - asked
    thread.daemon.until("the deployment", lambda: thread.has_labels("mlops:done"), 180)
    thread.moments["reply to endpoint"] = time.monotonic() - asked
    first, second = thread.ours()
    assert first["body"].split("\n", 1)[1] == reported.split("\n", 1)[1]
    return str(second["body"])


def _digest(thread: Thread, attempt: int) -> str | None:
    plan = thread.platform.front_desk.plan(str(thread.training(attempt)))
    return plan.digest if plan is not None else None


def test_the_proposal_is_in_japanese_and_says_why_it_resamples(thread: Thread, proposed: str) -> None:
    plan = thread.platform.front_desk.plan(str(thread.training(1)))
    assert plan is not None and plan.request.language == "ja"
    assert "SMOTE" in proposed and thread.share in proposed and "プラン" in proposed
    assert plan.digest[:12] in proposed
    moments = thread.moments
    tell(
        f"opened -> seen {moments['seen'] - moments['opened']:.1f} s, seen -> first comment "
        f"{moments['first comment'] - moments['seen']:.1f} s, opened -> first comment "
        f"{moments['first comment'] - moments['opened']:.1f} s"
    )
    assert moments["first comment"] - moments["seen"] <= POLL_SECONDS + 5


def test_a_strangers_thumb_is_explained_and_starts_nothing(thread: Thread, denied: str) -> None:
    assert "stranger" in denied and "@stranger" not in denied
    assert any("\u3040" <= letter <= "\u30ff" for letter in denied)


def test_a_maintainers_thumb_starts_the_run_that_ends_as_the_report_in_the_same_comment(thread: Thread, reported: str) -> None:
    training = str(thread.training(1))
    tell(f"thumb -> start {thread.moments['thumb to start']:.1f} s, -> report {thread.moments['thumb to report']:.1f} s")
    assert thread.moments["thumb to start"] <= 2 * (POLL_SECONDS + 5)
    record = thread.platform.ledger.record(training)
    assert record is not None and record.outcome == "below_threshold" and record.approved_by == "maintainer"
    assert record.class_balance, "the training rows were resampled"
    assert "/retry" in reported or "```yaml" in reported


def test_the_history_is_committed_and_linked_in_the_comment(thread: Thread, reported: str) -> None:
    training = str(thread.training(1))
    committed = thread.github.files("training_history")
    assert f"training_history/{training}.md" in committed and f"training_history/{training}.json" in committed
    (commit,) = [commit for commit in thread.github.commits() if training in commit.message]
    assert thread.platform.history.url(training) in reported
    assert thread.platform.history.url(training).startswith(f"{thread.github.html_url}/{REPOSITORY}/blob/main/")
    assert commit.message.startswith("customer-churn-v1")


def test_the_operators_reply_leads_to_a_version_whose_endpoint_answers(thread: Thread, retried: str) -> None:
    training = str(thread.training(2))
    moments = thread.moments
    tell(f"reply -> answer {moments['reply to answer']:.1f} s, -> endpoint {moments['reply to endpoint']:.1f} s")
    record = thread.platform.ledger.record(training)
    assert record is not None and record.outcome == "deployed" and record.endpoint is not None and record.model is not None
    assert record.approved_by == "maintainer" and record.attempt == 2
    assert record.model.version in retried and record.endpoint.url in retried
    (answer,) = thread.ours("reply:")
    assert "evaluation_threshold" in answer["body"]
    examples = example_rows(thread.platform, training)
    assert examples is not None
    rows = json.dumps(dict(examples.rows[0])).encode()
    request = urllib.request.Request(f"{record.endpoint.url}/invocations", rows, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as served:
        assert json.loads(served.read())["model_version"] == record.model.version
    assert len([commit for commit in thread.github.commits() if training in commit.message]) == 1


def test_every_comment_of_the_thread_is_there_once(thread: Thread, retried: str) -> None:
    markers = [comment["body"].split("\n", 1)[0] for comment in thread.ours("")]
    assert len(markers) == len(set(markers)) == 4, markers
