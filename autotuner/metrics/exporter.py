"""A hardware exporter's page (DCGM, node exporter) read directly."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.hardware import READERS, meters_of, of_gpus
from autotuner.metrics.http_page import PageReader


class ExporterSource:
    """Implements `domain.ports.MetricsSource`; its snapshots have gauges and energy alone.

    `exporter`: `dcgm` or `node`. `gpus`: those that count, by number or unique id; empty: all. For
    one thread at a time.
    """

    def __init__(
        self,
        exporter: str,
        url: str,
        timeout_s: float = 5.0,
        gpus: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._exporter, self._read = exporter, READERS[exporter]
        self._gpus = frozenset(gpus)
        self._reader = PageReader(url, timeout_s)
        self._clock = clock

    def snapshot(self) -> Snapshot:
        """What is on the page now.

        Raises TargetUnavailableError when there is no page, or none of that exporter.
        """
        page = self._reader.parsed(self._reader.text())
        page = of_gpus(page, self._gpus) if self._gpus else page
        gauges = self._read(page)
        if not gauges:
            of = f", of GPUs {', '.join(sorted(self._gpus))}" if self._gpus else ""
            raise TargetUnavailableError(
                f"{self._reader.url} has no metrics of the {self._exporter} exporter{of}"
            )
        return Snapshot(self._clock(), gauges=gauges, energy=meters_of(self._exporter, page))

    def close(self) -> None:
        self._reader.close()
