from prometheus_client import CollectorRegistry

from autotuner.worker.fleet_metrics import FleetMetrics
from autotuner.worker.metric_maker import MetricMaker
from tests.unit.worker_front.fake_links import step_of


def test_what_the_fleet_tells_is_counted() -> None:
    registry = CollectorRegistry()
    metrics = FleetMetrics(MetricMaker(registry, "m"))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"worker:{name}", {"model_name": "m", **labels})

    assert value("rebuilds_total", outcome="failed") == 0
    metrics.replicas(2)
    metrics.rebuilt("switched", 2.5)
    metrics.rebuilt("failed", 300.0)
    metrics.step(step_of(prefix_queries=40, prefix_hits=32))
    assert value("engine_replicas") == 2
    assert value("rebuilds_total", outcome="switched") == 1
    assert value("rebuilds_total", outcome="failed") == 1
    assert (value("rebuild_seconds_count"), value("rebuild_seconds_sum")) == (1, 2.5)
    assert value("prefix_cache_queries_total") == 40
    assert value("prefix_cache_hits_total") == 32
