"""``kill -9`` right after the n-th effect on the world, then the same command again: exactly one result.

This reaches the gaps between two effects that no clock hits (see ``bombs``); moments chosen by the clock are in
``test_loop_kills``, with what must hold afterwards.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, unmeasured
from test_loop_kills import LONGEST, SEED, assert_one_result, body

pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.fixture(scope="module")
def mlops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("effects"), measured=False)
    yield installation
    installation.stop()
    installation.assert_nothing_runs()


def bombed(mlops: Installation, bombs: list[tuple[str, int]], *words: str) -> list[int]:
    """How the attempts ended; the last one without a bomb."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("bombs.py")), json.dumps(bombs), *words],
        cwd=mlops.folder,
        env=unmeasured(mlops.environment),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=True,
    )
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("drill", range(5))
def test_killed_right_after_an_effect_the_same_command_goes_on_to_one_result(mlops: Installation, drill: int) -> None:
    """The last bombs are for the end of the loop: an undisturbed one has about 200 effects and 750 commits."""
    chance = random.Random(SEED + drill)
    line = f"bombed-{drill}"
    below = drill == 4
    number = mlops.issue(line, body(line, 0.9999 if below else 0.5))
    bombs = [("any", chance.randint(1, 60)) for _ in range(3)]
    bombs += [("commit", chance.randint(1, 250)), ("any", chance.randint(1, 60)), ("any", chance.randint(1, 30))]
    ends = bombed(mlops, bombs, "run", str(number))
    assert ends[-1] == 0
    assert -9 in ends
    record = assert_one_result(mlops, number, line)
    assert record.outcome == ("below_threshold" if below else "deployed")


def test_killed_while_it_reports_a_demo_is_carried_on_and_opens_no_second_issue(mlops: Installation) -> None:
    """Every effect after the outcome is known, one after another: each attempt gets one effect further."""
    before = {issue.number for issue in mlops.platform.tracker.issues()}
    ends = bombed(mlops, [("any", 100)], "demo")
    assert ends[-1] == 0
    (number,) = {issue.number for issue in mlops.platform.tracker.issues()} - before
    assert mlops.only_training(number).outcome == "deployed"
