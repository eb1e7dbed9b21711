"""Which part each column of a dataset version plays in one request: target, feature, entity, time, or left out and why.

Only what can be told before any row is removed; constants of the training split are found in ``cleaning``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlops_assets.data.dataset import Column, DatasetVersion
from mlops_assets.errors import UserError
from mlops_assets.request.schema import TrainingRequest

SplitName = Literal["stratified", "random", "time"]


@dataclass(frozen=True)
class ColumnRoles:
    """Columns by the part they play, in file order.

    Attributes:
        features: number, category and timestamp columns that enter the feature step.
        ignored: column -> why it is no feature: ``identifier``, ``entity``, ``drop_columns``, ``all_missing``.
    """

    target: str
    features: tuple[Column, ...]
    ignored: dict[str, str]
    timestamp: str | None
    entity: str | None
    sensitive: tuple[str, ...]


def column_roles(version: DatasetVersion, request: TrainingRequest, target: str) -> ColumnRoles:
    """The roles of the columns; names that the data does not have are passed over: the quality rule ``schema`` refuses them."""
    names = {column.name for column in version.columns}
    timestamp = request.preprocessing.timestamp_column or version.entry.timestamp
    entity = request.preprocessing.entity_column or version.entry.entity
    ignored: dict[str, str] = {}
    features = []
    for column in version.columns:
        if column.name == target:
            continue
        if column.name in request.preprocessing.drop_columns:
            ignored[column.name] = "drop_columns"
        elif column.name == entity:
            ignored[column.name] = "entity"
        elif column.kind == "identifier":
            ignored[column.name] = "identifier"
        elif column.missing == version.rows:
            ignored[column.name] = "all_missing"
        else:
            features.append(column)
    return ColumnRoles(
        target=target,
        features=tuple(features),
        ignored=ignored,
        timestamp=timestamp if timestamp in names else None,
        entity=entity if entity in names else None,
        sensitive=version.entry.sensitive,
    )


def split_strategy(version: DatasetVersion, request: TrainingRequest, roles: ColumnRoles) -> tuple[SplitName, str | None]:
    """``stratified``, ``random`` or ``time``, and the time column of the latter.

    ``auto`` is by time if a timestamp column is declared, else stratified for classification and random for regression.
    ``time`` without a declared column takes the only column of times.

    Raises:
        UserError: the strategy cannot be applied to this task or this data.
    """
    times = tuple(column.name for column in version.columns if column.kind == "timestamp")
    asked = request.preprocessing.split
    if asked == "auto":
        asked = "time" if roles.timestamp else "stratified" if request.task_type == "classification" else "random"
    if asked == "stratified" and request.task_type != "classification":
        raise UserError(
            "a stratified split needs classes",
            field="preprocessing.split",
            given=asked,
            allowed=("auto", "random", "time"),
            next_step=f"the task is {request.task_type}: choose one of these",
        )
    if asked != "time":
        return asked, None
    column = roles.timestamp or (times[0] if len(times) == 1 else None)
    if column is None or column not in times:
        raise UserError(
            "a split by time needs a column of dates or times",
            field="preprocessing.timestamp_column",
            given=column or "",
            allowed=times or ("(this dataset has none)",),
            next_step="name one of these, or choose another split",
        )
    return asked, column


def positive_class(version: DatasetVersion, labels: dict[str, int]) -> str | None:
    """The class that counts as positive: the declared one; of two classes the affirmative word, else the rarer one.

    ``labels`` is class -> rows. None for one class or more than two, if none is declared.
    """
    if version.entry.positive_class is not None:
        return version.entry.positive_class
    if len(labels) != 2:
        return None
    affirmative = [
        label for label in labels if label.lower() in ("1", "yes", "true", "y", "t", "positive", "はい", "有", "有り", "あり")
    ]
    return affirmative[0] if len(affirmative) == 1 else min(labels, key=lambda label: (labels[label], label))
