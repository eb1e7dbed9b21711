"""Evaluating a model on the test split: metrics, confusion, importance, speed, figures.

The arithmetic is in ``measures``, the pictures in ``figures``; whether the numbers are good enough is decided by the gate,
elsewhere.
"""

from __future__ import annotations

import time
from pathlib import Path

from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.interface import EvaluationSummary
from mlops_assets.tasks.tabular.feature_folder import FeatureFolder
from mlops_assets.tasks.tabular.measures import Measures, measure
from mlops_assets.tasks.tabular.native_model import ModelCard, read_model
from mlops_assets.tasks.tabular.words import WORDS


def evaluate(features: Path, model: Path, request: TrainingRequest, out: Path) -> EvaluationSummary:
    """Measure ``model`` on the test split of ``features`` and draw its figures into ``out``.

    Of two classes the metrics are about the positive one. Every metric that the rows allow is computed, whatever the request
    asks for.

    Raises:
        IntegrityError: a folder is incomplete, or the model was trained on other features.
    """
    from mlops_assets.tasks.tabular.figures import draw_figures

    folder = FeatureFolder.read(features)
    native, card = read_model(model)
    check_belongs(folder, card, model)
    x, y = folder.split("test")
    started = time.perf_counter()
    predicted = native.predict(x)
    seconds = time.perf_counter() - started
    measures = measure(y, predicted, len(card.classes), card.positive)
    shares = zip(card.feature_names, native.importance().tolist(), strict=True)
    importance = dict(sorted(shares, key=lambda item: (-item[1], item[0])))
    out.mkdir(parents=True, exist_ok=True)
    figures = draw_figures(y, predicted, measures=measures, importance=importance, card=card, language=request.language, out=out)
    return EvaluationSummary(
        metrics=measures.metrics,
        per_class={card.classes[index]: values for index, values in measures.per_class.items()},
        confusion_matrix=measures.confusion,
        classes=card.classes,
        rows=len(y),
        figures=figures,
        importance=importance,
        rows_per_second=len(y) / seconds if len(y) and seconds > 0 else None,
        warnings=_warnings(measures, card, request.language),
    )


def check_belongs(folder: FeatureFolder, card: ModelCard, model: Path) -> None:
    """Refuse a model that was trained on other features than those of ``folder``.

    Raises:
        IntegrityError: feature names or classes differ.
    """
    if card.feature_names != folder.summary.feature_names or card.classes != folder.summary.classes:
        raise IntegrityError(
            f"{model} was trained on {len(card.feature_names)} features and classes {list(card.classes)}; "
            f"{folder.path} has {len(folder.summary.feature_names)} features and classes {list(folder.summary.classes)}"
        )


def _warnings(measures: Measures, card: ModelCard, language: Language) -> tuple[str, ...]:
    sentences = []
    for subject, reason in measures.left_out.items():
        kind, _, detail = subject.partition(":")
        name = card.classes[int(detail)] if kind == "class" else detail or subject
        sentences.append(WORDS[language][f"warning.{reason}"].format(name=name))
    return tuple(sentences)
