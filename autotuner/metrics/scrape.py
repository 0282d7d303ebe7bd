"""Reading a metrics page over HTTP: the direct source, with no Prometheus server in between."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.canonical import Recognised, recognise
from autotuner.metrics.samples import parse_page


class PrometheusTextSource:
    """Implements `domain.ports.MetricsSource` over the target's own `/metrics`.

    For one thread at a time. `family` tells which server's names were seen at the last snapshot.
    """

    def __init__(
        self, url: str, timeout_s: float = 5.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = url if url.rstrip("/").endswith("/metrics") else f"{url.rstrip('/')}/metrics"
        self._timeout_s = timeout_s
        self._clock = clock
        self._session = requests.Session()
        self._session.trust_env = False  # a target is reached directly, whatever proxy is set
        self.family: str | None = None

    def snapshot(self) -> Snapshot:
        """One scrape in canonical names, stamped with the clock when the page had arrived.

        Raises TargetUnavailableError when there is no page, or none that we know.
        """
        text = self._fetch()
        at = self._clock()
        found = self._recognise(text)
        self.family = found.family
        return found.at(at)

    def close(self) -> None:
        self._session.close()

    def _fetch(self) -> str:
        try:
            response = self._session.get(self._url, timeout=self._timeout_s, allow_redirects=False)
            response.encoding = "utf-8"
            text = response.text
        except requests.RequestException as error:
            raise TargetUnavailableError(f"no metrics from {self._url}: {error}") from error
        if response.status_code != requests.codes.ok:
            raise TargetUnavailableError(
                f"no metrics from {self._url}: it answered {response.status_code}"
            )
        return text

    def _recognise(self, text: str) -> Recognised:
        try:
            found = recognise(parse_page(text))
        except (ValueError, KeyError) as error:
            raise TargetUnavailableError(
                f"{self._url} is not a Prometheus metrics page: {error}"
            ) from error
        if found.family is None:
            raise TargetUnavailableError(
                f"{self._url} has no metrics of the worker, vLLM or SGLang (SGLang gives them "
                "with --enable-metrics; vLLM unless --disable-log-stats is set)"
            )
        return found
