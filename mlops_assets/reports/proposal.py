"""The proposal comment: what was detected, what will run, what it costs, what is left out, and how to approve it."""

from __future__ import annotations

from mlops_assets.reports import facts
from mlops_assets.reports.language import has_sentence, sentence
from mlops_assets.reports.markdown import bullets, echo, paragraphs, plain, table
from mlops_assets.reports.optimizations import estimated, recommendations, similar_trainings
from mlops_assets.reports.quantities import counted, dollars, metric_name, percent, setting_value, term, threshold_text
from mlops_assets.request.frame_planning import held_out
from mlops_assets.request.optimiser.estimate import Estimate
from mlops_assets.request.plan import Plan
from mlops_assets.request.schema import Preprocessing
from mlops_assets.request.vocabulary import METRICS, Language

_CLASSES_SHOWN = 10
#: Strategies that fall back to blue/green where the plan lists them as not done.
_STRATEGIES_NOT_DONE = ("canary", "ab_test", "shadow")


def proposal_comment(
    plan: Plan, language: Language, *, approved_by: str | None, how_to_approve: str, estimate: Estimate | None = None
) -> str:
    """What a person reads before saying yes to ``plan``.

    Args:
        approved_by: who approved it, once somebody has; replaces the instructions.
        how_to_approve: Markdown in the issue's language, by the tracker that knows its own ways of approving.
        estimate: what the run is expected to take, as it stood when the plan was proposed.
    """
    if approved_by is None:
        approval = how_to_approve
    else:
        approval = sentence("sentence.approved_by", language, person=plain(approved_by, 80))
    left_out = ""
    if plan.not_done:
        header = tuple(sentence(f"label.{name}", language) for name in ("field", "asked", "instead"))
        rows = [(echo(item.field), echo(item.asked), sentence(f"not_done.{item.key}", language)) for item in plan.not_done]
        left_out = paragraphs(f"### {sentence('heading.not_done', language)}", table(header, rows))
    return paragraphs(
        f"## {sentence('heading.proposal', language)}",
        f"### {sentence('heading.detected', language)}",
        detected(plan, language),
        f"### {sentence('heading.recommended', language)}",
        recommendations(
            plan.optimizations,
            plan.request.optimization.performance_profile,
            plan.request.optimization.enabled,
            language,
        ),
        f"### {sentence('heading.will_run', language)}",
        will_run(plan, language),
        f"### {sentence('heading.hyperparameters', language)}",
        facts.hyperparameters(plan.hyperparameters, language),
        f"### {sentence('heading.cost', language)}",
        cost(plan, estimate, language),
        left_out,
        f"### {sentence('heading.identity', language)}",
        identity(plan, language),
        f"### {sentence('heading.approval', language)}",
        approval,
    )


def detected(plan: Plan, language: Language) -> str:
    """What was found in the request and in the data before anything ran."""
    found = plan.characteristics
    if found.has_frames:
        return bullets(_detected_in_frames(plan, language))
    size = sentence(
        "sentence.data_size",
        language,
        rows=counted(found.rows, "rows", language),
        columns=counted(found.columns, "columns", language),
        size=term("size", found.size_class, language),
    )
    items = [
        facts.labelled("learning_type", facts.learning_type(plan.request, language), language),
        facts.labelled("algorithm", facts.algorithm(plan.request, language), language),
        facts.labelled("data_size", size, language),
        facts.labelled("features", counted(found.features, "columns", language), language),
        facts.labelled("target", echo(found.target), language),
    ]
    items += _classes(plan, language)
    faults = sentence(
        "sentence.faults",
        language,
        cells=f"{found.missing_cells:,}",
        rows=counted(found.duplicate_rows, "rows", language),
    )
    items.append(facts.labelled("faults", faults, language))
    if found.sensitive:
        names = facts.joined([echo(name, 40) for name in found.sensitive[:_CLASSES_SHOWN]], language)
        items.append(facts.labelled("sensitive", names, language))
    return bullets(items)


