"""A synthetic customer table whose ground truth is known: for tests and demonstrations where no real data is at hand.

Only generation; nothing here reads or judges data. The same arguments give the same table on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas

#: Columns that the targets depend on; all others are noise, keys or copies.
INFORMATIVE: Final = ("tenure_months", "monthly_charge", "contract", "support_calls")
DUPLICATE_SHARE: Final = 0.02
MISSING_SHARES: Final = {"income": 0.08, "region": 0.03}
CHURN_SHARE: Final = 0.12


def simulate_customers(rows: int, seed: int) -> pandas.DataFrame:
    """``rows`` events of customers, the last 2 % of which repeat earlier rows exactly.

    Columns: ``event_id`` (text, unique but for the repeated rows), ``user_id`` (about 5 rows a user), ``signed_up_at``
    (ISO 8601, 2024, ascending), ``tenure_months``, ``monthly_charge``, ``income`` (8 % missing), ``support_calls``,
    ``contract``, ``region`` (3 % missing), ``plan_code`` (constant), ``churned`` (yes in about 12 %) and ``lifetime_value``.

    Ground truth: log-odds of churn rise with ``support_calls`` and ``monthly_charge``, fall with ``tenure_months`` and with
    longer contracts, shifted so that 12 % churn; ``lifetime_value`` is ``monthly_charge`` x (``tenure_months`` + 6) with
    normal noise of deviation 20.

    Raises:
        ValueError: fewer than 10 rows.
    """
    import numpy
    import pandas

    if rows < 10:
        raise ValueError(f"rows is {rows}: at least 10 are needed")
    random = numpy.random.default_rng(seed)
    repeated = int(rows * DUPLICATE_SHARE)
    count = rows - repeated
    tenure = random.integers(1, 73, count)
    charge = numpy.round(random.uniform(20, 120, count), 2)
    calls = random.poisson(1.5, count)
    contract = random.choice(["month-to-month", "one year", "two year"], count, p=[0.55, 0.25, 0.2])
    log_odds = 0.9 * calls + 0.03 * charge - 0.06 * tenure - 1.5 * (contract == "one year") - 3.0 * (contract == "two year")
    log_odds = log_odds + random.logistic(0, 0.5, count)
    threshold = numpy.quantile(log_odds, 1 - CHURN_SHARE)
    income = numpy.round(random.lognormal(10.5, 0.5, count), 0)
    income[random.random(count) < MISSING_SHARES["income"]] = numpy.nan
    region = random.choice(["Tokyo", "Osaka", "名古屋", "Sapporo"], count).astype(object)
    region[random.random(count) < MISSING_SHARES["region"]] = None
    seconds = numpy.sort(random.integers(0, 366 * 86_400, count))
    frame = pandas.DataFrame(
        {
            "event_id": [f"e-{seed}-{number:08d}" for number in range(count)],
            "user_id": random.integers(1, max(2, count // 5), count),
            "signed_up_at": (pandas.Timestamp("2024-01-01") + pandas.to_timedelta(seconds, unit="s")).strftime(
                "%Y-%m-%dT%H:%M:%S"
            ),
            "tenure_months": tenure,
            "monthly_charge": charge,
            "income": income,
            "support_calls": calls,
            "contract": contract,
            "region": region,
            "plan_code": "standard",
            "churned": numpy.where(log_odds > threshold, "yes", "no"),
            "lifetime_value": numpy.round(charge * (tenure + 6) + random.normal(0, 20, count), 2),
        }
    )
    copies = frame.iloc[random.choice(count, repeated, replace=False)]
    return pandas.concat([frame, copies], ignore_index=True)
