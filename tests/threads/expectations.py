"""What a script expects of its thread at one moment, and what holds in every thread whatever happened in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from resources.front_desk import STATE_LABELS

if TYPE_CHECKING:
    from tests.threads.replay import Replay

#: Markup of ours that GitHub renders, and links; any other tag outside code came from somebody else.
_OUR_TAGS: Final = re.compile(r"</?(?:details|summary)>|<https?://[^\s<>]+>")
_CODE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?^ {0,3}\1[`~]*\s*$|(`+)(?!`).*?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
_TAG: Final = re.compile(r"<[A-Za-z/!?]")
_MENTION: Final = re.compile(r"(?<![\w/])@[A-Za-z0-9]")


# --- at one moment --------------------------------------------------------------------------------------------------------


def labels(replay: Replay, expected: Sequence[str]) -> None:
    """State labels; the one that asks for a training is left out."""
    found = replay.github.labels(replay.number) - {"mlops:train"}
    assert found == set(expected), sorted(found)


def runs(replay: Replay, expected: Mapping[str, int]) -> None:
    """How many runs of each job have been executed."""
    assert replay.runs == {"propose": 0, "train": 0, **expected}, replay.runs


def asked(replay: Replay, expected: Mapping[str, int]) -> None:
    """How many runs of each job have been asked for, whether they were executed or not."""
    found = {job: sum(key.startswith(f"{job}:") for key in replay.asked) for job in ("propose", "train")}
    assert found == {"propose": 0, "train": 0, **expected}, found


def comments(replay: Replay, count: int) -> None:
    """Comments of the platform in the thread."""
    found = [comment["body"].split("\n", 1)[0] for comment in replay.of_marker("")]
    assert len(found) == count, found


def commits(replay: Replay, count: int) -> None:
    """Records in the history."""
    files = [name for name in replay.github.files("training_history") if name.endswith(".md")]
    assert len(files) == count, sorted(files)


def says(replay: Replay, expected: Mapping[str, Sequence[str] | str]) -> None:
    """Texts in the newest comment of each kind of marker."""
    for kind, texts in expected.items():
        bodies = replay.of_marker(kind)
        assert bodies, f"there is no comment of {kind}"
        for text in [texts] if isinstance(texts, str) else texts:
            assert text in bodies[-1]["body"], f"{kind} does not say: {text}\n\n{bodies[-1]['body']}"


def absent(replay: Replay, expected: Mapping[str, Sequence[str] | str]) -> None:
    """Texts that no comment of each kind holds."""
    for kind, texts in expected.items():
        for text in [texts] if isinstance(texts, str) else texts:
            assert not any(text in comment["body"] for comment in replay.of_marker(kind)), f"{kind} says: {text}"


def silent(replay: Replay, kinds: Sequence[str]) -> None:
    """Kinds of markers of which there is no comment."""
    for kind in kinds:
        assert not replay.of_marker(kind), f"there is a comment of {kind}"


def count(replay: Replay, expected: Mapping[str, int]) -> None:
    """How many comments of each kind of marker there are."""
    for kind, number in expected.items():
        assert len(replay.of_marker(kind)) == number, kind


def order(replay: Replay, expected: Sequence[str]) -> None:
    """The kinds of all comments of the platform, in the order in which people read them."""
    firsts = [comment["body"].split("\n", 1)[0] for comment in replay.of_marker("")]
    found = [first.removeprefix("<!-- mlops:comment ").partition(":")[0].removesuffix(" -->") for first in firsts]
    assert found == list(expected), found


def serving(replay: Replay, version: str | None) -> None:
    """The version that the only endpoint serves."""
    found = [endpoint.version for endpoint in replay.platform.endpoints.list()]
    assert found == ([version] if version is not None else []), found


def outcomes(replay: Replay, expected: Sequence[str]) -> None:
    """How the issue's trainings have ended, in the order of their comments; `open` for one that has not."""
    ledger = replay.platform.ledger
    firsts = [comment["body"].split("\n", 1)[0] for comment in replay.of_marker("training:")]
    records = (ledger.record(first.removeprefix("<!-- mlops:comment training:").removesuffix(" -->")) for first in firsts)
    found = [record.outcome if record is not None else "open" for record in records]
    assert found == list(expected), found


def attempts(replay: Replay, expected: Sequence[int]) -> None:
    """Which attempt of its wording each training is, oldest first; its record, and the one in the history, say the same."""
    ledger, files = replay.platform.ledger, replay.github.files("training_history")
    given = [(identity.training_id, identity.attempt) for identity in ledger.of_issue(replay.number)]
    assert [number for _, number in given] == list(expected), given
    for training_id, number in given:
        record, committed = ledger.record(training_id), files.get(f"training_history/{training_id}.json")
        assert record is None or record.attempt == number, training_id
        assert committed is None or json.loads(committed)["attempt"] == number, training_id