def _detected_in_frames(plan: Plan, language: Language) -> list[str]:
    """Frames have parts and labelled objects where a table has columns and rows."""
    found = plan.characteristics
    size = term("size", found.size_class, language)
    size = sentence("punctuation.aside", language, text=counted(found.rows, "frames", language), aside=size)
    parts = [
        sentence("punctuation.pair", language, name=term("part", name, language), value=f"{frames:,}")
        for name, frames in found.parts.items()
    ]
    return [
        facts.labelled("learning_type", facts.learning_type(plan.request, language), language),
        facts.labelled("algorithm", facts.algorithm(plan.request, language), language),
        facts.labelled("data_size", size, language),
        facts.labelled("parts", facts.joined(parts, language), language),
        facts.labelled("predicted", term("target", found.target, language), language),
        *_classes(plan, language),
    ]


def _classes(plan: Plan, language: Language) -> list[str]:
    """Shares of the classes and whether one is rare, where there are classes."""
    found, items = plan.characteristics, []
    if found.class_counts:
        items.append(facts.labelled("class_shares", _class_shares(plan, language), language))
    if found.minority_share is not None:
        key = "unbalanced" if found.imbalanced else "balanced"
        limit = percent(found.imbalance_limit or 0.0)
        share = sentence(f"sentence.{key}", language, share=percent(found.minority_share), limit=limit)
        if found.has_frames and found.imbalanced:
            share = sentence("sentence.as_they_are", language, share=share)
        items.append(facts.labelled("class_balance", share, language))
    return items


def _class_shares(plan: Plan, language: Language) -> str:
    counts = plan.characteristics.class_counts
    total = sum(counts.values()) or 1
    largest = sorted(counts.items(), key=lambda item: -item[1])[:_CLASSES_SHOWN]
    shown = [
        sentence(
            "sentence.class_share",
            language,
            name=echo(name, 40),
            share=percent(rows / total),
            rows=counted(rows, "objects" if plan.characteristics.has_frames else "rows", language),
        )
        for name, rows in largest
    ]
    text = facts.joined(shown, language)
    left = len(counts) - len(largest)
    return sentence("sentence.and_more", language, shown=text, left=left) if left > 0 else text


def will_run(plan: Plan, language: Language) -> str:
    """The steps of the plan as a numbered list."""
    request, frames = plan.request, plan.characteristics.has_frames
    metrics = facts.joined([metric_name(name, language) for name in plan.metrics], language)
    gate = metric_name(plan.gate_metric, language)
    if request.evaluation.threshold is None:
        threshold = sentence("sentence.no_threshold", language, metric=gate)
    else:
        direction = METRICS.get(plan.gate_metric, "higher")
        limit = threshold_text(request.evaluation.threshold)
        threshold = sentence(f"sentence.threshold_{direction}", language, metric=gate, threshold=limit)
    strategy = request.deployment.strategy
    if strategy in _STRATEGIES_NOT_DONE and any(item.key == strategy for item in plan.not_done):
        strategy = "blue_green"
    environment = term("environment", request.deployment.environment, language)
    deployment = sentence("punctuation.aside", language, text=environment, aside=term("strategy", strategy, language))
    steps = {
        "dataset": sentence(
            "sentence.dataset_version", language, dataset=echo(plan.dataset_id), version=echo(plan.dataset_version)
        ),
        **_preparation(plan, language),
        "training": sentence("sentence.seed", language, algorithm=facts.algorithm(request, language), seed=request.seed),
        "evaluation": metrics,
        "threshold": threshold,
        "packaging": sentence("sentence.packaging_frames" if frames else "sentence.packaging", language),
        "resources": resources(plan, language),
        "deployment": deployment,
    }
    lines = [facts.labelled(name, text, language) for name, text in steps.items() if text]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _preparation(plan: Plan, language: Language) -> dict[str, str]:
    """The steps before the training, by their labels."""
    if plan.characteristics.has_frames:
        return frame_preparation(plan, language)
    return {"preprocessing": facts.joined(preprocessing(plan.request.preprocessing, language), language)}


