"""The dated price table of training instances. How long a training will take is in ``optimiser.estimate``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from pydantic import Field

from mlops_assets.request.schema import Frozen

#: The instance type of training on this machine's own processors.
LOCAL = "local"


class InstancePrice(Frozen):
    """What one hour of one instance costs, and where the number was read."""

    usd_per_hour: float = Field(ge=0)
    gpu: bool
    source: str


class PriceTable(Frozen):
    """On-demand prices of one region on one day."""

    date: str
    region: str
    currency: str
    sources: dict[str, str]
    instances: dict[str, InstancePrice]

    def cost(self, instance_type: str, seconds: float) -> float | None:
        """US dollars for ``seconds`` on one instance (hours x price); None for a type that the table lacks."""
        price = self.instances.get(instance_type)
        return None if price is None else seconds / 3600 * price.usd_per_hour

    def cheapest(self, *, gpu: bool, at_least_usd: float = 0.0) -> str:
        """The cheapest instance of SageMaker with or without a GPU that costs at least ``at_least_usd`` an hour."""
        suitable = {
            name: price.usd_per_hour
            for name, price in self.instances.items()
            if name != LOCAL and price.gpu is gpu and price.usd_per_hour >= at_least_usd
        }
        return min(suitable, key=lambda name: (suitable[name], name))


@cache
def price_table() -> PriceTable:
    """The table that ships with this release; read on first use."""
    text = resources.files("mlops_assets.request").joinpath("prices.toml").read_text(encoding="utf-8")
    return PriceTable.model_validate(tomllib.loads(text))


def instance_types() -> tuple[str, ...]:
    """Names of the SageMaker instances that have a price, in the order of the table."""
    return tuple(name for name in price_table().instances if name != LOCAL)
