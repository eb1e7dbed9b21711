"""Which comments ask for something, what exactly, and that no text does anything else than ask or be refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.commands import COMMANDS, Cancel, Explain, Retry, Rollback, Status, parse_command
from mlops_assets.request.problems import PROBLEM_CODES
from tests.unit.request.hostile import FULL, SYNTAX


def refused(text: str) -> list[tuple[str, str]]:
    with pytest.raises(RequestInvalid) as caught:
        parse_command(text)
    return [(problem.field, problem.code) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/retry max_depth=8 n_estimators=300", Retry(changes={"max_depth": 8, "n_estimators": 300})),
        ("/retry", Retry()),
        ("Thanks!\n\n/Retry lr=3e-4, class_weight=balanced\n", Retry(changes={"lr": 3e-4, "class_weight": "balanced"})),
        ("/retry max_depth = null bootstrap=false", Retry(changes={"max_depth": None, "bootstrap": False})),
        ("/retry experiment_name=\"a b\" x='7' y=007", Retry(changes={"experiment_name": "a b", "x": "7", "y": "007"})),
        ("/retry evaluation.metrics=[accuracy, recall]", Retry(changes={"evaluation.metrics": ["accuracy", "recall"]})),
        ("/retry max_depth=8  # deeper", Retry(changes={"max_depth": 8})),
        ("／ｒｅｔｒｙ　ｍａｘ＿ｄｅｐｔｈ＝８　ｌｒ＝０．１", Retry(changes={"max_depth": 8, "lr": 0.1})),
        ("／retry tags.team=分析、seed=3", Retry(changes={"tags.team": "分析、seed=3"})),
        ("/rollback", Rollback()),
        ("/rollback v1.2.0", Rollback(version="v1.2.0")),
        ("/rollback １．２．０", Rollback(version="v1.2.0")),
        ("  /cancel  ", Cancel()),
        ("/cancel\r\n", Cancel()),
        ("/status", Status()),
        ("/explain # why?", Explain()),
    ],
)
def test_a_command_at_the_start_of_a_line_is_read_with_typed_values(text, command):
    assert parse_command(text) == command


def test_a_yaml_block_is_a_retry_with_or_without_the_word():
    block = "```yaml\nhyperparameters:\n  max_depth: 8  # 深く\nevaluation_threshold： 0.8\n```"
    changes = {"hyperparameters": {"max_depth": 8}, "evaluation_threshold": 0.8}
    for text in (block, f"もう少し深くします。\n\n{block}\n", f"/retry\n{block}", f"{block}\n/retry"):
        assert parse_command(text) == Retry(changes=changes)
    assert parse_command(f"/retry seed=3\n{block}") == Retry(changes={"seed": 3, **changes})
    assert parse_command("/retry\n```\nseed: 3\n```") == Retry(changes={"seed": 3})
    assert parse_command('/retry\n```json\n{"seed": 3}\n```') == Retry(changes={"seed": 3})
    assert refused(f"/retry evaluation_threshold=0.9\n{block}") == [("evaluation_threshold", "conflict")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "please /cancel this",
        "`/cancel`",
        "> /cancel",
        " > /retry max_depth=3",
        "＞ /cancel",
        "> ```yaml\n> seed: 3\n> ```",
        "```\n/cancel\n```",
        "````text\n```\n/cancel\n````",
        "~~~\n/cancel",
        "    /cancel",
        "\t/cancel",
        "- /cancel",
        "# /cancel",
        "<!-- /cancel -->",
        "<!--\n/cancel\n-->",
        "<!-- never closed\n/cancel",
        "<pre>\n/cancel\n</pre>",
        "\\/cancel",
        "/usr/bin/python",
        "/tmp",
        "/data/churn.csv is where it lies",
        "/statues of the city",
        "//cancel",
        "/ cancel",
        "log:\n```\nerror: no space left\n```",
        '```json\n{"label": "No"}\n```',
    ],
)
def test_what_is_quoted_shown_mentioned_or_a_path_asks_for_nothing(text):
    assert parse_command(text) is None


def test_inline_code_on_one_line_hides_nothing_that_follows():
    assert parse_command("```x``` \n/cancel") == Cancel()
    assert parse_command("<!-- a note -->\n/cancel") == Cancel()
    assert parse_command("```\nx\n```\n/cancel") == Cancel()


def test_the_same_twice_is_one_and_two_different_ones_are_told():
    assert parse_command("/cancel\n/cancel") == Cancel()
    assert parse_command("/retry a=1\n/retry  a=1") == Retry(changes={"a": 1})
    assert refused("/cancel\n/retry") == [("", "two_commands")]
    assert refused("/retry a=1\n/retry a=2") == [("", "two_commands")]
    assert refused("/rollback\n```yaml\nseed: 1\n```") == [("", "two_commands")]
    assert refused("```yaml\na: 1\n```\n```yaml\nb: 1\n```") == [("", "yaml_documents")]


@pytest.mark.parametrize(
    ("text", "meant"),
    [("/cancle", "/cancel"), ("/retyr max_depth=8", "/retry"), ("/rolback v1.2.0", "/rollback"), ("／ｓｔａｔｕ", "/status")],
)
def test_a_misspelt_command_is_answered_with_the_one_meant(text, meant):
    with pytest.raises(RequestInvalid) as caught:
        parse_command(text)
    assert [(p.code, p.suggestion) for p in caught.value.problems] == [("unknown_command", meant)]


def test_every_error_of_a_reply_is_told_at_once():
    assert refused("/retry max_depth: 8 fast a= b=*x c=!!python/object:os.system d=1 d=2\n/cancel now\n/rollback latest") == [
        ("/retry", "not_key_value"),
        ("/retry", "not_key_value"),
        ("a", "missing"),
        ("b", "yaml_anchor"),
        ("c", "yaml_tag"),
        ("d", "duplicate_key"),
        ("/cancel", "unexpected_argument"),
        ("/rollback", "bad_version"),
    ]
    with pytest.raises(RequestInvalid) as caught:
        parse_command("/retry max_depth: 8")
    assert caught.value.problems[0].suggestion == "max_depth=8"
    assert refused("```yaml\n- a\n```") == [("", "not_a_mapping")]
    assert refused("```yaml\n```") == [("", "empty")]
    assert refused("```yaml\na: &x 1\nb: *x\n```") == [("a", "yaml_anchor"), ("b", "yaml_anchor")]


def test_sizes_are_capped():
    assert refused("/cancel\n" + "x" * 70_000) == [("", "too_large")]
    assert parse_command("x" * 70_000 + "\n/cancel") is None, "what lies beyond the cap is not looked at"
    assert refused("/retry a=" + "9" * 2000) == [("a", "too_large")]
    assert refused("/retry " + "a=1 " * 101) == [("/retry", "too_many_nodes")]


MARKUP = [
    "> ",
    "```yaml\n",
    "```\n",
    "<pre>",
    "\n",
    "\n",
    " ",
    "　",
    "\t",
    ",",
    "=",
    "＝",
    "'",
    "]",
    "a=[1, ",
    "max_depth=8",
    "v1.2.0",
]
words = st.sampled_from([*(f"/{name}" for name in COMMANDS), "／retry", "/cancle", *MARKUP, *SYNTAX])


@settings(max_examples=250, deadline=None)
@given(st.lists(words | st.text(max_size=4), max_size=30).map("".join))
def test_any_text_is_a_command_nothing_or_refused_with_known_problems(text):
    try:
        command = parse_command(text)
    except RequestInvalid as invalid:
        assert invalid.problems
        assert all(p.code in PROBLEM_CODES and len(p.given) <= 80 for p in invalid.problems)
        return
    assert command is None or type(command).model_validate_json(command.model_dump_json()) == command
    quoted = "\n".join(f"> {line}" for line in text.splitlines())
    assert parse_command(quoted) is None


LONG = [
    "`",
    "```x",
    "~",
    "```yaml\n",
    "<!--",
    "<pre>",
    "> ",
    "/",
    "／",
    "=",
    "'",
    '"\\',
    "[",
    "{",
    "　",
    "- ",
    ": ",
    "a: ",
    "|\n",
    "a=1 ",
]
LONG += ["/cancel\n", "/cancle{}\n", "/abc{}\n", "/retry a={}\n", "/retry a=1 b={}\n", "/retry x=[", "```yaml\na: {}\n```\n"]


@pytest.mark.parametrize("start", ["", "/retry ", "/retry a=", "```yaml\n", "/retry\n```yaml\na: "])
def test_the_longest_text_of_one_piece_is_answered_in_a_second(start):
    for piece in LONG:
        text = (start + "".join(piece.replace("{}", str(n)) for n in range(65_536 // len(piece) + 1)))[:65_536]
        begin = time.process_time()
        try:
            parse_command(text)
        except RequestInvalid as invalid:
            assert len(invalid.problems) <= 200
        assert time.process_time() - begin < 1.0, piece


def test_a_whole_example_can_be_pasted_as_a_block():
    changes = parse_command(f"```yaml\n{FULL}```")
    assert isinstance(changes, Retry)
    assert changes.changes["evaluation_metrics"] == ["accuracy", "f1_score"]
    assert "title" not in changes.changes and "labels" not in changes.changes