def approved_by(replay: Replay, expected: str | None) -> None:
    """Who approved the newest training that anybody has approved."""
    found = sorted(_approvals(replay, replay.number), key=lambda pair: pair[1].at)
    assert (found[-1][1].by if found else None) == expected, found


def inbox(replay: Replay, waiting: int) -> None:
    """Deliveries of the webhook that nobody has dealt with; 0: the next ticks leave none, also of our own writes."""
    for _ in range(5):
        if waiting or not replay.platform.inbox.waiting():
            break
        replay.do_tick()  # an event of the last tick's own writes had still been on its way
    found = replay.platform.inbox.waiting()
    assert found == waiting, found


EXPECTATIONS: Final[Mapping[str, Callable[[Replay, Any], None]]] = {
    one.__name__: one
    for one in (
        labels, runs, asked, comments, commits, says, absent, silent, count, order, serving, outcomes, attempts, approved_by,
        inbox,
    )
}  # fmt: skip


# --- always ---------------------------------------------------------------------------------------------------------------


def check_always(replay: Replay) -> None:
    """What must hold after every thread; ``ends: under way`` in a script says that something is left to do on purpose."""
    for number in replay.numbers:
        _check_comments(replay, number)
        _check_trainings(replay, number)
        _check_approvals(replay, number)
        assert len(replay.github.labels(number) & set(STATE_LABELS)) <= 1, replay.github.labels(number)
    messages = [commit.message for commit in replay.github.commits() if "train-" in commit.message]
    assert len(messages) == len(set(messages)), messages
    if not replay.ends_under_way:
        _check_at_rest(replay)


def _check_comments(replay: Replay, number: int) -> None:
    """No marker twice, and nothing of what people wrote is alive in our comments."""
    ours = replay.of_marker("", number)
    markers = [comment["body"].split("\n", 1)[0] for comment in ours]
    assert len(markers) == len(set(markers)), markers
    for comment in ours:
        rendered = _OUR_TAGS.sub("", _CODE.sub("", comment["body"].split("\n", 1)[1]))
        assert not _TAG.search(rendered), f"a live tag: {rendered}"
        assert not _MENTION.search(rendered), f"a live mention: {rendered}"


def _check_trainings(replay: Replay, number: int) -> None:
    """A training that has ended has one comment, and one commit if it ran; one that has not has no commit."""
    ledger = replay.platform.ledger
    history = {name for name in replay.github.files("training_history") if name.endswith(".md")}
    for identity in ledger.of_issue(number):
        training_id, record = identity.training_id, ledger.record(identity.training_id)
        assert len(replay.of_marker(f"training:{training_id}", number)) <= 1, training_id
        if ledger.is_reported(training_id):
            assert record is not None
            assert len(replay.of_marker(f"training:{training_id}", number)) == 1, f"{training_id} has no report"
        committed = f"training_history/{training_id}.md" in history
        assert committed == (record is not None and record.has_run and ledger.is_reported(training_id)), training_id


def _approvals(replay: Replay, number: int) -> list[tuple[Any, Any]]:
    ledger, desk = replay.platform.ledger, replay.platform.front_desk
    plans = [(identity, desk.plan(identity.training_id)) for identity in ledger.of_issue(number)]
    found = [(i, ledger.approval(i.training_id, plan.digest)) for i, plan in plans if plan is not None]
    return [(identity, approval) for identity, approval in found if approval is not None]


def _check_approvals(replay: Replay, number: int) -> None:
    """Nobody without permission, no machine, and for production nobody alone has approved anything."""
    for identity, approval in _approvals(replay, number):
        assert approval.by in replay.deciders, f"{approval.by} approved {identity.training_id}"
        if replay.platform.ledger.request(identity.training_id).deployment.environment == "production":
            assert approval.by != identity.requested_by


def _check_at_rest(replay: Replay) -> None:
    """Nothing is left on the docket but proposals that wait for a thumb, and every other training is reported."""
    listing, ledger = replay.platform.docket.listing(), replay.platform.ledger
    assert not listing.changed, listing
    assert not listing.open, listing
    for number in replay.numbers:
        for identity in ledger.of_issue(number):
            waits = listing.waiting.get(number) == identity.training_id
            assert waits != ledger.is_reported(identity.training_id), identity.training_id
