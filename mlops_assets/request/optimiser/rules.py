"""What a rule is, and ``optimise``: every installed rule asked once, and the request that results.

A rule is a small object behind the entry point group ``mlops.optimisation_rules``, so that any installed distribution can
bring its own. Pure: a rule sees facts and answers with data. What a person wrote always wins over what a rule proposes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

from pydantic import JsonValue, ValidationError

from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.errors import UserError
from mlops_assets.request.optimiser.models import (
    OPTIMIZATION_PHASES,
    Optimization,
    OptimizationPhase,
    Recommendation,
    Source,
)
from mlops_assets.request.optimiser.profiles import PROFILES, Profile
from mlops_assets.request.plan import Characteristics
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import Algorithm

GROUP: Final = "mlops.optimisation_rules"


@dataclass(frozen=True)
class Scaled:
    """A knob that the performance profile sets."""

    knob: str
    default: int
    count: int


@dataclass(frozen=True)
class Facts:
    """Everything that a rule may look at."""

    request: TrainingRequest
    characteristics: Characteristics
    algorithm: Algorithm
    version: DatasetVersion
    resources: Mapping[str, JsonValue]

    @property
    def profile(self) -> Profile:
        """How much work the request's performance profile spends."""
        return PROFILES[self.request.optimization.performance_profile]

    def was_set(self, hyperparameter: str) -> bool:
        """Whether the person gave this knob a value, by its own name or by another."""
        knobs = (self.algorithm.hyperparameter(name) for name in self.request.hyperparameters)
        return hyperparameter in self.request.hyperparameters or any(k is not None and k.name == hyperparameter for k in knobs)

    def by_profile(self, hyperparameter: str) -> Scaled | None:
        """What the profile makes of a count of trees or epochs, within its range; None where a person set it, or as it is."""
        knob = self.algorithm.hyperparameter(hyperparameter)
        if knob is None or not isinstance(knob.default, int) or self.was_set(knob.name):
            return None
        count = round(knob.default * self.profile.tree_factor)
        count = max(int(knob.minimum or 1), min(count, int(knob.maximum or count)))
        return None if count == knob.default else Scaled(knob.name, knob.default, count)


class Rule(Protocol):
    """One recommendation.

    Attributes:
        name: unique; of two rules with one name the built-in one stands.
        requirement: what it implements, e.g. ``FR-035``.
        setting: the custom optimisation (``phase1_preprocessing.class_imbalance_handling``) that replaces the rule where a person
            sets it; None where there is none.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above, as the others
    @property
    def requirement(self) -> str: ...  # noqa: D102
    @property
    def phase(self) -> OptimizationPhase: ...  # noqa: D102
    @property
    def source(self) -> Source: ...  # noqa: D102
    @property
    def setting(self) -> str | None: ...  # noqa: D102

    def propose(self, facts: Facts) -> Recommendation | None:
        """The recommendation for these facts; None where the rule has nothing to say."""
        ...


@cache
def installed_rules() -> tuple[Rule, ...]:
    """The built-in rules and those of every installed distribution, in the order of phases, then of names.

    The built-in rules are there whatever the installed metadata says: that of an editable installation can be older than
    the code, and a rule that is missing would be missed by nobody.
    """
    from importlib.metadata import entry_points

    from mlops_assets.request.optimiser.built_in import RULES

    rules: dict[str, Rule] = {rule.name: rule for rule in RULES}
    for point in entry_points(group=GROUP):
        for rule in point.load():
            rules.setdefault(rule.name, rule)
    return tuple(sorted(rules.values(), key=lambda rule: (OPTIMIZATION_PHASES.index(rule.phase), rule.name)))


def optimise(facts: Facts, rules: Sequence[Rule] | None = None) -> tuple[TrainingRequest, tuple[Optimization, ...]]:
    """The effective request, and what was applied or recommended, in the order of phases.

    With ``workflow_optimization.enabled: false`` no rule is asked; what a person set by hand in ``custom_optimizations`` holds
    all the same. A change that would overrule what a person wrote is dropped, and with it a recommendation that has no other
    change; of two rules for one field the first in order stands.

    Raises:
        UserError: a rule proposes a field or a value that a request cannot have.
    """
    from mlops_assets.request.optimiser.custom import chosen_settings, custom_optimizations

    request = facts.request
    made = list(custom_optimizations(request))
    if request.optimization.enabled:
        by_hand = chosen_settings(request.optimization.custom_optimizations)
        taken = {field for optimization in made for field in optimization.changes}
        for rule in installed_rules() if rules is None else rules:
            if rule.setting in by_hand:
                continue
            proposed = _allowed(rule.propose(facts), facts, taken)
            if proposed is None:
                continue
            if proposed.carried_out:
                taken |= proposed.changes.keys()
            about = {"rule": rule.name, "requirement": rule.requirement, "phase": rule.phase, "source": rule.source}
            made.append(Optimization.model_validate({**proposed.model_dump(), **about}))
    made.sort(key=lambda optimization: OPTIMIZATION_PHASES.index(optimization.phase))
    return carry_out(request, made), tuple(made)


def _allowed(proposed: Recommendation | None, facts: Facts, taken: set[str]) -> Recommendation | None:
    """The recommendation without the changes that are not a rule's to make; None where none would be left."""
    if proposed is None or not proposed.carried_out or not proposed.changes:
        return proposed
    kept = {field: value for field, value in proposed.changes.items() if field not in taken and _is_free(field, value, facts)}
    return proposed.model_copy(update={"changes": kept}) if kept else None


