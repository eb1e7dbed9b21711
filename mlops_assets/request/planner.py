"""What will be done about a request: the plan, and what of the request this release does not do.

Pure: nothing is read, timed or looked up here. Running the plan belongs to the assets; the plan's own shape is in ``plan``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from mlops_assets.data.dataset import TABLE, Column, DatasetVersion
from mlops_assets.errors import RequestInvalid
from mlops_assets.request import code_change
from mlops_assets.request.dialects import first_name
from mlops_assets.request.frame_planning import frame_characteristics, frames_not_done, settled
from mlops_assets.request.hyperparameters import checked_hyperparameters
from mlops_assets.request.optimiser.custom import unbuilt_settings
from mlops_assets.request.optimiser.data_rules import SMOTE_NEIGHBOURS
from mlops_assets.request.optimiser.rules import Facts, optimise
from mlops_assets.request.plan import Characteristics, NotDone, Plan
from mlops_assets.request.problems import Path, ProblemLog, nearest
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.task_types import FRAME_TASKS, TABULAR_TASKS, default_metrics, gate_metric
from mlops_assets.tasks.interface import Algorithm, LearningTask

#: Everything that `not_done` can name, each with a sentence `not_done.<key>` in the language catalogue.
NOT_DONE_KEYS: Final = (
    "hyperparameter_search",
    "bias_check",
    "ci_tests",
    "monitoring",
    "retraining",
    "canary",
    "ab_test",
    "shadow",
    "sagemaker_experiments",
    "grpc",
    "auto_scaling",
    "deployment_target",
    "training_instance",
    "distributed_training",
    "spot_instances",
    "augmentation",
    "augmentation_off",
    "dataset_selection",
    "registered_copy",
    "more_than_labelled",
    "rest_of_frames",
    "listed_test",
    "table_settings",
    "aggregate_by_user",
    "time_features",
)

MAX_NUMERIC_CLASSES: Final = 100
MAX_TEXT_CLASSES: Final = 1000

_LOCAL_TARGETS: Final = frozenset({"local", "local_endpoint", "local-endpoint"})


def make_plan(
    request: TrainingRequest,
    version: DatasetVersion,
    code_version: str,
    *,
    task: LearningTask,
    algorithm: Algorithm,
    resources: Mapping[str, JsonValue],
    cost_cap_usd: float | None,
) -> Plan:
    """The plan of one training, from the request as the person wrote it; equal inputs give equal digests.

    ``Plan.request`` is the effective request, with the optimiser's changes carried out. Every hyperparameter is written out with
    its default, the target is the issue's or the catalogue's, and the metric of the gate follows ``task_types.gate_metric`` from
    the metrics that the person named. The cost cap is the lower of the platform's and the issue's.

    Raises:
        RequestInvalid: a column, class or part of a frame that the request needs is not in the data, there is no target, the
            target does not suit the task type, SMOTE is asked for with too few rows of a class, or the algorithm does not offer
            the request's task type, variant, hyperparameters or augmentations, or does not learn from data of this form.
    """
    if algorithm.form != version.form:
        raise unsuitable_form(request, version, algorithm)
    log = ProblemLog()
    if request.task_type not in algorithm.task_types:
        log.add(("task_type",), "not_allowed", request.task_type, algorithm.task_types)
    given = checked_hyperparameters(request.hyperparameters, algorithm, ("hyperparameters",), log)
    if version.form == TABLE:
        characteristics = _of_table(request, version, log)
    else:
        request = settled(request, version, algorithm, log)
        characteristics = frame_characteristics(request, version)
    if log.problems or characteristics is None:
        raise RequestInvalid(log.problems)
    facts = Facts(
        request=request.model_copy(update={"hyperparameters": given}),
        characteristics=characteristics,
        algorithm=algorithm,
        version=version,
        resources=resources,
    )
    effective, optimizations = optimise(facts)
    metrics = effective.evaluation.metrics or default_metrics(request.task_type)
    gate = gate_metric(
        request.task_type,
        request.evaluation.threshold_metric,
        request.evaluation.metrics,
        imbalanced=characteristics.imbalanced,
    )
    if gate is not None and gate not in metrics:
        metrics = (*metrics, gate)
    caps = [cap for cap in (cost_cap_usd, request.max_cost_usd) if cap is not None]
    return Plan(
        request=effective,
        optimizations=optimizations,
        dataset_id=version.dataset_id,
        dataset_version=version.version,
        code_version=code_version,
        task=task.name,
        target=characteristics.target,
        hyperparameters=algorithm.resolved(effective.hyperparameters, effective.variant),
        metrics=metrics,
        gate_metric=gate or "",
        characteristics=characteristics,
        resources=dict(resources),
        cost_cap_usd=min(caps) if caps else None,
        not_done=(*not_done(effective), *(_without_columns if version.form == TABLE else frames_not_done)(request, version)),
    )


def algorithm_not_offered(request: TrainingRequest, offered: Sequence[Algorithm]) -> RequestInvalid:
    """The answer to a valid request whose algorithm no installed task runs; it names those that are."""
    names = tuple(a.name for a in offered if request.task_type in a.task_types) or tuple(a.name for a in offered)
    log = ProblemLog()
    log.add(("algorithm",), "not_allowed", request.algorithm, names)
    return RequestInvalid(log.problems)


def unsuitable_form(
    request: TrainingRequest,
    version: DatasetVersion,
    algorithm: Algorithm,
    *,
    algorithms: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> RequestInvalid:
    """The answer where an algorithm meets data of another form: both by name, and what would go with either.

    Args:
        algorithms: that learn from data of the version's form.
        datasets: that have the algorithm's form.
    """
    log = ProblemLog()
    said = f"{algorithm.name} ({algorithm.form}) ≠ {version.dataset_id} ({version.form})"
    allowed = (*(f"dataset_id: {name}" for name in datasets), *(f"algorithm: {name}" for name in algorithms))
    log.add(("algorithm",), "wrong_form", said, allowed)
    return RequestInvalid(log.problems)


# --- the data behind a request ------------------------------------------------------------------------------------------


def _path_of(field: str) -> Path:
    return tuple(first_name(field).split("."))


def _of_table(request: TrainingRequest, version: DatasetVersion, log: ProblemLog) -> Characteristics | None:
    """What was detected in a table; None after logging that it has no such target."""
    _check_columns(request, version, log)
    column = _target(request, version, log)
    if column is None:
        return None
    _check_suitable(request, column, version, log)
    characteristics = _characteristics(request, version, column)
    _check_resampling(request, characteristics, log)
    return characteristics


def _check_columns(request: TrainingRequest, version: DatasetVersion, log: ProblemLog) -> None:
    """Columns that are named must exist, and a split by time must have its column."""
    names = [c.name for c in version.columns]
    options = request.preprocessing
    named = [("preprocessing.entity_column", options.entity_column), ("preprocessing.timestamp_column", options.timestamp_column)]
    dropped = [("preprocessing.drop_columns", name) for name in options.drop_columns]
    for field, name in [*named, *dropped]:
        if name is not None and name not in names:
            log.add(_path_of(field), "not_allowed", name, names, nearest(name, names))
    if options.split == "time" and (options.timestamp_column or version.entry.timestamp) is None:
        log.add(_path_of("preprocessing.timestamp_column"), "missing", "split: time", names)


def _target(request: TrainingRequest, version: DatasetVersion, log: ProblemLog) -> Column | None:
    """The column to predict; None after logging that there is none."""
    names = [c.name for c in version.columns]
    wanted = request.dataset.target or version.entry.target
    if wanted is None:
        log.add(("target",), "missing", "", names)
        return None
    found = next((c for c in version.columns if c.name == wanted), None)
    if found is None:
        log.add(("target",), "not_allowed", wanted, names, nearest(wanted, names))
        return None
    options = request.preprocessing
    for field, taken in (
        ("preprocessing.drop_columns", options.drop_columns),
        ("preprocessing.entity_column", (options.entity_column,)),
        ("preprocessing.timestamp_column", (options.timestamp_column,)),
    ):
        if wanted in taken:
            log.add(_path_of(field), "conflict", wanted, tuple(n for n in names if n != wanted))
    return found


def _check_suitable(request: TrainingRequest, column: Column, version: DatasetVersion, log: ProblemLog) -> None:
    """A target that cannot be learned in the way that was asked for."""
    numeric = column.kind == "number" or (column.kind == "identifier" and column.minimum is not None)
    said = f"{column.name}: {column.kind}, {column.distinct} distinct values"
    if request.task_type == "regression" and not numeric:
        log.add(("task_type",), "not_allowed", f"regression ({said})", ("classification",), "classification")
    elif request.task_type == "classification":
        most = MAX_NUMERIC_CLASSES if numeric else MAX_TEXT_CLASSES
        if column.distinct > most or (column.distinct == version.rows > 2 and column.kind != "category"):
            allowed = ("regression",) if numeric else (f"target: <= {most} distinct values",)
            log.add(("task_type",), "not_allowed", f"classification ({said})", allowed, "regression" if numeric else None)
    resampling = request.preprocessing.resample
    if resampling != "none" and request.task_type != "classification":
        log.add(
            _path_of("preprocessing.resample"), "conflict", f"{resampling} (task_type: {request.task_type})", ("none",), "none"
        )
    if column.distinct < 2:
        log.add(("target",), "not_allowed", said, (">= 2 distinct values",))


def _check_resampling(request: TrainingRequest, found: Characteristics, log: ProblemLog) -> None:
    """SMOTE set by hand where the whole table has too few rows of a class: it would fail after the approval."""
    setting = "optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling"
    method = request.optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling
    if method == "smote" and found.class_counts and min(found.class_counts.values()) <= SMOTE_NEIGHBOURS:
        said = f"smote ({min(found.class_counts.values())} rows of the rarest class, needed > {SMOTE_NEIGHBOURS})"
        log.add(_path_of(setting), "not_allowed", said, ("auto", "undersample", "oversample", "none"), "oversample")


def _characteristics(request: TrainingRequest, version: DatasetVersion, column: Column) -> Characteristics:
    counts = dict(sorted(version.target_counts.items())) if request.task_type == "classification" else {}
    if column.name != version.entry.target:
        counts = dict(sorted(column.top.items())) if counts and len(column.top) == column.distinct else {}
    total = sum(counts.values())
    rows = version.rows
    left_out = {column.name, *request.preprocessing.drop_columns}
    return Characteristics(
        rows=rows,
        columns=len(version.columns),
        size_class="small" if rows < 10_000 else "medium" if rows <= 100_000 else "large",
        target=column.name,
        task_type=request.task_type,
        learning_type=request.learning_type,
        algorithm=request.algorithm,
        features=sum(c.name not in left_out and c.kind != "identifier" for c in version.columns),
        class_counts=counts,
        minority_share=min(counts.values()) / total if total else None,
        missing_cells=sum(c.missing for c in version.columns),
        duplicate_rows=version.duplicate_rows,
        sensitive=tuple(name for name in version.entry.sensitive if name not in left_out),
    )


# --- what is not done ---------------------------------------------------------------------------------------------------


def _without_columns(request: TrainingRequest, version: DatasetVersion) -> Iterator[NotDone]:
    """Features that are asked for and cannot be made, because the table has no user or no time."""
    options = request.preprocessing
    columns = {
        "aggregate_by_user": options.entity_column or version.entry.entity,
        "time_features": options.timestamp_column or version.entry.timestamp,
    }
    for feature in options.feature_engineering:
        if columns[feature] is None:
            yield NotDone(field=first_name("preprocessing.feature_engineering"), key=feature, asked=feature)


def not_done(request: TrainingRequest) -> tuple[NotDone, ...]:
    """Everything that the request validly asks for and this release does not do, in the order of ``NOT_DONE_KEYS``.

    Only what differs from the defaults counts as asked for. A canary, A/B or shadow release is replaced by a blue/green
    switch, SageMaker Experiments by MLflow, gRPC by REST.
    """
    found = [NotDone(field=first_name(field), key=key, asked=asked) for key, field, asked in _asked(request)]
    return tuple(sorted(found, key=lambda item: NOT_DONE_KEYS.index(item.key)))


def _asked(request: TrainingRequest) -> Iterator[tuple[str, str, str]]:
    """(key, field, what was asked) of each part that is not built."""
    yield from _learning(request)
    yield from _release(request)
    yield from _operation(request)
    yield from _optimisation(request)
    yield from _selection(request)


def _learning(request: TrainingRequest) -> Iterator[tuple[str, str, str]]:
    search, evaluation = request.search, request.evaluation
    if search.enabled:
        yield "hyperparameter_search", "search.enabled", f"{search.method}, {search.max_trials}"
    if evaluation.bias_check:
        yield "bias_check", "evaluation.bias_check", "true"
    if evaluation.ci_tests:
        yield "ci_tests", "evaluation.ci_tests", "true"
    if request.track_with == "sagemaker_experiments":
        yield "sagemaker_experiments", "track_with", request.track_with
    if request.preprocessing.augmentation and request.task_type not in FRAME_TASKS:
        yield "augmentation", "preprocessing.augmentation", ", ".join(request.preprocessing.augmentation)


def _release(request: TrainingRequest) -> Iterator[tuple[str, str, str]]:
    deployment = request.deployment
    if request.packaging.api_type == "grpc":
        yield "grpc", "packaging.api_type", "grpc"
    if deployment.strategy in ("canary", "ab_test", "shadow"):
        yield deployment.strategy, "deployment.strategy", deployment.strategy
    if deployment.auto_scaling is not None:
        scaling = deployment.auto_scaling
        yield "auto_scaling", "deployment.auto_scaling", f"{scaling.min_instances} - {scaling.max_instances}"
    if deployment.target is not None and deployment.target not in _LOCAL_TARGETS:
        yield "deployment_target", "deployment.target", deployment.target
    if deployment.instance_type not in (None, "local"):
        yield "deployment_target", "deployment.instance_type", str(deployment.instance_type)


def _operation(request: TrainingRequest) -> Iterator[tuple[str, str, str]]:
    thresholds = request.monitoring.alert_thresholds.model_dump(exclude_none=True)
    if request.monitoring.enabled or thresholds:
        yield "monitoring", "monitoring.enabled", ", ".join(f"{name}: {value:g}" for name, value in thresholds.items()) or "true"
    retraining = request.retraining
    left = [trigger for trigger in retraining.triggers if not (retraining.enabled and trigger == code_change.TRIGGER)]
    if left or (retraining.enabled and not retraining.triggers):
        yield "retraining", "retraining.enabled", ", ".join(left) or "true"


def _optimisation(request: TrainingRequest) -> Iterator[tuple[str, str, str]]:
    """Settings that a person made by hand and that nothing carries out yet."""
    for key, setting, asked in unbuilt_settings(request):
        yield key, f"optimization.custom_optimizations.{setting}", asked


def _selection(request: TrainingRequest) -> Iterator[tuple[str, str, str]]:
    """Parts of a data set chosen in the issue: a table is always taken whole, from the catalogue, and split here."""
    if request.task_type not in TABULAR_TASKS:
        return
    dataset = request.dataset
    for field, asked in (
        ("dataset.uri", dataset.uri),
        ("dataset.classes", ", ".join(dataset.classes)),
        ("dataset.train_size", dataset.train_size),
        ("dataset.validation_size", dataset.validation_size),
        ("evaluation.test_dataset", request.evaluation.test_dataset),
    ):
        if asked:
            yield "dataset_selection", field, str(asked)
