"""The tables of the documents that say what the code says, generated from it (`python -m jobs.document_tables`).

Sentences around the tables are written by hand in the documents; the diagram of the asset graph is made in ``diagram``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

DOCUMENTS: Final = ("docs/github.md", "docs/optimiser.md")
_TABLE: Final = re.compile(r"(<!-- table (\w+): python -m jobs\.document_tables -->\n).*?(<!-- end of table -->)", re.DOTALL)
#: Settings by what they are for, in the order of a table's rows; which settings are in no document is for a test to say.
GITHUB: Final = ("tracker", "github_", "webhook_secret", "second_person", "cost_cap_usd")
NOTIFICATIONS: Final = ("slack_", "pagerduty_", "smtp_", "mail_")


def rules() -> str:
    """Every installed rule of the workflow optimiser, in the order in which a proposal lists them."""
    from mlops_assets.request.optimiser.rules import installed_rules

    rows = [
        (rule.phase, f"`{rule.name}`", rule.requirement, _first_line(rule), f"`{rule.setting}`" if rule.setting else "—")
        for rule in installed_rules()
    ]
    return _table(("Phase", "Rule", "Requirement", "What it proposes, and when", "Set by hand with"), rows)


def custom_settings() -> str:
    """Every key of ``custom_optimizations`` with the values it takes, and those that are only listed as not done."""
    from mlops_assets.request.optimiser.custom import SETTINGS, unbuilt
    from mlops_assets.request.schema import CustomOptimizations

    rows = []
    for section, field in CustomOptimizations.model_fields.items():
        for name, setting in type(field.default).model_fields.items():
            path = f"{section}.{name}"
            values = get_args(setting.annotation) if get_origin(setting.annotation) is Literal else ()
            told = _listed(values) if values else _FREE[path]
            later = _listed(value for value in values if value != "auto" and unbuilt(path, value))
            if not values and unbuilt(path, "whatever"):
                later = "every one"
            rows.append((f"`{path}`", told, SETTINGS[path][1], later or "—"))
    return _table(("Key", "Values", "Requirement", "Not built yet"), rows)


#: What a setting takes that is no choice among words.
_FREE: Final = {
    "phase2_training.instance_type": "`auto`, an instance of the price table",
    "phase3_evaluation.priority_metrics": "`auto`, a list of metrics",
}


def profiles() -> str:
    """What each performance profile sets where a person set nothing."""
    from mlops_assets.request.optimiser.profiles import PROFILES

    rows = [(f"`{name}`", f"{one.tree_factor:g} x", str(one.patience), str(one.trials)) for name, one in PROFILES.items()]
    return _table(("Profile", "Trees or rounds, times the default", "Rounds before boosting stops", "Trials of a search"), rows)


def prices() -> str:
    """The instances that have a price, with the day it was compared."""
    from mlops_assets.request.prices import LOCAL, price_table

    table = price_table()
    rows = [
        (f"`{name}`", "yes" if price.gpu else "no", f"{price.usd_per_hour:g}")
        for name, price in table.instances.items()
        if name != LOCAL
    ]
    return f"{table.date}, {table.region}:\n\n{_table(('Instance', 'GPU', f'{table.currency} an hour'), rows)}"


def labels() -> str:
    """The platform's labels in a repository."""
    from resources.github_labels import LABELS

    return _table(("Label", "Meaning"), [(f"`{name}`", meaning) for name, (_, meaning) in LABELS.items()])


def github_settings() -> str:
    """Settings of the tracker, the webhook and the rules of approval."""
    return _settings(GITHUB)


def notification_settings() -> str:
    """Settings of the notification channels."""
    return _settings(NOTIFICATIONS)


def _settings(groups: tuple[str, ...]) -> str:
    from resources.settings import PREFIX, Settings

    rows = []
    for group in groups:
        for name, field in Settings.model_fields.items():
            if name == group or (group.endswith("_") and name.startswith(group)):
                default = "—" if field.default in (None, ()) else f"`{field.default}`"
                rows.append((f"`{PREFIX}{name.upper()}`", default, _sentence(field)))
    return _table(("Setting", "Default", "Meaning"), rows)


def _sentence(field: Any) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return "; ".join(part for part in (_listed(choices), field.description or "") if part) or "—"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _first_line(rule: object) -> str:
    """The first sentence of a rule's docstring, in Markdown."""
    said = (type(rule).__doc__ or "").strip().split("\n\n")[0]
    return " ".join(said.split()).replace("``", "`")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: Final[dict[str, Callable[[], str]]] = {
    made.__name__: made for made in (rules, custom_settings, profiles, prices, labels, github_settings, notification_settings)
}


def with_tables(document: str) -> str:
    """The document with every table between its two markers brought up to date.

    Raises:
        KeyError: a marker names a table that nothing makes.
    """
    return _TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", document)


if __name__ == "__main__":
    for name in sys.argv[1:] or DOCUMENTS:
        page = Path(name)
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
