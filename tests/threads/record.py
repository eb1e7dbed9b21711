"""Writes the transcripts of the threads anew: `python -m tests.threads.record [NAME …]`; without names, of all of them.

Read what has changed before you keep it: a transcript is what people will see.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.threads.replay import replayed

FOLDER: Final = Path(__file__).parent
SCRIPTS: Final = sorted(FOLDER.glob("*.yaml"))


def recorded(script: Path) -> Path:
    """Where the transcript of a script is kept."""
    return FOLDER / "recorded" / f"{script.stem}.md"


def main(names: list[str]) -> int:
    """Replay and write; how many could not be."""
    failed = 0
    for script in [script for script in SCRIPTS if not names or script.stem in names]:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                with replayed(script, Path(folder)) as replay:
                    text = replay.transcript()
            except AssertionError as error:
                failed += 1
                _tell(f"{script.stem}: {error}\n")
                continue
        path = recorded(script)
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        _tell(f"{script.stem}: {'written' if changed else 'as it was'}, {time.monotonic() - begun:.1f} s")
    return failed


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
