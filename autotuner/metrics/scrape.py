"""Reading a server's own metrics page: the direct source, with no Prometheus server in between."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.behind import Behind
from autotuner.metrics.canonical import Recognised, recognise
from autotuner.metrics.http_page import PageReader
from autotuner.metrics.samples import Page

log = structlog.get_logger()


class PrometheusTextSource:
    """Implements `domain.ports.MetricsSource` over the target's own `/metrics`.

    For one thread at a time. `seen` tells how the last page was read: whose names, which of them
    are old ones, and what is missing.
    """

    def __init__(
        self, url: str, timeout_s: float = 5.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._reader = PageReader(url, timeout_s)
        self._clock = clock
        self._behind = Behind()
        self.seen = Recognised(None)

    @property
    def family(self) -> str | None:
        """The server whose names were seen at the last snapshot."""
        return self.seen.family

    def snapshot(self) -> Snapshot:
        """One scrape in canonical names, stamped with the clock when the page had arrived.

        Raises TargetUnavailableError when there is no page, or none that we know.
        """
        text = self._reader.text()
        at = self._clock()
        before, self.seen = self.seen, recognised(self._reader.parsed(text), self._reader.url)
        tell_changes(before, self.seen, self._reader.url)
        return self._behind.snapshot(self.seen, at)

    def close(self) -> None:
        self._reader.close()


def recognised(page: Page, where: str) -> Recognised:
    """The page in canonical names; raises TargetUnavailableError naming `where` and the fix."""
    try:
        found = recognise(page)
    except (ValueError, KeyError) as error:
        raise TargetUnavailableError(f"{where}: not a server's metrics: {error}") from error
    if found.family is None:
        raise TargetUnavailableError(
            f"{where} has no metrics of the worker, the proxy, vLLM or SGLang (SGLang gives them "
            "with --enable-metrics; vLLM unless --disable-log-stats is set)"
        )
    return found


def tell_changes(before: Recognised, now: Recognised, where: str) -> None:
    """Logs whose names are read, which are old ones and what is missing, when that changes."""
    for one, earlier in ((now, before), (now.behind, before.behind)):
        if one is not None and _names(one) != _names(earlier):
            log.info(
                "metrics.read",
                source=where,
                family=one.family,
                renamed=dict(one.renamed),
                missing=list(one.missing),
            )


def _names(seen: Recognised | None) -> tuple[object, ...]:
    return () if seen is None else (seen.family, seen.renamed, seen.missing)
