"""The simulated customer table: reproducible, with the traps and the truth that it promises."""

from __future__ import annotations

import pandas
import pytest

from sim.tabular import CHURN_SHARE, INFORMATIVE, simulate_customers


def test_same_seed_same_table_and_another_seed_another() -> None:
    pandas.testing.assert_frame_equal(simulate_customers(300, 1), simulate_customers(300, 1))
    assert not simulate_customers(300, 1).equals(simulate_customers(300, 2))


def test_traps_are_there_in_the_promised_amount() -> None:
    table = simulate_customers(5000, 3)
    assert table.shape == (5000, 12)
    assert int(table.duplicated().sum()) == 100
    assert table["income"].isna().mean() == pytest.approx(0.08, abs=0.015)
    assert (table["churned"] == "yes").mean() == pytest.approx(CHURN_SHARE, abs=0.01)
    assert table["signed_up_at"].iloc[:4900].is_monotonic_increasing
    assert 3 < len(table) / table["user_id"].nunique() < 7


def test_truth_can_be_learned_from_the_informative_columns_only() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    table = pandas.get_dummies(
        simulate_customers(4000, 5).drop(columns=["event_id", "signed_up_at", "lifetime_value"]), columns=["contract", "region"]
    )
    y = (table.pop("churned") == "yes").to_numpy()
    informative = [c for c in table if c.startswith(INFORMATIVE)]
    noise = [c for c in table if c not in informative and c != "plan_code"]
    scores = {}
    for name, columns in (("informative", informative), ("noise", noise)):
        x = table[columns].fillna(0).to_numpy()
        model = RandomForestClassifier(50, min_samples_leaf=5, random_state=0).fit(x[:2500], y[:2500])
        scores[name] = roc_auc_score(y[2500:3900], model.predict_proba(x[2500:3900])[:, 1])
    assert scores["informative"] > 0.9
    assert scores["noise"] < 0.6


def test_too_small_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        simulate_customers(5, 0)
