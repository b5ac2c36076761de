"""Readings: the Prometheus registry, read as OTLP metrics, so that both tell the same figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

_Labels = tuple[tuple[str, str], ...]
_CUMULATIVE = AggregationTemporality.CUMULATIVE


def readings(registry: CollectorRegistry, resource: Resource, began: int, now: int) -> MetricsData:
    """All that a registry holds; what OTLP has no kind for is left out.

    Args:
        registry: Prometheus'.
        resource: whose they are.
        began: since when counters count, in nanoseconds of Unix time.
        now: likewise, of the reading.
    """
    metrics = [metric for family in registry.collect() if (metric := _metric(family, began, now)) is not None]
    scope = ScopeMetrics(InstrumentationScope("threadline"), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Family, began: int, now: int) -> Metric | None:
    data: Sum | Gauge | Histogram
    match family.type:
        case "counter":
            points = _numbers(family, f"{family.name}_total", began, now)
            data = Sum(points, _CUMULATIVE, is_monotonic=True)
        case "gauge":
            data = Gauge(_numbers(family, family.name, began, now))
        case "histogram":
            data = Histogram(list(_histograms(family, began, now)), _CUMULATIVE)
        case _:
            return None
    if not data.data_points:
        return None
    return Metric(family.name, family.documentation, "s" if "_seconds" in family.name else "1", data)


def _numbers(family: Family, name: str, began: int, now: int) -> list[NumberDataPoint]:
    return [NumberDataPoint(each.labels, began, now, each.value) for each in family.samples if each.name == name]


def _histograms(family: Family, began: int, now: int) -> Iterator[HistogramDataPoint]:
    grouped: dict[_Labels, list[Sample]] = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        grouped.setdefault(labels, []).append(sample)
    for labels, samples in grouped.items():
        yield _histogram(family.name, dict(labels), samples, began, now)


def _histogram(
    name: str, labels: Mapping[str, Any], samples: Sequence[Sample], began: int, now: int
) -> HistogramDataPoint:
    """Prometheus' buckets count all that is below their bound, OTLP's only what the one below has not."""
    totals = {float(each.labels["le"]): each.value for each in samples if each.name == f"{name}_bucket"}
    bounds = sorted(totals)
    counts = [int(totals[bound] - (totals[bounds[at - 1]] if at else 0)) for at, bound in enumerate(bounds)]
    total = next(each.value for each in samples if each.name == f"{name}_sum")
    return HistogramDataPoint(
        attributes=labels,
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=sum(counts),
        sum=total,
        bucket_counts=counts,
        explicit_bounds=bounds[:-1],
        # Prometheus does not know them, and OTLP does not need them: None is left out on the wire.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )
