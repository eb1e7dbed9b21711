"""The seven phases as people know them: a table of state, time, detail and links, made from the steps of a training.

Which steps there are is in ``record.PHASES``; a request and its plan come before the first phase and have a line of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

from mlops_assets.reports import facts
from mlops_assets.reports.language import sentence
from mlops_assets.reports.markdown import bullets, echo, from_afar, is_address, link, link_or_code, paragraphs, plain, table
from mlops_assets.reports.quantities import duration
from mlops_assets.reports.record import Phase, PhaseProgress
from mlops_assets.request.vocabulary import Language

Row = Literal["preparation", "development", "validation", "packaging", "deployment", "monitoring", "improvement"]
RowState = Literal["waiting", "running", "done", "failed", "skipped", "stopped", "not_run", "not_built"]

#: Row of the table -> the steps that are shown in it; a row without steps is not built yet.
ROWS: Final[dict[Row, tuple[Phase, ...]]] = {
    "preparation": ("data", "features"),
    "development": ("training",),
    "validation": ("evaluation",),
    "packaging": ("package",),
    "deployment": ("deployment",),
    "monitoring": (),
    "improvement": (),
}
#: Row that is not built yet -> the entry of the plan's ``not_done`` that says it was asked for.
ASKED_FOR: Final[dict[Row, str]] = {"monitoring": "monitoring", "improvement": "retraining"}
STATE_ICONS: Final[Mapping[RowState, str]] = {
    "waiting": "⬜", "running": "🔄", "done": "✅", "failed": "❌", "stopped": "🛑",
    **dict.fromkeys(("skipped", "not_run", "not_built"), "➖"),
}  # fmt: skip
_BEFORE: Final[tuple[Phase, ...]] = ("request", "plan")


@dataclass(frozen=True)
class Links:
    """Where more can be seen: http(s) addresses, or paths on the machine that ran the training; None is left out.

    ``afar``: readers are elsewhere, e.g. on GitHub; what is not an address is then a key in the platform's store.
    """

    report: str | None = None
    history: str | None = None
    mlflow: str | None = None
    ui: str | None = None
    log: str | None = None
    endpoint: str | None = None
    afar: bool = False

    def markdown(self, language: Language, *, without: Sequence[str] = ()) -> str:
        """A bullet list of the links that are set, but for those named in ``without``."""
        return bullets(self.item(name, language) for name in self._given() if name not in without)

    def item(self, name: str, language: Language) -> str:
        """One link that is set, with its label."""
        target = self._given()[name]
        if not self.afar or name == "history":
            return facts.labelled(f"link_{name}", link_or_code(target), language)
        shown = from_afar(target)
        stored = shown if "://" in target else sentence("sentence.in_store", language, path=shown)
        return facts.labelled(f"link_{name}", stored, language)

    def addresses(self) -> dict[str, str]:
        """The links that a page can open from anywhere, by name."""
        return {name: target for name, target in self._given().items() if is_address(target)}

    def _given(self) -> dict[str, str]:
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "afar"}
        if self.afar and is_address(found["history"] or "") and not is_address(found["report"] or ""):
            del found["report"]  # the same report is in the history, where everybody can read it
        return {name: target for name, target in found.items() if target}


#: Row -> the links that belong to it.
_LINKS: Final[dict[Row, tuple[str, ...]]] = {
    "development": ("log", "mlflow"),
    "validation": ("report",),
    "deployment": ("endpoint",),
}
IN_TABLE: Final = tuple(name for names in _LINKS.values() for name in names)


def phase_table(
    phases: Sequence[PhaseProgress],
    language: Language,
    *,
    not_done: Sequence[str] = (),
    links: Links | None = None,
    ended: bool = False,
) -> str:
    """A line each on request and plan, and the seven phases with state, time, detail and, where any is known, links.

    Args:
        not_done: the plan's keys of what was asked for and is not built: such a phase says so, instead of "—".
        ended: nothing goes on any more, so that a step that was under way was stopped and one that waited is not run.
    """
    known = {progress.phase: progress for progress in phases}
    addresses = links.addresses() if links is not None else {}
    rows = []
    for number, (row, steps) in enumerate(ROWS.items(), 1):
        made = [known[step] for step in steps if step in known]
        times = [progress.seconds for progress in made if progress.seconds is not None]
        details = [plain(progress.detail, 300) for progress in made if progress.detail]
        cells = [
            f"{number}. {sentence(f'phase_row.{row}', language)}",
            _shown(row_state(row, known, not_done=not_done, ended=ended), language),
            duration(sum(times) if times else None, language),
            " · ".join(details),
        ]
        if addresses:
            named = [(name, addresses[name]) for name in _LINKS.get(row, ()) if name in addresses]
            cells.append(" ".join(link(sentence(f"link.{name}", language), target) for name, target in named))
        rows.append(cells)
    names = ("phase", "state", "time", "detail", *(("links",) if addresses else ()))
    header = tuple(sentence(f"label.{name}", language) for name in names)
    return paragraphs(_preparation(known, language, ended=ended), table(header, rows, ("left", "left", "right"))).strip("\n")


def row_state(
    row: Row, known: Mapping[Phase, PhaseProgress], *, not_done: Sequence[str] = (), ended: bool = False
) -> RowState | None:
    """The state of a row from those of its steps; None for a phase that is not built and that nobody asked for."""
    if not ROWS[row]:
        return "not_built" if ASKED_FOR[row] in not_done else None
    states = [known[step].state if step in known else "waiting" for step in ROWS[row]]
    if "failed" in states:
        return "failed"
    if set(states) == {"waiting"}:
        return "not_run" if ended else "waiting"
    if "running" in states or "waiting" in states:
        return "stopped" if ended else "running"
    return "skipped" if set(states) == {"skipped"} else "done"


def progress_sentence(training_id: str, phases: Sequence[PhaseProgress], language: Language) -> str:
    """Which of the seven phases a training is in."""
    known = {progress.phase: progress for progress in phases}
    built = [(number, row) for number, row in enumerate(ROWS, 1) if ROWS[row]]
    states = {row: row_state(row, known) for _, row in built}
    failed = next(((number, row) for number, row in built if states[row] == "failed"), None)
    current = failed or next(((number, row) for number, row in built if states[row] not in {"done", "skipped"}), None)
    key = "failed" if failed else "finished" if current is None else "running"
    if not failed and all(state == "waiting" for state in states.values()):
        key = "waiting"
    number, row = current or built[-1]
    name = sentence(f"phase_row.{row}", language)
    return sentence(f"progress.{key}", language, training=echo(training_id), number=number, all=len(ROWS), phase=name)


def _preparation(known: Mapping[Phase, PhaseProgress], language: Language, *, ended: bool) -> str:
    """Request and plan, which come before the first phase, in a line each."""
    parts = []
    for step in _BEFORE:
        progress = known.get(step, PhaseProgress(phase=step, state="waiting"))
        state: RowState = progress.state
        if ended and state in {"waiting", "running"}:
            state = "not_run" if state == "waiting" else "stopped"
        time = duration(progress.seconds, language)
        name = sentence(f"phase.{step}", language)
        text = facts.labelled_text(name, plain(progress.detail, 300), language) if progress.detail else name
        parts.append(f"{STATE_ICONS[state]} {sentence('punctuation.aside', language, text=text, aside=time)}")
    return bullets(parts)


def _shown(state: RowState | None, language: Language) -> str:
    return "—" if state is None else f"{STATE_ICONS[state]} {sentence(f'state.{state}', language)}"
