"""From a dataset version to a prepared dataset: rows removed, columns chosen, three split files, and the account of it.

The order is fixed: exact duplicates, rows without a target, rows with missing features (only where the request drops them),
split, outliers of the training split. Filling missing cells, encoding and scaling are fitted later by the feature step, on the
training split; here missing cells stay NULL. How rows are assigned is in ``splits``, what is refused in ``quality``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mlops_assets.data.column_roles import ColumnRoles, SplitName, column_roles, positive_class, split_strategy
from mlops_assets.data.content_digest import content_digest
from mlops_assets.data.dataset import SPLITS, ColumnKind, DatasetVersion, PreparedDataset, QualityCheck
from mlops_assets.data.engine import DEFAULT_MEMORY_LIMIT, engine, identifier, publish, scratch_folder, write_parquet
from mlops_assets.data.ingest import DATA, read_version
from mlops_assets.data.outliers import fit_fences, inside
from mlops_assets.data.quality import MOST_CLASSES, check_class_support, check_split_classes, judge, require_stop_rules
from mlops_assets.data.splits import SplitPredicates, allocate, hashed_split, time_split
from mlops_assets.data.statistics import class_counts, class_label, column_statistics, find_duplicates, typed_table
from mlops_assets.errors import UserError
from mlops_assets.request.schema import TrainingRequest

PREPARED = "dataset.json"


@dataclass(frozen=True)
class _Work:
    """What every step of one preparation needs to know."""

    connection: Any
    version: DatasetVersion
    request: TrainingRequest
    roles: ColumnRoles

    @property
    def classes(self) -> bool:
        return self.request.task_type == "classification"

    @cached_property
    def kinds(self) -> dict[str, ColumnKind]:
        return {column.name: column.kind for column in self.version.columns}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {column.name: i for i, column in enumerate(self.version.columns)}

    def column(self, name: str) -> str:
        """SQL of a column of the version in ``typed_table``."""
        return f"c{self._places[name]}"

    @property
    def label(self) -> str:
        return class_label(self.column(self.roles.target), self.kinds[self.roles.target])


def prepare_dataset(
    version_folder: Path,
    request: TrainingRequest,
    target: str,
    out: Path,
    *,
    previous: DatasetVersion | None = None,
    now: datetime | None = None,
    memory_limit: str = DEFAULT_MEMORY_LIMIT,
) -> PreparedDataset:
    """Write ``train``, ``validation`` and ``test.parquet`` and then ``dataset.json`` to ``out``, as ``dataset`` tells.

    The files hold the features, the target (class label as text, or DOUBLE), and the time, entity and sensitive columns
    even where these are no features (the entity as text), in file order. The same version and request give the same digest,
    whatever the number of threads or the memory. ``columns`` of the result are measured on the training split only.

    Args:
        version_folder: what ``ingest`` wrote.
        previous: the dataset version trained on before, for the schema rule.
        now: the time that freshness is judged at; None for the present.

    Raises:
        QualityRejected: a rule of severity ``stop`` fails; carries every check.
        UserError: the split cannot be made, or no feature is left.
    """
    version = read_version(version_folder)
    with scratch_folder(out) as scratch, engine(memory_limit, scratch) as connection:
        checks = judge(
            connection, version_folder / DATA, version, request, target, previous=previous, now=now or datetime.now(UTC)
        )
        require_stop_rules(checks)
        work = _Work(connection, version, request, column_roles(version, request, target))
        strategy, time_column = split_strategy(version, request, work.roles)
        kept, removed = _clean(work, typed_table(version_folder / DATA, [column.name for column in version.columns]), time_column)
        predicates, checks = _split(work, kept, strategy, time_column, checks)
        train = f"(SELECT * FROM {kept} WHERE {predicates['train']})"
        train, removed["outliers"] = _without_outliers(work, train)
        ignored = work.roles.ignored | _constants(work, train)
        columns = _columns_of_files(work, ignored)
        sources = {"train": train, **{name: f"(SELECT * FROM {kept} WHERE {predicates[name]})" for name in SPLITS[1:]}}
        # a scan keeps the order of the file; only where repeated rows were joined away must it be asked for
        rows = {
            name: _write_split(work, sources[name], columns, scratch / f"{name}.parquet", ordered=removed["duplicates"] > 0)
            for name in SPLITS
        }
        counts = _class_counts(work, columns, scratch) if work.classes else {}
        if work.classes:
            checks = _with(checks, check_split_classes(counts))
            require_stop_rules(checks)
        trained = typed_table(scratch / "train.parquet", columns)
        features = {c.name: (columns.index(c.name), c.kind) for c in work.roles.features if c.name not in ignored}
        prepared = PreparedDataset(
            dataset_id=version.dataset_id,
            version=version.version,
            target=target,
            positive_class=positive_class(version, counts["train"]) if work.classes else None,
            columns=column_statistics(connection, trained, rows["train"], features),
            ignored=ignored,
            sensitive=work.roles.sensitive,
            timestamp=work.roles.timestamp or time_column,
            entity=work.roles.entity,
            rows=rows,
            removed=removed,
            split=strategy,
            seed=request.seed,
            target_counts=counts,
            checks=checks,
            digest=content_digest((name, scratch / f"{name}.parquet") for name in SPLITS),
        )
        (scratch / PREPARED).write_bytes(prepared.model_dump_json(indent=2).encode())
        publish(scratch, out, [*(f"{name}.parquet" for name in SPLITS), PREPARED])
    return prepared


def _clean(work: _Work, table: str, time_column: str | None) -> tuple[str, dict[str, int]]:
    """SQL of the rows that stay, and how many were removed for each reason, each row counted once."""
    removed = {"duplicates": 0}
    if work.request.preprocessing.remove_duplicates:
        removed["duplicates"] = find_duplicates(work.connection, table, len(work.version.columns))
    if removed["duplicates"]:
        table = f"(SELECT * FROM {table} ANTI JOIN duplicate_rows USING (rn))"
    reasons = {"missing_target": f"{work.column(work.roles.target)} IS NULL"}
    if time_column is not None:
        reasons["missing_timestamp"] = f"{work.column(time_column)} IS NULL"
    features = [work.column(column.name) for column in work.roles.features]
    if work.request.preprocessing.handle_missing == "drop" and features:
        reasons["missing"] = " OR ".join(f"{column} IS NULL" for column in features)
    counts, earlier = [], "false"
    for condition in reasons.values():
        counts.append(f"count_if(({condition}) AND NOT ({earlier}))")
        earlier = f"{earlier} OR {condition}"
    row = work.connection.execute(f"SELECT {', '.join(counts)} FROM {table}").fetchone()
    removed |= {"missing": 0} | dict(zip(reasons, row, strict=True))
    return f"(SELECT * FROM {table} WHERE NOT ({earlier}))", removed


def _split(
    work: _Work, kept: str, strategy: SplitName, time_column: str | None, checks: tuple[QualityCheck, ...]
) -> tuple[SplitPredicates, tuple[QualityCheck, ...]]:
    """The predicates of the three splits, after checking that what was kept can still be split."""
    options = work.request.preprocessing
    rows = int(work.connection.execute(f"SELECT count(*) FROM {kept}").fetchone()[0])
    if work.classes:
        counts = class_counts(work.connection, kept, work.label, MOST_CLASSES)
        checks = _with(checks, check_class_support(counts))
    elif rows < len(SPLITS):
        evidence: dict[str, float | int | str | None] = {"rows_after_cleaning": rows}
        failed = QualityCheck(
            rule="target", severity="stop", passed=False, evidence=evidence, limit="at least 3 rows after cleaning"
        )
        checks = _with(checks, failed)
    require_stop_rules(checks)
    if time_column is not None:
        return time_split(
            work.connection, kept, work.column(time_column), options.validation_fraction, options.test_fraction
        ), checks
    groups = counts if strategy == "stratified" else {"all": rows}
    allocated = {name: allocate(n, options.validation_fraction, options.test_fraction) for name, n in groups.items()}
    label = work.label if strategy == "stratified" else "'all'"
    return hashed_split(work.connection, kept, label, allocated, work.request.seed), checks


def _without_outliers(work: _Work, train: str) -> tuple[str, int]:
    """SQL of the training rows that are no outliers, and how many were."""
    method = work.request.preprocessing.handle_outliers
    if method == "none":
        return train, 0
    numbers = {column.name: work.column(column.name) for column in work.roles.features if column.kind == "number"}
    rows = int(work.connection.execute(f"SELECT count(*) FROM {train}").fetchone()[0])
    condition = inside(fit_fences(work.connection, train, rows, method, numbers), numbers)
    outliers = int(work.connection.execute(f"SELECT count_if(NOT ({condition})) FROM {train}").fetchone()[0])
    return f"(SELECT * FROM {train} WHERE {condition})", outliers


def _constants(work: _Work, train: str) -> dict[str, str]:
    """Features that are the same in every training row, with the reason; an imputed cell counts as that one value."""
    if not work.roles.features:
        return {}
    asked = ", ".join(
        f"count({c}), coalesce(min({c}) = max({c}), true)" for c in (work.column(f.name) for f in work.roles.features)
    )
    rows, *row = work.connection.execute(f"SELECT count(*), {asked} FROM {train}").fetchone()
    found = {}
    for k, feature in enumerate(work.roles.features):
        present, same = row[2 * k : 2 * k + 2]
        imputed = feature.kind != "category" or work.request.preprocessing.handle_missing is not None
        if present == 0:
            found[feature.name] = "all_missing"
        elif same and (present == rows or imputed):
            found[feature.name] = "constant"
    return found


def _columns_of_files(work: _Work, ignored: Mapping[str, str]) -> list[str]:
    """Columns of the split files in the raw file's order.

    Raises:
        UserError: no feature is among them.
    """
    features = {column.name for column in work.roles.features} - ignored.keys()
    if not features:
        raise UserError(
            "no feature is left to learn from",
            field="preprocessing.drop_columns",
            given="; ".join(f"{name}: {why}" for name, why in list(ignored.items())[:20]),
            next_step="keep at least one column besides the target that varies",
        )
    needed = {work.roles.target, work.roles.timestamp, work.roles.entity, *work.roles.sensitive}
    return [column.name for column in work.version.columns if column.name in features or column.name in needed]


def _write_split(work: _Work, source: str, columns: list[str], path: Path, *, ordered: bool) -> int:
    values = []
    for name in columns:
        column = work.column(name)
        if (name == work.roles.target and work.classes) or name == work.roles.entity:
            column = class_label(column, work.kinds[name])
        values.append(f"{column} AS {identifier(name)}")
    query = f"SELECT {', '.join(values)} FROM {source}{' ORDER BY rn' if ordered else ''}"
    return write_parquet(work.connection, query, path)


def _class_counts(work: _Work, columns: list[str], folder: Path) -> dict[str, dict[str, int]]:
    target = f"c{columns.index(work.roles.target)}"
    tables = {name: typed_table(folder / f"{name}.parquet", columns) for name in SPLITS}
    return {name: class_counts(work.connection, table, target, MOST_CLASSES) for name, table in tables.items()}


def _with(checks: tuple[QualityCheck, ...], check: QualityCheck) -> tuple[QualityCheck, ...]:
    """The checks with the one of the same rule replaced."""
    return tuple(check if other.rule == check.rule else other for other in checks)
