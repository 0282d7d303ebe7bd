"""A server's and its hardware's metrics through a Prometheus server, with their true times."""

from __future__ import annotations

import math
from collections.abc import Iterable

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.behind import Behind
from autotuner.metrics.canonical import Recognised
from autotuner.metrics.families import FAMILIES
from autotuner.metrics.hardware import READERS, WANTED, meters_of
from autotuner.metrics.promql import PromQL, Series
from autotuner.metrics.samples import Page, Sample
from autotuner.metrics.scrape import recognised, tell_changes

_SERVERS = "|".join(f"{family.prefix}.+" for family in FAMILIES) + "|process_start_time_seconds"


class PrometheusServerSource:
    """Implements `domain.ports.MetricsSource`: one replica's metrics as Prometheus scraped them.

    `selector`: the label matchers of that replica, such as `job="llm", instance="a:8000"`. The
    last scrape within `max_age_s` counts, at its own time: between two scrapes the same snapshot
    comes again, and a server that Prometheus can't reach is an error and not an old page.
    For one thread at a time.
    """

    def __init__(
        self,
        server: PromQL,
        selector: str,
        max_age_s: float = 60.0,
    ) -> None:
        self._server, self._selector, self._max_age_s = server, selector, max_age_s
        self._behind = Behind()
        self.seen = Recognised(None)

    def snapshot(self) -> Snapshot:
        """The newest scrape in canonical names.

        Raises TargetUnavailableError when Prometheus does not answer or has nothing that young,
        or nothing that we know; TargetError when it refuses the selector.
        """
        where = f"{self._server.url} with {{{self._selector}}}"
        found = _raw(self._server, _SERVERS, self._selector, self._max_age_s)
        if not found:
            raise TargetUnavailableError(
                f"{where}: no scrape of the last {self._max_age_s:.0f} s: check that Prometheus "
                "scrapes the server, and the selector"
            )
        _refuse_several(found, where)
        at = max(series.points[-1][0] for series in found)
        # All samples of one scrape carry one time; a series that ended has an older one.
        page = _page(series for series in found if series.points[-1][0] == at)
        before, self.seen = self.seen, recognised(page, where)
        tell_changes(before, self.seen, where)
        return self._behind.snapshot(self.seen, at)


class PrometheusHardwareSource:
    """Gauges and energy on an exporter's pages as Prometheus scraped them, and nothing else.

    Implements `domain.ports.MetricsSource`. `exporter`: `dcgm` or `node`. Several hosts' GPUs may
    match the selector; of node exporters one host's only.
    """

    def __init__(
        self,
        server: PromQL,
        exporter: str,
        selector: str,
        max_age_s: float = 60.0,
    ) -> None:
        self._server, self._exporter, self._selector = server, exporter, selector
        self._max_age_s = max_age_s

    def snapshot(self) -> Snapshot:
        """The newest value of each gauge; raises as `PrometheusServerSource` does."""
        where = f"{self._server.url} with {{{self._selector}}}"
        wanted = WANTED[self._exporter]
        found = _raw(self._server, wanted, self._selector, self._max_age_s)
        if self._exporter == "node":
            _refuse_several(found, where)
        page = _page(found)
        gauges = READERS[self._exporter](page)
        if not gauges:
            raise TargetUnavailableError(
                f"{where}: no {self._exporter} exporter's scrape of the last "
                f"{self._max_age_s:.0f} s: check the selector"
            )
        at = max(series.points[-1][0] for series in found)
        return Snapshot(at, gauges=gauges, energy=meters_of(self._exporter, page))


class QuerySource:
    """One figure that a PromQL query gives, such as the business' accuracy, as the gauge `name`.

    Implements `domain.ports.MetricsSource`. Where the query gives no number now, it is absent.
    """

    def __init__(self, server: PromQL, name: str, query: str) -> None:
        self._server, self._name, self._query = server, name, query

    def snapshot(self) -> Snapshot:
        """The query's value now, with the time it was computed for.

        Raises TargetUnavailableError when Prometheus does not answer, or the query gives several
        series; TargetError when it is refused.
        """
        found = self._server.instant(self._query)
        if len(found) > 1:
            raise TargetUnavailableError(
                f"{self._name}: {self._query!r} gives {len(found)} series: make it one number, "
                "such as with sum() or avg()"
            )
        at, value = found[0].points[-1] if found else (math.nan, math.nan)
        return Snapshot(at, gauges={self._name: value} if math.isfinite(value) else {})


def _raw(server: PromQL, names: str, selector: str, age_s: float) -> tuple[Series, ...]:
    """The raw points of the last `age_s` seconds by Prometheus' clock.

    A range selector, since it alone tells the times of the scrapes.
    """
    window = f"{max(1, round(age_s * 1000))}ms"
    return server.instant(f'{{__name__=~"{names}", {selector}}}[{window}]')


def _page(found: Iterable[Series]) -> Page:
    page: dict[str, list[Sample]] = {}
    for series in found:
        labels = {k: v for k, v in series.labels.items() if k != "__name__"}
        name = series.labels.get("__name__", "")
        page.setdefault(name, []).append(Sample(name, labels, series.points[-1][1]))
    return {name: tuple(samples) for name, samples in page.items()}


def _refuse_several(found: Iterable[Series], where: str) -> None:
    """Scrapes of several servers have several times and restarts: one source each."""
    places = {(s.labels.get("job", ""), s.labels.get("instance", "")) for s in found}
    if len(places) > 1:
        named = ", ".join(f'job="{job}", instance="{instance}"' for job, instance in sorted(places))
        raise TargetUnavailableError(
            f"{where} matches several servers ({named}): give one selector per replica"
        )
