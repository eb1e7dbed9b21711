"""`mlops submit`, `run`, `comment`, `thread`, `issues`: working with issues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.command_line import Unsuccessful, answers, cli

if TYPE_CHECKING:
    from mlops_assets.reports.record import TrainingRecord
    from mlops_assets.request.draft import IssueDraft
    from resources.platform import Platform

MAX_ISSUE_BYTES = 64 * 1024


def read_issue_file(path: Path) -> IssueDraft:
    """The issue that a file opens.

    Raises:
        UserError: the file is missing, too large, empty, or not UTF-8.
    """
    from mlops_assets.errors import UserError
    from mlops_assets.request.draft import draft_issue

    if not path.is_file():
        raise UserError("there is no such file", field="FILE", given=path, next_step="give the path of an issue body")
    if path.stat().st_size > MAX_ISSUE_BYTES:
        raise UserError(
            "the file is too large for an issue",
            field="FILE",
            given=f"{path.stat().st_size:,} bytes",
            allowed=[f"at most {MAX_ISSUE_BYTES:,} bytes"],
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            "the file is not UTF-8 text", field="FILE", given=f"{path}, byte {error.start}", next_step="save it as UTF-8"
        ) from error
    if not text.strip():
        raise UserError("the file is empty", field="FILE", given=path)
    return draft_issue(text, name=path.stem)


@cli.command("submit")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--title", help="Title of the issue; otherwise taken from the file.")
@answers
def submit(file: Path, title: str | None, quiet: bool) -> Any:
    """Open an issue from FILE (YAML, or Markdown with a fenced block)."""
    from resources.platform import Platform

    draft, platform = read_issue_file(file), Platform()
    issue = platform.tracker.open_issue(title or draft.title, draft.body, draft.labels)
    data = {"issue": issue.number, "title": issue.title, "url": issue.url}
    on_github = platform.settings.tracker == "github"
    following = f"`mlops ui` proposes; read and approve at {issue.url}" if on_github else f"mlops run {issue.number}"
    return data, f"issue {issue.number} opened: {issue.title}\nnext: {following}"


@cli.command("run")
@click.argument("number", type=int, metavar="N")
@click.option("--plan-only", is_flag=True, help="Stop at the proposal, without approving it.")
@click.option("--again", is_flag=True, help="Train once more although the issue has its result.")
@answers
def run(number: int, plan_only: bool, again: bool, quiet: bool) -> Any:
    """Carry issue N through: propose, approve as you, train, evaluate, package, deploy, report.

    Interrupted or killed, the same command goes on where it was. Exit code 1 if the training failed.
    """
    from resources.platform import Platform

    platform = Platform()
    record = carry(platform, number, plan_only=plan_only, again=again, quiet=quiet)
    undelivered = platform.outbox.flush()
    if undelivered:
        click.echo(undelivered, err=True)
    if record is None:
        return {"issue": number, "state": "proposed"}, f"proposed; read it with: mlops thread {number}"
    if record.outcome == "failed":
        text = f"mlops: training {record.training_id} failed: {record.error}\n  next: mlops thread {number}"
        raise Unsuccessful(record.model_dump(mode="json"), text)
    return record.model_dump(mode="json"), lambda: closing_lines(record)


def carry(platform: Platform, number: int, *, plan_only: bool, again: bool, quiet: bool) -> TrainingRecord | None:
    """Run one issue in this process and show its progress on the terminal."""
    from jobs.instance import open_instance
    from jobs.progress import TerminalProgress
    from jobs.runner import Runner

    with open_instance(platform.home) as instance, TerminalProgress(quiet=quiet) as progress:
        platform.board.listen(progress.show)
        return Runner(platform, instance, progress.announce).carry(number, plan_only=plan_only, again=again)


def closing_lines(record: TrainingRecord) -> str:
    """What a person needs next after a training: the result, where it is served, and how to read on."""
    lines = []
    if record.gate is not None:
        limit = "" if record.gate.threshold is None else f" (threshold {record.gate.threshold:g})"
        lines.append(f"{record.outcome}: {record.gate.metric} {record.gate.value:.4f}{limit}")
    if record.model is not None and record.endpoint is not None:
        lines.append(f"{record.model_id} {record.model.version} answers at {record.endpoint.url}/invocations")
    lines.append(f"thread: mlops thread {record.issue}" if record.issue is not None else f"training: {record.training_id}")
    return "\n".join(lines)


@cli.command("comment")
@click.argument("number", type=int, metavar="N")
@click.argument("text")
@answers
def comment(number: int, text: str, quiet: bool) -> Any:
    """Add a comment to issue N as you."""
    from mlops_assets.errors import UserError
    from resources.platform import Platform

    if not text.strip():
        raise UserError("the comment is empty", field="TEXT", given=repr(text))
    added = Platform().tracker.add_comment(number, text)
    return {"issue": number, "comment": added.id}, f"commented on issue {number}"


@cli.command("thread")
@click.argument("number", type=int, metavar="N")
@answers
def thread(number: int, quiet: bool) -> Any:
    """Show issue N with its thread as it would look on GitHub."""
    from jobs.terminal import render_thread
    from resources.platform import Platform

    issue = Platform().tracker.issue(number)
    data = {
        "number": issue.number,
        "title": issue.title,
        "state": issue.state,
        "labels": sorted(issue.labels),
        "author": issue.author,
        "body": issue.body,
        "comments": [
            {"author": c.author, "created_at": c.created_at.isoformat(), "body": c.body, "marker": c.marker}
            for c in issue.comments
        ],
    }
    return data, lambda: render_thread(issue)


@cli.command("issues")
@click.option("--state", type=click.Choice(["open", "closed", "all"]), default="open", show_default=True)
@answers
def issues(state: str, quiet: bool) -> Any:
    """List issues."""
    from jobs.terminal import table
    from resources.platform import Platform

    found = Platform().tracker.issues(state=state)  # type: ignore[arg-type]  # click.Choice allows only these
    rows = [(str(i.number), i.title, " ".join(sorted(i.labels))) for i in found]
    data = [{"number": i.number, "title": i.title, "state": i.state, "labels": sorted(i.labels)} for i in found]
    return data, table(("issue", "title", "labels"), rows) if rows else "no issues; open one with: mlops submit FILE"
