"""What the server counts, in Prometheus' words: requests, latency, rows, predictions, drift, and which model is active.

Counting only; the numbers are read by whoever scrapes ``/metrics``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from mlops_assets.serving.answering import Answer
    from mlops_assets.serving.model import LoadedModel

CONTENT_TYPE = CONTENT_TYPE_LATEST
_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ServingMetrics:
    """The metrics of one server process. Children with labels are looked up once, because look-ups cost more than counting."""

    def __init__(self, environment: str = "") -> None:
        # Without this every counter brings a second series with the time it was made, which nobody scrapes for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._environment = environment
        self._requests = Counter("mlops_serving_requests_total", "Answered requests", ("route", "code"), registry=self.registry)
        self._latency = Histogram(
            "mlops_serving_latency_seconds",
            "Time in the server for one /invocations request, by status: a refusal is answered in no time",
            ("code",),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._rows = Counter("mlops_serving_rows_total", "Rows predicted", registry=self.registry)
        self._predictions = Counter(
            "mlops_serving_predictions_total", "Predictions by class", ("version", "label"), registry=self.registry
        )
        self._info = Gauge(
            "mlops_serving_model_info",
            "1 for the model version that answers",
            ("model_id", "version", "environment", "digest"),
            registry=self.registry,
        )
        self._switches = Counter("mlops_serving_switches_total", "Changes of the active model version", registry=self.registry)
        self._by_code: dict[tuple[str, int], Counter] = {}
        self._latency_of: dict[int, Histogram] = {}
        self._by_class: dict[str, tuple[Counter, ...]] = {}
        self._drift = _DriftCollector()
        self.registry.register(self._drift)

    def request(self, route: str, code: int) -> None:
        """Count one answered request."""
        counter = self._by_code.get((route, code))
        if counter is None:
            counter = self._by_code[(route, code)] = self._requests.labels(route, str(code))
        counter.inc()

    def invocation(self, code: int, seconds: float) -> None:
        """Count one answered /invocations request and the time it took."""
        self.request("/invocations", code)
        latency = self._latency_of.get(code)
        if latency is None:
            latency = self._latency_of[code] = self._latency.labels(str(code))
        latency.observe(seconds)

    def predicted(self, model: LoadedModel, answer: Answer) -> None:
        """Count the rows and classes of one answer, and what its frames showed."""
        self._rows.inc(answer.rows)
        if answer.observed:
            model.drift.observe(answer.observed)
        if answer.labels is None:
            return
        counters = self._by_class.get(model.digest)
        if counters is None:
            counters = tuple(self._predictions.labels(model.version, label) for label in model.classes)
            self._by_class[model.digest] = counters
        if len(answer.labels) == 1:
            counters[int(answer.labels[0])].inc()
            return
        for index, count in enumerate(np.bincount(answer.labels, minlength=len(counters)).tolist()):
            if count:
                counters[index].inc(count)

    def active(self, model: LoadedModel | None) -> None:
        """Tell which model answers from now on."""
        self._info.clear()
        self._switches.inc()
        self._drift.model = model
        if model is not None:
            model.drift.reset()
            self._info.labels(model.metadata.model_id, model.version, self._environment, model.digest).set(1)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class _DriftCollector(Collector):
    """Makes the drift of the active model into metrics when somebody asks, so that requests do not pay for it."""

    def __init__(self) -> None:
        self.model: LoadedModel | None = None

    def collect(self) -> Iterator[Metric]:
        """One histogram and one gauge with the quantity as a label."""
        model = self.model
        counts = HistogramMetricFamily(
            "mlops_serving_drift_values",
            "Values of a watched quantity since the version became active, between the edges of its training distribution",
            labels=("version", "quantity"),
        )
        index = GaugeMetricFamily(
            "mlops_serving_drift_psi",
            "Population stability index of the latest frames against training; by convention 0.1 moderate, 0.25 major",
            labels=("version", "quantity"),
        )
        window = GaugeMetricFamily("mlops_serving_drift_window_frames", "Frames that the index compares", labels=("version",))
        if model is not None:
            figures = model.drift.figures()
            for quantity, psi, buckets, total in figures:
                counts.add_metric((model.version, quantity), buckets=buckets, sum_value=total)
                if psi is not None:
                    index.add_metric((model.version, quantity), psi)
            if figures:
                window.add_metric((model.version,), model.drift.window_frames)
        yield from (counts, index, window)
