"""Which column plays which part."""

from __future__ import annotations

from typing import Any

from mlops_assets.data.dataset import Column, PreparedDataset
from mlops_assets.request.schema import Preprocessing
from mlops_assets.tasks.tabular.roles import Roles, assign_roles

ALL = ("n", "c", "user", "t", "y")


def roles(kinds: dict[str, str], ignored: dict[str, str], options: dict[str, Any], **catalogue: Any) -> Roles:
    columns = tuple(Column.model_validate({"name": n, "kind": k, "missing": 0, "distinct": 2}) for n, k in kinds.items())
    prepared = PreparedDataset(
        dataset_id="d", version="v", target="y", positive_class=None, columns=columns, ignored=ignored, sensitive=(),
        timestamp=catalogue.get("timestamp"), entity=catalogue.get("entity"), rows={}, removed={}, split="random", seed=0,
        target_counts={}, checks=(), digest="",
    )  # fmt: skip
    return assign_roles(prepared, Preprocessing(**options), ALL)


BOTH = {"feature_engineering": ("time_features", "aggregate_by_user")}


def test_a_numbered_entity_is_a_name_and_not_a_quantity() -> None:
    found = roles({"n": "number", "user": "number"}, {}, BOTH, entity="user")
    assert (found.numbers, found.entity, found.dropped) == (["n"], "user", {"user": "entity"})
    assert roles({"n": "number", "user": "number"}, {}, {}, entity="user").numbers == ["n", "user"]


def test_a_categorical_entity_stays_a_feature_too() -> None:
    found = roles({"n": "number", "user": "category"}, {}, BOTH, entity="user")
    assert (found.categories, found.entity) == (["user"], "user")


def test_a_declared_timestamp_is_read_although_ignored_but_not_when_the_issue_drops_it() -> None:
    assert roles({"n": "number"}, {"t": "timestamp"}, BOTH, timestamp="t").timestamps == ["t"]
    dropped = roles({"n": "number"}, {"t": "drop_columns"}, BOTH, timestamp="t")
    assert dropped.timestamps == []
    assert "time_features_without_timestamp" in dropped.warnings


def test_the_issue_wins_over_the_catalogue_and_a_stale_catalogue_name_is_no_error() -> None:
    options = BOTH | {"entity_column": "c"}
    assert roles({"n": "number", "c": "category"}, {}, options, entity="user").entity == "c"
    stale = roles({"n": "number"}, {}, BOTH, entity="gone", timestamp="gone too")
    assert (stale.entity, stale.timestamps) == (None, [])
    assert stale.warnings == ["aggregate_without_entity", "time_features_without_timestamp"]


def test_identifiers_are_left_out_and_both_scalings_are_noted() -> None:
    found = roles({"n": "number", "c": "identifier"}, {}, {"normalize": True, "standardize": True})
    assert found.dropped == {"c": "identifier"}
    assert found.warnings == ["standardize_supersedes_normalize"]
