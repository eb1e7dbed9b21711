"""Which column of a prepared dataset plays which part in the features, and which is left out and why.

Decided from names and kinds alone; no value is looked at here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mlops_assets.data.dataset import PreparedDataset
from mlops_assets.errors import UserError
from mlops_assets.request.schema import Preprocessing


@dataclass
class Roles:
    """Columns by part, in the order of the dataset; ``dropped`` and ``warnings`` hold sentence keys."""

    numbers: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    timestamps: list[str] = field(default_factory=list)
    entity: str | None = None
    dropped: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def note_empty(self, described: Collection[str]) -> None:
        """Take out every column that has no value in the training split, so is not among ``described``."""
        empty = [name for name in (*self.numbers, *self.categories, *self.timestamps) if name not in described]
        if self.entity is not None and self.entity not in described:
            empty.append(self.entity)
            self.entity = None
        self.numbers = [name for name in self.numbers if name in described]
        self.categories = [name for name in self.categories if name in described]
        self.timestamps = [name for name in self.timestamps if name in described]
        self.dropped.update(dict.fromkeys(empty, "all_missing"))


def assign_roles(prepared: PreparedDataset, options: Preprocessing, available: tuple[str, ...]) -> Roles:
    """Which column is a number, a category, a timestamp or the entity; what is left out and why.

    ``available`` are the columns of the files: an entity or a timestamp may be one that the dataset ignores as a feature.

    Raises:
        UserError: the request names an entity or timestamp column that is not available or is the target.
    """
    found = Roles()
    if "aggregate_by_user" in options.feature_engineering:
        found.entity = _named_column(options.entity_column, prepared.entity, "preprocessing.entity_column", prepared, available)
        if found.entity is None:
            found.warnings.append("aggregate_without_entity")
    declared = _named_column(options.timestamp_column, prepared.timestamp, "preprocessing.timestamp_column", prepared, available)
    for column in (column for column in prepared.columns if column.name != prepared.target):
        if column.kind == "timestamp" or column.name == declared:
            found.timestamps.append(column.name)
        elif column.kind == "category":
            found.categories.append(column.name)
        elif column.name == found.entity:
            found.dropped[column.name] = "entity"  # the number of a customer is a name, not a quantity
        elif column.kind == "identifier":
            found.dropped[column.name] = "identifier"
        else:
            found.numbers.append(column.name)
    if declared is not None and declared not in found.timestamps and prepared.ignored.get(declared) != "drop_columns":
        found.timestamps.append(declared)
    if "time_features" not in options.feature_engineering:
        found.dropped.update(dict.fromkeys(found.timestamps, "timestamp_without_time_features"))
        found.timestamps = []
    elif not found.timestamps:
        found.warnings.append("time_features_without_timestamp")
    if options.normalize and options.standardize:
        found.warnings.append("standardize_supersedes_normalize")
    return found


def _named_column(
    asked: str | None, catalogued: str | None, key: str, prepared: PreparedDataset, available: tuple[str, ...]
) -> str | None:
    """The column that the request or else the catalogue names for a role."""
    name = asked or catalogued
    if name is None or (asked is None and name not in available):
        return None
    if name not in available or name == prepared.target:
        raise UserError(
            "the target cannot play this part" if name == prepared.target else "the dataset has no such column",
            field=key,
            given=name,
            allowed=[column for column in available if column != prepared.target],
            next_step="name one of its columns",
        )
    return name
