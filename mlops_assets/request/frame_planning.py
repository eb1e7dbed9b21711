"""Planning on frames: what a detector's request must find in a KITTI copy, what was detected there, and what is not done.

The counterpart of the table's checks in ``planner``. Pure; what a version is made of was found when it was registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from mlops_assets.data.dataset import OBJECTS, DatasetVersion
from mlops_assets.request.algorithm_settings import checked_augmentations, checked_input_size, checked_variant
from mlops_assets.request.dialects import first_name
from mlops_assets.request.plan import Characteristics, NotDone
from mlops_assets.request.problems import ProblemLog, nearest
from mlops_assets.request.schema import Preprocessing, TrainingRequest
from mlops_assets.tasks.interface import Algorithm

#: Parts of which a frame needs every one, by task type.
NEEDED_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "detection_2d": ("image", "labels"),
    "detection_3d": ("cloud", "calibration", "labels"),
}
#: What is learned where the issue names no classes: those of KITTI's own benchmark that the copy has.
BENCHMARK_CLASSES: Final = ("Car", "Pedestrian", "Cyclist")
#: A region that nobody labelled is no class.
_NO_CLASS: Final = "DontCare"
#: Frames below and up to which a copy is small and medium; KITTI's 7,481 are medium.
SMALL_BELOW: Final = 1_000
MEDIUM_UP_TO: Final = 10_000
#: Preparation of columns, which frames do not have.
_OF_TABLES: Final = (
    "handle_missing",
    "handle_outliers",
    "normalize",
    "standardize",
    "encode_categorical",
    "feature_engineering",
    "feature_selection",
    "max_features",
    "drop_columns",
    "entity_column",
    "timestamp_column",
)


def settled(request: TrainingRequest, version: DatasetVersion, algorithm: Algorithm, log: ProblemLog) -> TrainingRequest:
    """The request with variant, sizes, augmentations and classes by their own names, and those that were left open filled in.

    Settling it again changes nothing. Problems go to ``log``.
    """
    _check_parts(request, version, log)
    wanted = request.dataset.target
    if wanted not in (None, OBJECTS):
        log.add(("target",), "not_allowed", str(wanted), (OBJECTS,), OBJECTS)
    variant, options = request.variant, request.preprocessing
    if variant is not None:
        variant = checked_variant(variant, algorithm, ("variant",), log)
    size, names = options.input_size, options.augmentation
    if size:
        size = checked_input_size(size, algorithm, ("input_size",), log) or ()
    if names and algorithm.augmentations:
        names = checked_augmentations(names, algorithm, [("augmentation", place) for place in range(len(names))], log)
    return request.model_copy(
        update={
            "variant": variant or algorithm.default_variant,
            "preprocessing": options.model_copy(update={"input_size": size, "augmentation": names}),
            "dataset": request.dataset.model_copy(update={"classes": _classes(request, version, log)}),
        }
    )


def _check_parts(request: TrainingRequest, version: DatasetVersion, log: ProblemLog) -> None:
    needed = NEEDED_PARTS[request.task_type]
    missing = [part for part in needed if not version.parts.get(part)]
    if missing:
        log.add(("dataset_id",), "missing_parts", f"{version.dataset_id}: {', '.join(f'{part} 0' for part in missing)}", needed)


def _classes(request: TrainingRequest, version: DatasetVersion, log: ProblemLog) -> tuple[str, ...]:
    labelled = [name for name, objects in version.target_counts.items() if objects and name != _NO_CLASS]
    if not request.dataset.classes:
        return tuple(name for name in BENCHMARK_CLASSES if name in labelled) or tuple(labelled)
    known = {name.lower(): name for name in labelled}
    found = []
    for place, name in enumerate(request.dataset.classes):
        own = known.get(name.lower())
        if own is None:
            log.add(("dataset", "classes", place), "unlabelled_class", name, labelled, nearest(name, labelled))
        else:
            found.append(own)
    return tuple(dict.fromkeys(found))


def frame_characteristics(request: TrainingRequest, version: DatasetVersion) -> Characteristics:
    """What was found in the frames; ``class_counts`` are labelled objects of the classes that are learned."""
    counts = {name: version.target_counts.get(name, 0) for name in request.dataset.classes}
    total = sum(counts.values())
    return Characteristics(
        rows=version.rows,
        columns=0,
        size_class=_size_class(version.rows),
        target=OBJECTS,
        task_type=request.task_type,
        learning_type=request.learning_type,
        algorithm=request.algorithm,
        class_counts=counts,
        minority_share=min(counts.values()) / total if total and len(counts) > 1 else None,
        form=version.form,
        parts=dict(version.parts),
    )


def _size_class(frames: int) -> Literal["small", "medium", "large"]:
    return "small" if frames < SMALL_BELOW else "medium" if frames <= MEDIUM_UP_TO else "large"


def held_out(options: Preprocessing, labelled: int) -> int:
    """About how many frames are not trained on; lists of the copy may keep more or fewer."""
    return round(labelled * (options.validation_fraction + options.test_fraction))


def frames_not_done(request: TrainingRequest, version: DatasetVersion) -> Iterator[NotDone]:
    """What the issue asks of the data and the registered copy decides; the request is the settled one."""

    def left(field: str, key: str, asked: object) -> NotDone:
        return NotDone(field=first_name(field), key=key, asked=str(asked))

    dataset, labelled = request.dataset, version.parts.get("labels", 0)
    if dataset.uri:
        yield left("dataset.uri", "registered_copy", dataset.uri)
    options, plain = request.preprocessing, Preprocessing()
    for field, size in (("dataset.train_size", dataset.train_size), ("dataset.validation_size", dataset.validation_size)):
        if size is not None and size > labelled:
            yield left(field, "more_than_labelled", f"{size:,}")
    if dataset.train_size is not None and labelled >= dataset.train_size > labelled - held_out(options, labelled):
        yield left("dataset.train_size", "rest_of_frames", f"{dataset.train_size:,}")
    if request.evaluation.test_dataset:
        yield left("evaluation.test_dataset", "listed_test", request.evaluation.test_dataset)
    for name in _OF_TABLES:
        if getattr(options, name) != getattr(plain, name):
            asked = getattr(options, name)
            yield left(f"preprocessing.{name}", "table_settings", ", ".join(asked) if isinstance(asked, tuple) else asked)
    if options.split == "stratified":
        yield left("preprocessing.split", "table_settings", options.split)
