"""Runs one command again and again, killing it each time right after its n-th effect on the world; a program of its own.

    python bombs.py '[["object", 12], ["commit", 40]]' run 1

Each attempt is a fork of this process, which has imported what the command needs and done nothing else; the last one is
left alone. Prints how each attempt ended, as JSON: -9 where the bomb went off, else the exit code.

Effects are counted by kind: ``object`` (an object put into the store), ``file`` (a file moved into place), ``process`` (a
process started, such as git or a server) and ``commit`` (of a database). ``any`` counts all but commits. ``BOMBS_COUNT``
names a file for the number of effects of the last attempt.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any


def arm(kind: str, number: int) -> Counter[str]:
    """Kill this process with SIGKILL after effect ``number`` of ``kind``; the effects counted so far."""
    import obstore
    from sqlalchemy.engine.default import DefaultDialect

    seen: Counter[str] = Counter()

    def counting(name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            result = effect(*args, **kwargs)
            seen[name] += 1
            if name != "commit":
                seen["any"] += 1
            if (kind == name or (kind == "any" and name != "commit")) and seen[kind] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    obstore.put = counting("object", obstore.put)
    os.replace = counting("file", os.replace)
    os.rename = counting("file", os.rename)
    DefaultDialect.do_commit = counting("commit", DefaultDialect.do_commit)  # type: ignore[method-assign]
    started = subprocess.Popen.__init__
    subprocess.Popen.__init__ = counting("process", started)  # type: ignore[method-assign]
    return seen


def attempt(bomb: tuple[str, int], words: list[str]) -> int:
    """One run of the command in a fork; -9, or its exit code."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    seen = arm(*bomb)
    from jobs.command_line import cli

    code: Any = 0
    try:
        cli(words, prog_name="mlops")
    except SystemExit as end:
        code = end.code
    if "BOMBS_COUNT" in os.environ:
        Path(os.environ["BOMBS_COUNT"]).write_text(json.dumps(seen))
    os._exit(int(code or 0))


def main() -> None:
    import mlflow.tracking  # noqa: F401
    import onnxruntime  # noqa: F401
    import sklearn.ensemble  # noqa: F401

    import jobs.commands
    import jobs.runner  # noqa: F401
    import mlops_assets.definitions  # noqa: F401

    bombs = [*json.loads(sys.argv[1]), ["none", 0]]
    sys.stdout.write(json.dumps([attempt((kind, number), sys.argv[2:]) for kind, number in bombs]) + "\n")


if __name__ == "__main__":
    main()
