"""Which pushes touch model code, and which model lines follow: the rule itself, without a server or a run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.request.code_change import Push, decide, is_model_code, read_push, touches_model_code
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.planner import not_done
from mlops_assets.request.schema import RetrainingRequest

SHA = "0123456789abcdef0123456789abcdef01234567"
FOLLOWS = RetrainingRequest(enabled=True, triggers=("code_change", "drift_detected"))


def commit(*paths: str, kind: str = "modified", **author: str) -> dict[str, Any]:
    return {"id": "c", "author": {"email": "person@example.com", "username": "maintainer", **author}, kind: list(paths)}


def push(*commits: dict[str, Any], **more: Any) -> Push:
    content = {
        "ref": "refs/heads/main",
        "after": SHA,
        "repository": {"default_branch": "main", "full_name": "owner/name"},
        "commits": list(commits),
        **more,
    }
    read = read_push(json.dumps(content).encode())
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mlops_assets/tasks/tabular/forest.py", True),
        ("pyproject.toml", True),
        ("deep/training_history/x.py", True),
        ("documents.py", True),
        ("training_history/train-20260101-000000-abcd.json", False),
        ("docs/conf.py", False),
        ("README.md", False),
        ("mlops_assets/NOTES.MD", False),
    ],
)
def test_history_documents_and_markdown_are_no_model_code(path: str, expected: bool) -> None:
    assert is_model_code(path) is expected


@pytest.mark.parametrize("kind", ["added", "removed", "modified"])
def test_a_file_added_removed_or_changed_on_the_default_branch_counts(kind: str) -> None:
    assert touches_model_code(push(commit("README.md"), commit("model.py", kind=kind)))
    assert not touches_model_code(push(commit("README.md", kind=kind)))


@pytest.mark.parametrize("ref", ["refs/heads/feature", "refs/tags/main", "refs/heads/x/main", "main"])
def test_other_branches_and_tags_do_not_count(ref: str) -> None:
    assert not touches_model_code(push(commit("model.py"), ref=ref))


def test_a_removed_branch_does_not_count() -> None:
    assert not touches_model_code(push(deleted=True, after="0" * 40))


def test_the_default_branch_is_the_one_that_the_repository_names() -> None:
    trunk = {"default_branch": "trunk/1"}
    assert touches_model_code(push(commit("model.py"), ref="refs/heads/trunk/1", repository=trunk))
    assert not touches_model_code(push(commit("model.py"), repository=trunk))


@given(names=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_history_commit_never_triggers_whatever_its_files_are_called(names: list[str]) -> None:
    assert decide([push(commit(*(f"training_history/{name}" for name in names)))], {"churn": FOLLOWS}) == ()


def test_commits_of_the_platform_itself_do_not_count_those_of_others_in_the_same_push_do() -> None:
    own = commit("model.py", username="platform[bot]", email="1+platform[bot]@users.noreply.github.com")
    local = commit("model.py", email="mlops@localhost")
    assert not touches_model_code(push(own, local), ["platform[bot]"])
    assert touches_model_code(push(own), ["other[bot]"])
    assert touches_model_code(push(own, commit("model.py")), ["platform[bot]"])


def test_code_counts_as_touched_where_the_payload_cannot_tell() -> None:
    assert touches_model_code(push(forced=True)), "commits were taken away"
    assert touches_model_code(push(commit("README.md"), forced=True))
    assert touches_model_code(push(*[commit("README.md")] * 2048)), "the list is cut there"
    assert not touches_model_code(push())


def test_lines_follow_only_with_retraining_enabled_and_the_trigger() -> None:
    lines = {
        "b": FOLLOWS,
        "a": RetrainingRequest(enabled=True, triggers=("code_change",)),
        "switched-off": RetrainingRequest(enabled=False, triggers=("code_change",)),
        "other-trigger": RetrainingRequest(enabled=True, triggers=("data_change",)),
        "none": RetrainingRequest(),
    }
    asked = decide([push(commit("model.py"))], lines)
    assert [(r.line, r.run_key) for r in asked] == [("a", f"push:{SHA}:a"), ("b", f"push:{SHA}:b")]
    assert decide([push(commit("README.md"))], lines) == ()
    assert decide([], lines) == ()


def test_of_several_pushes_the_last_that_touched_code_decides() -> None:
    pushes = [push(commit("a.py"), after="a" * 40), push(commit("b.py"), after="b" * 40), push(commit("c.md"), after="c" * 40)]
    assert [r.run_key for r in decide(pushes, {"churn": FOLLOWS})] == [f"push:{'b' * 40}:churn"]


KEYS = ["ref", "after", "commits", "repository", "default_branch", "author"]
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)),
    max_leaves=8,
)


@given(body=st.one_of(st.binary(max_size=200), JSON_VALUES.map(lambda value: json.dumps(value).encode())))
@settings(max_examples=100, deadline=None)
def test_any_other_body_is_no_push(body: bytes) -> None:
    read = read_push(body)
    assert read is None or isinstance(touches_model_code(read), bool)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ("auto_retrain_enabled: true\nretrain_triggers: [code_change]\n", None),
        ("auto_retrain_enabled: true\nretrain_triggers: [code_change, drift_detected]\n", "drift_detected"),
        ("auto_retrain_enabled: true\nretrain_triggers: [data_change]\n", "data_change"),
        ("auto_retrain_enabled: true\n", "true"),
        ("auto_retrain_enabled: false\nretrain_triggers: [code_change]\n", "code_change"),
        ("", None),
    ],
)
def test_an_enabled_code_change_is_no_longer_among_what_is_not_done(fields: str, asked: str | None) -> None:
    body = f"```yaml\ndataset_id: churn\ntask_type: classification\nalgorithm: random_forest\n{fields}```\n"
    found = [item.asked for item in not_done(parse_issue("t", body, offered=[])) if item.key == "retraining"]
    assert found == ([] if asked is None else [asked])


def test_a_delivered_push_that_removes_a_tag_does_not_count(shared: Any) -> None:
    read = read_push((shared / "data/github/webhooks/push.json").read_bytes())
    assert read is not None and read.deleted and read.repository.default_branch == "master"
    assert not touches_model_code(read)
