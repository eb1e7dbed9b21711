"""The ``prepare`` verb of the tabular task: a prepared dataset becomes the feature folder described in ``definition``.

The order of the steps and the writing of files; deciding is in ``roles``, fitting in ``fitting``, and every
transformation in ``feature_graph``.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from mlops_assets.data.dataset import SPLITS, PreparedDataset
from mlops_assets.errors import UserError
from mlops_assets.request.digest import canonical_json
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import FeatureSummary, InputField
from mlops_assets.tasks.tabular.definition import (
    DEFINITION,
    DEFINITION_DOCUMENT,
    FEATURE_GRAPH,
    INPUTS,
    SUMMARY,
    FeatureDefinition,
    definition_document,
)
from mlops_assets.tasks.tabular.feature_graph import build_graph
from mlops_assets.tasks.tabular.fitting import TrainingSplit, fit_features, select_features, transform
from mlops_assets.tasks.tabular.roles import assign_roles
from mlops_assets.tasks.tabular.splits import SplitFile, read_answers
from mlops_assets.whole_files import whole_file, write_whole

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


def prepare_features(dataset: Path, request: TrainingRequest, out: Path) -> FeatureSummary:
    """Fit every transformation on the training split of ``dataset`` and write the feature folder ``out``.

    The matrices of all splits are outputs of ``features.onnx`` itself. The one exception is target encoding: a training
    row reads a table fitted without its own fold (five folds, stratified, drawn by ``request.seed``), through the same
    graph with that table in place. With the table of the whole split a category of one row would tell the model that
    row's answer, and no smoothing removes that; validation, test and serving rows never had their answer in the table.

    Options: ``max_features`` is honoured with any ``feature_selection``: the least important features go, after
    correlated ones if those were asked for. The same input gives the same digest and the same bytes.

    Raises:
        DataRejected: a split is empty, no feature is left, a target cell is missing or has a class unknown to training.
        UserError: the task type has no target to learn, or a named entity or timestamp column is not in the data.
        IntegrityError: the files of ``dataset`` do not match its ``dataset.json``.
    """
    if request.task_type not in ("classification", "regression"):
        raise UserError(
            "the tabular task prepares features for supervised learning only",
            field="task_type",
            given=request.task_type,
            allowed=("classification", "regression"),
        )
    prepared = PreparedDataset.read(dataset)
    splits = {split: SplitFile(dataset / f"{split}.parquet", split) for split in SPLITS}
    roles = assign_roles(prepared, request.preprocessing, splits["train"].columns)
    entity = () if roles.entity is None else (roles.entity,)
    for split in splits.values():
        split.require([prepared.target, *roles.numbers, *roles.categories, *roles.timestamps, *entity])
    classes, answers = read_answers(prepared.target, request.task_type, splits)
    train = TrainingSplit(splits["train"], answers["train"], classes)
    fitted = fit_features(roles, request.preprocessing, train, request.seed)
    fitted = select_features(fitted, roles, request.preprocessing, train, request.seed)

    out.mkdir(parents=True, exist_ok=True)
    (out / SUMMARY).unlink(missing_ok=True)  # written last again: a folder that has it is a whole one
    graph = build_graph(fitted.features, fitted.inputs)
    names = tuple(entry.name for entry in fitted.features.entries)
    digest = hashlib.sha256(graph + canonical_json([names, classes]))
    write_whole(out / FEATURE_GRAPH, graph)
    for name, split in splits.items():
        matrix = transform(split, fitted if name == "train" else replace(fitted, folds=None))
        for array in (matrix, answers[name]):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        _write_arrays(out / f"{name}.npz", X=matrix, y=answers[name])
    definition = FeatureDefinition(
        target=prepared.target,
        task_type=request.task_type,
        classes=classes,
        features=fitted.features.entries,
        dropped=roles.dropped,
        warnings=tuple(roles.warnings),
        train_rows=train.file.rows,
        dataset_digest=prepared.digest,
    )
    write_whole(out / INPUTS, TypeAdapter(tuple[InputField, ...]).dump_json(fitted.inputs, indent=1))
    write_whole(out / DEFINITION_DOCUMENT, definition_document(definition, fitted.inputs, request.language))
    write_whole(out / DEFINITION, definition.model_dump_json(indent=1))
    summary = FeatureSummary(
        feature_names=names,
        rows={name: split.rows for name, split in splits.items()},
        classes=classes,
        positive_class=prepared.positive_class if prepared.positive_class in classes else None,
        dropped=roles.dropped,
        digest=digest.hexdigest(),
        warnings=tuple(roles.warnings),
    )
    write_whole(out / SUMMARY, summary.model_dump_json(indent=1))
    return summary


def _write_arrays(path: Path, **arrays: Array) -> None:
    import numpy as np

    with whole_file(path) as beside, beside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