def frame_preparation(plan: Plan, language: Language) -> dict[str, str]:
    """Classes, split, the size that frames are scaled to, and which augmentations are on: those listed, else the recipe."""
    chosen, classes = plan.request.preprocessing, plan.request.dataset.classes
    fractions = {"validation": percent(chosen.validation_fraction), "test": percent(chosen.test_fraction)}
    split = sentence("preprocessing.frame_split", language, **fractions)
    if chosen.split in ("random", "time"):
        split = sentence("preprocessing.split", language, split=term("split", chosen.split, language), **fractions)
    limits = {"train": plan.request.dataset.train_size, "validation": plan.request.dataset.validation_size}
    most = [
        sentence(
            "preprocessing.at_most", language, split=term("split_name", name, language), frames=counted(limit, "frames", language)
        )
        for name, limit in limits.items()
        if limit is not None and limit <= plan.characteristics.rows - held_out(chosen, plan.characteristics.rows)
    ]
    steps = {
        "classes": facts.joined([echo(name, 40) for name in classes], language),
        "split": facts.joined([split, *most], language),
    }
    if chosen.input_size:
        size = " × ".join(map(str, chosen.input_size))
        steps["input_size"] = sentence("preprocessing.input_size", language, size=size)
    if chosen.augmentation:
        names = facts.joined([term("augmentation", name, language) for name in chosen.augmentation], language)
        steps["augmentation"] = sentence("preprocessing.augmentation_listed", language, names=names)
    else:
        name = term("algorithm", plan.request.algorithm, language)
        steps["augmentation"] = sentence("preprocessing.augmentation_recipe", language, algorithm=name)
    return steps


def preprocessing(chosen: Preprocessing, language: Language) -> list[str]:
    """What cleaning and feature making will do, in the order in which it happens."""
    steps = []
    if chosen.remove_duplicates:
        steps.append(sentence("preprocessing.remove_duplicates", language))
    steps.append(sentence(f"handle_missing.{chosen.handle_missing or 'default'}", language))
    if chosen.handle_outliers != "none":
        steps.append(sentence(f"handle_outliers.{chosen.handle_outliers}", language))
    if chosen.drop_columns:
        names = facts.joined([echo(name) for name in chosen.drop_columns[:12]], language)
        steps.append(sentence("preprocessing.drop_columns", language, columns=names))
    fractions = {"validation": percent(chosen.validation_fraction), "test": percent(chosen.test_fraction)}
    steps.append(sentence("preprocessing.split", language, split=term("split", chosen.split, language), **fractions))
    steps.append(sentence(f"encoding.{chosen.encode_categorical}", language))
    steps += [sentence(f"preprocessing.{name}", language) for name in ("normalize", "standardize") if getattr(chosen, name)]
    steps += [sentence(f"derived.{name}", language) for name in chosen.feature_engineering]
    if chosen.feature_selection != "none":
        steps.append(sentence(f"selection.{chosen.feature_selection}", language))
    if chosen.max_features is not None:
        most = counted(chosen.max_features, "features", language)
        steps.append(sentence("preprocessing.max_features", language, features=most))
    if chosen.resample != "none":
        steps.append(sentence(f"preprocessing.resample_{chosen.resample}", language))
    return steps


def resources(plan: Plan, language: Language) -> str:
    """Compute kind, instance type and processors; a name that the catalogue lacks is echoed with its value."""
    pairs = []
    for name, value in plan.resources.items():
        if value is None:
            continue
        label = sentence(f"resource.{name}", language) if has_sentence(f"resource.{name}") else echo(name, 40)
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = f"{value:,}"
        elif isinstance(value, str) and has_sentence(f"compute.{value}"):
            shown = sentence(f"compute.{value}", language)
        else:
            shown = setting_value(value)
        pairs.append(sentence("punctuation.pair", language, name=label, value=shown))
    return facts.joined(pairs, language)


def cost(plan: Plan, expected: Estimate | None, language: Language) -> str:
    """Expected time, cost and score with their basis, the cap in US dollars, and the similar trainings behind them."""
    cap = plan.cost_cap_usd
    capped = sentence("sentence.no_cap", language) if cap is None else sentence("sentence.cap", language, amount=dollars(cap))
    items = [*estimated(expected, plan.gate_metric, language), facts.labelled("cap", capped, language)]
    past = similar_trainings(expected.similar, language) if expected is not None else ""
    heading = f"**{sentence('sentence.similar', language)}**" if expected is not None and expected.similar else ""
    return paragraphs(bullets(items), heading, past)


def identity(plan: Plan, language: Language) -> str:
    """The digest that is approved, and the versions in it."""
    items = [
        facts.labelled("plan_digest", echo(plan.digest), language),
        facts.labelled("data_version", echo(plan.dataset_version), language),
        facts.labelled("code_version", echo(plan.code_version), language),
    ]
    return paragraphs(bullets(items), sentence("sentence.digest_promise", language))