def _is_free(field: str, value: JsonValue, facts: Facts) -> bool:
    """Whether the person left the field to the platform: a knob without a value, a list that only grows, a default."""
    section, _, name = field.partition(".")
    if section == "hyperparameters":
        return not facts.was_set(name)
    present, default = _value_of(facts.request, field), _default_of(field)
    if isinstance(present, tuple) and present and isinstance(value, list):
        return list(present) == value[: len(present)]
    return bool(present == default)


def _value_of(request: TrainingRequest, field: str) -> Any:
    value: Any = request
    for name in field.split("."):
        value = getattr(value, name, None)
    return value


def _default_of(field: str) -> Any:
    model: Any = TrainingRequest
    *parents, last = field.split(".")
    for name in parents:
        fields = getattr(model, "model_fields", {})
        model = type(fields[name].default) if name in fields else None
    fields = getattr(model, "model_fields", {})
    return fields[last].default if last in fields else None


def carry_out(request: TrainingRequest, optimizations: Iterable[Optimization]) -> TrainingRequest:
    """The request with the changes of every optimisation that is carried out; carrying them out again changes nothing.

    Raises:
        UserError: a change names a field or a value that a request cannot have.
    """
    for optimization in optimizations:
        if not optimization.carried_out or not optimization.changes:
            continue
        try:
            request = with_fields(request, optimization.changes)
        except (KeyError, TypeError, ValidationError) as error:
            raise UserError(
                "an optimisation rule proposes what a request cannot have",
                field=optimization.rule,
                given=str(dict(optimization.changes)),
                next_step="mend or remove the installed rule of that name",
            ) from error
    return request


def with_fields(request: TrainingRequest, values: Mapping[str, JsonValue]) -> TrainingRequest:
    """The request with dotted fields set.

    Raises:
        KeyError: a section of that name does not exist.
        ValidationError: a field cannot have its value.
    """
    if not values:
        return request
    content = request.model_dump(mode="json")
    for field, value in values.items():
        _put(content, field, value)
    return TrainingRequest.model_validate(content)


def _put(content: dict[str, Any], field: str, value: JsonValue) -> None:
    """Set a dotted field in the JSON form of a request.

    Raises:
        KeyError: a section of that name does not exist.
    """
    *parents, last = field.split(".")
    place = content
    for name in parents:
        place = place[name]
    place[last] = value
