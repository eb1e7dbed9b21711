"""How results look in a terminal: plain tables that survive 80 columns and pipes, and threads as on GitHub."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resources.tracker import Issue


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by display width, so that Japanese lines up."""
    from rich.cells import cell_len

    lines = [tuple(headers), *(tuple(row) for row in rows)]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(headers))]
    return "\n".join(
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def plain(text: str) -> str:
    """Names in other people's files may hold anything, such as a terminal's control sequences."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def render_thread(issue: Issue) -> str:
    """The issue and its comments; Markdown is rendered on a terminal and left as it is in a pipe."""
    import io

    from rich.console import Console
    from rich.markdown import Markdown
    from rich.rule import Rule

    if not sys.stdout.isatty():
        parts = [f"# {issue.title} (#{issue.number})\n{' '.join(sorted(issue.labels))}\n\n{issue.body}"]
        parts += [f"**{c.author}** {c.created_at:%Y-%m-%d %H:%M}\n\n{c.body}" for c in issue.comments]
        return "\n\n---\n\n".join(parts)
    width = min(shutil.get_terminal_size().columns, 110)
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    console.print(Rule(f"[bold]{issue.title}[/] #{issue.number}", align="left"))
    console.print(f"[dim]{issue.author}  {' '.join(sorted(issue.labels))}[/]\n")
    console.print(Markdown(issue.body))
    for comment in issue.comments:
        console.print()
        console.print(Rule(f"[bold]{comment.author}[/]  {comment.created_at:%Y-%m-%d %H:%M}", align="left", style="dim"))
        console.print(Markdown(_without_folding(comment.body)))
    rendered: str = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO given above
    return rendered.rstrip()


def _without_folding(body: str) -> str:
    """A terminal cannot fold: leave out what GitHub would show folded, keeping its heading."""
    import re

    return re.sub(r"<details>\s*<summary>(.*?)</summary>.*?</details>", r"▸ \1", body, flags=re.S)
