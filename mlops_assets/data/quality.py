"""The quality rules of FR-002: each looks at one dataset version and returns a check with its evidence.

Rules judge and change nothing; removing rows is in ``cleaning``, telling the outcome in ``quality_report``. A failed rule of
severity ``stop`` ends the training with ``QualityRejected``, which carries every check; ``alert`` and ``log`` are only told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mlops_assets.data.column_roles import ColumnRoles, column_roles
from mlops_assets.data.dataset import SPLITS, Column, DatasetVersion, QualityCheck
from mlops_assets.data.engine import DEFAULT_MEMORY_LIMIT, engine, scratch_folder
from mlops_assets.data.ingest import DATA, read_version
from mlops_assets.data.leakage import LEAST_ROWS, LIMIT, suspects
from mlops_assets.data.statistics import class_counts, class_label, typed_table
from mlops_assets.errors import DataRejected
from mlops_assets.request.schema import TrainingRequest

NULL_RATE: Final = 0.05
DUPLICATE_RATE: Final = 0.01
ROWS_OF_A_CLASS: Final = len(SPLITS)
MOST_CLASSES: Final = 1000
SAMPLE_ROWS: Final = 20_000
_EVIDENCE = 20  # entries told of one rule

Evidence = dict[str, float | int | str | None]


class QualityRejected(DataRejected):
    """Data that at least one rule of severity ``stop`` refuses; ``checks`` holds the outcome of every rule."""

    def __init__(self, checks: Sequence[QualityCheck]) -> None:
        self.checks = tuple(checks)
        failed = [check for check in checks if check.severity == "stop" and not check.passed]
        told = ["; ".join([f"{name}: {value}" for name, value in check.evidence.items()]) for check in failed]
        super().__init__(
            "the data cannot be learned from: " + "; ".join(f"{c.rule} ({text})" for c, text in zip(failed, told, strict=True)),
            field=", ".join(check.rule for check in failed),
            allowed=tuple(check.limit for check in failed),
            next_step="correct the data or the request and try again",
        )


def require_stop_rules(checks: Sequence[QualityCheck]) -> None:
    """Raises:
    QualityRejected: a rule of severity ``stop`` does not hold.
    """
    if any(check.severity == "stop" and not check.passed for check in checks):
        raise QualityRejected(checks)


def check_quality(
    version_folder: Path,
    request: TrainingRequest,
    target: str,
    previous: DatasetVersion | None,
    now: datetime,
    *,
    memory_limit: str = DEFAULT_MEMORY_LIMIT,
) -> tuple[QualityCheck, ...]:
    """The outcome of every rule for one dataset version and one request; ``now`` is aware of its zone.

    Rules that need the target are left out where it is not among the columns, which the rule ``target`` then says.
    """
    import tempfile

    version = read_version(version_folder)
    with (
        tempfile.TemporaryDirectory() as beside,
        scratch_folder(Path(beside)) as scratch,
        engine(memory_limit, scratch) as connection,
    ):
        return judge(connection, version_folder / DATA, version, request, target, previous=previous, now=now)


def judge(
    connection: Any,
    data: Path,
    version: DatasetVersion,
    request: TrainingRequest,
    target: str,
    *,
    previous: DatasetVersion | None,
    now: datetime,
) -> tuple[QualityCheck, ...]:
    """``check_quality`` on an open connection."""
    roles = column_roles(version, request, target)
    table = typed_table(data, [column.name for column in version.columns])
    columns = {column.name: (i, column) for i, column in enumerate(version.columns)}
    checks = [check_schema(version, request, previous)]
    if target in columns:
        position, column = columns[target]
        counts: dict[str, int] = {}
        if request.task_type == "classification":
            counts = class_counts(connection, table, class_label(f"c{position}", column.kind), MOST_CLASSES + 1)
        checks.append(check_target(version, request, column, counts))
        if request.task_type == "classification" and len(counts) <= MOST_CLASSES:
            checks.append(check_class_support(counts))
    else:
        checks.append(_check("target", "stop", False, {target: "missing"}, "the target is one of the columns"))
    checks += [
        check_null_rate(version, roles),
        check_range(connection, table, version),
        check_duplicates(version),
        check_freshness(version, now),
    ]
    if target in columns and checks[1].passed:
        checks.append(check_leakage(connection, table, version, roles, classes=request.task_type == "classification"))
    return tuple(checks)


def _check(rule: Any, severity: Any, passed: bool, evidence: Mapping[str, float | int | str | None], limit: str) -> QualityCheck:
    told = dict(list(evidence.items())[:_EVIDENCE])
    if len(evidence) > _EVIDENCE:
        told["…"] = f"{len(evidence) - _EVIDENCE} more"
    return QualityCheck(rule=rule, severity=severity, passed=passed, evidence=told, limit=limit)


def check_schema(version: DatasetVersion, request: TrainingRequest, previous: DatasetVersion | None) -> QualityCheck:
    """Stop: columns of the previous version and of the request are there, and of the same kind as before."""
    kinds = {column.name: column.kind for column in version.columns}
    empty = {column.name for column in version.columns if column.missing == version.rows}
    evidence: Evidence = {}
    for column in previous.columns if previous is not None else ():
        was_empty = previous is not None and column.missing == previous.rows
        if column.name in request.preprocessing.drop_columns or (was_empty and column.name in kinds):
            continue
        if column.name not in kinds:
            evidence[column.name] = f"missing, was {column.kind}"
        elif column.name in empty:
            evidence[column.name] = f"no value, was {column.kind}"
        elif kinds[column.name] != column.kind:
            evidence[column.name] = f"{kinds[column.name]}, was {column.kind}"
    options = request.preprocessing
    asked = [("drop_columns", name) for name in options.drop_columns]
    asked += [
        (field, name)
        for field, name in (("entity_column", options.entity_column), ("timestamp_column", options.timestamp_column))
        if name
    ]
    for field, name in asked:
        if name not in kinds:
            evidence[name] = f"missing, named by {field}"
    if options.timestamp_column in kinds and kinds[options.timestamp_column] != "timestamp":
        evidence[options.timestamp_column] = f"{kinds[options.timestamp_column]}, timestamp_column needs timestamp"
    return _check("schema", "stop", not evidence, evidence, "columns and kinds as declared and as in the previous version")


def check_target(version: DatasetVersion, request: TrainingRequest, column: Column, counts: Mapping[str, int]) -> QualityCheck:
    """Stop: the target can be learned: two classes or more, or a number that varies. ``counts`` is class -> rows."""
    present = version.rows - column.missing
    evidence: Evidence = {"column": column.name, "rows": present, "missing": column.missing, "kind": column.kind}
    if request.task_type == "classification":
        evidence["classes"] = column.distinct
        positive = version.entry.positive_class
        known = positive is None or positive in counts
        if not known:
            evidence["positive_class"] = f"{positive} is none of: {', '.join(list(counts)[:10])}"
        usable = 2 <= len(counts) <= MOST_CLASSES and column.kind in ("number", "category")
        return _check(
            "target", "stop", usable and known, evidence, f"2 to {MOST_CLASSES} classes; the positive class is one of them"
        )
    varies = column.kind == "number" and column.minimum != column.maximum and present >= len(SPLITS)
    evidence |= {"minimum": column.minimum, "maximum": column.maximum}
    return _check("target", "stop", varies, evidence, "a number that is not the same in every row, in at least 3 rows")


def check_class_support(counts: Mapping[str, int]) -> QualityCheck:
    """Stop: every class has enough rows to be in all three splits. ``counts`` is class -> rows."""
    scarce = {name: rows for name, rows in counts.items() if rows < ROWS_OF_A_CLASS}
    evidence: Evidence = {**(scarce or dict(sorted(counts.items(), key=lambda item: item[1])[:5]))}
    return _check(
        "class_support", "stop", not scarce and len(counts) >= 2, evidence, f">= {ROWS_OF_A_CLASS} rows of every class, 2 classes"
    )


def check_split_classes(counts: Mapping[str, Mapping[str, int]]) -> QualityCheck:
    """Stop: training knows every class, and each split has two. ``counts`` is split -> class -> rows."""
    evidence: Evidence = {}
    everything = sorted({name for classes in counts.values() for name in classes})
    for split, classes in counts.items():
        absent = [name for name in everything if not classes.get(name)]
        if len(everything) - len(absent) < 2 or (split == "train" and absent):
            evidence[split] = f"no row of {', '.join(absent[:10])}"
    passed = not evidence
    if passed:
        evidence = {f"train: {name}": rows for name, rows in sorted(counts["train"].items(), key=lambda item: item[1])[:5]}
    return _check("class_support", "stop", passed, evidence, "every class in training, 2 classes in each split")


def check_null_rate(version: DatasetVersion, roles: ColumnRoles) -> QualityCheck:
    """Alert: less than 5 % of the cells of an important column are missing (FR-002)."""
    important = version.entry.important or (*(column.name for column in roles.features), roles.target)
    shares = {
        column.name: column.missing / version.rows for column in version.columns if column.name in important and version.rows
    }
    worst = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    over: Evidence = {name: round(share, 6) for name, share in worst.items() if share >= NULL_RATE}
    evidence: Evidence = over or {name: round(share, 6) for name, share in list(worst.items())[:1]}
    return _check("null_rate", "alert", not over, evidence, "< 5 %")


def check_range(connection: Any, table: str, version: DatasetVersion) -> QualityCheck:
    """Alert: every value lies in the range declared for its column."""
    evidence: Evidence = {}
    for i, column in enumerate(version.columns):
        if column.name not in version.entry.ranges:
            continue
        low, high = version.entry.ranges[column.name]
        if column.kind != "number":
            evidence[column.name] = f"{column.kind}, a range needs numbers"
        elif column.minimum is not None and column.maximum is not None and (column.minimum < low or column.maximum > high):
            query = f"SELECT count_if(c{i} < ? OR c{i} > ?) FROM {table}"
            rows = connection.execute(query, [low, high]).fetchone()[0]
            evidence[column.name] = f"{rows} rows outside [{low:g}, {high:g}]; found {column.minimum:g} to {column.maximum:g}"
    limit = ", ".join(f"{name} [{low:g}, {high:g}]" for name, (low, high) in list(version.entry.ranges.items())[:10])
    return _check("range", "alert", not evidence, evidence, limit or "no range declared")


def check_duplicates(version: DatasetVersion) -> QualityCheck:
    """Log: less than 1 % of the rows repeat an earlier one (FR-002)."""
    rate = version.duplicate_rows / version.rows if version.rows else 0.0
    return _check("duplicates", "log", rate < DUPLICATE_RATE, {"rows": version.duplicate_rows, "rate": round(rate, 6)}, "< 1 %")


def check_freshness(version: DatasetVersion, now: datetime) -> QualityCheck:
    """Alert: the newest row is young enough, where the catalogue declares how young it must be (FR-002)."""
    hours = version.entry.fresh_within_hours
    if hours is None:
        return _check("freshness", "alert", True, {}, "no freshness declared")
    limit = f"<= {hours:g} h"
    if version.newest is None:
        return _check("freshness", "alert", False, {"newest": None}, limit)
    age = (now - datetime.fromisoformat(version.newest).astimezone(UTC)).total_seconds() / 3600
    return _check("freshness", "alert", age <= hours, {"newest": version.newest, "age_hours": round(age, 2)}, limit)


def check_leakage(connection: Any, table: str, version: DatasetVersion, roles: ColumnRoles, *, classes: bool) -> QualityCheck:
    """Alert: no feature alone, and no sum of features, gives the target away; see ``leakage`` for the method."""
    import numpy

    places = {column.name: (i, column.kind) for i, column in enumerate(version.columns)}
    position, kind = places[roles.target]
    wanted = class_label(f"c{position}", kind) if classes else f"c{position}"
    read = {"number": "c{0}", "timestamp": "CAST(epoch_us(c{0}) AS DOUBLE)", "category": "c{0}"}
    cells = [f"{read[column.kind].format(places[column.name][0])} AS f{k}" for k, column in enumerate(roles.features)]
    key = "md5('leakage:' || CAST(rn AS VARCHAR))"
    # a share a little above the wanted number comes first, so that only that share is sorted
    share = min(2**32 - 1, int(2**32 * 1.1 * SAMPLE_ROWS / max(1, version.rows)))
    sample = connection.execute(
        f"SELECT {', '.join([f'{wanted} AS y', *cells])} FROM {table} WHERE c{position} IS NOT NULL "
        f"AND {key} <= '{share:08x}ffffffffffffffffffffffff' ORDER BY {key} LIMIT {SAMPLE_ROWS}"
    ).fetchnumpy()
    numbers, texts = {}, {}
    for k, column in enumerate(roles.features):
        if column.kind == "category":
            texts[column.name] = _codes(sample[f"f{k}"])
        else:
            numbers[column.name] = numpy.ma.filled(numpy.ma.asarray(sample[f"f{k}"], dtype=numpy.float64), numpy.nan)
    target = _codes(sample["y"]) if classes else numpy.ma.filled(numpy.ma.asarray(sample["y"], dtype=numpy.float64), numpy.nan)
    found = suspects(numbers, texts, target, classes=classes)
    evidence: Evidence = {**found, "sampled_rows": len(target)}
    limit = (
        f"no feature determines the target beyond {LIMIT}" if len(target) >= LEAST_ROWS else f"not judged below {LEAST_ROWS} rows"
    )
    return _check("leakage", "alert", not found, evidence, limit)


def _codes(texts: Any) -> Any:
    """Integers 0 … for the distinct texts of an array in sorted order, -1 for missing."""
    import numpy

    masked: Any = numpy.ma.asarray(texts, dtype=object)
    missing = numpy.ma.getmaskarray(masked)
    codes = numpy.full(len(masked), -1, dtype=numpy.int64)
    present = masked.data[~missing].astype(str)
    if len(present):
        codes[~missing] = numpy.unique(present, return_inverse=True)[1]
    return codes
