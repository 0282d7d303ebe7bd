"""One metrics page over HTTP as samples. Knows nothing of what they mean."""

from __future__ import annotations

import requests

from autotuner.bounded import read_body
from autotuner.domain.errors import TargetUnavailableError
from autotuner.metrics.samples import Page, parse_page


class PageReader:
    """Reads `URL/metrics` (or the URL itself where it ends so). For one thread at a time."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url if url.rstrip("/").endswith("/metrics") else f"{url.rstrip('/')}/metrics"
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False  # an exporter is reached directly, whatever proxy is set

    def text(self) -> str:
        """The page as it came; raises TargetUnavailableError when there is none."""
        try:
            response = self._session.get(
                self.url, timeout=self._timeout_s, allow_redirects=False, stream=True
            )
            text = read_body(response, self._timeout_s).decode(errors="replace")
        except requests.RequestException as error:
            raise TargetUnavailableError(f"no metrics from {self.url}: {error}") from error
        if response.status_code != requests.codes.ok:
            raise TargetUnavailableError(
                f"no metrics from {self.url}: it answered {response.status_code}"
            )
        return text

    def parsed(self, text: str) -> Page:
        """The page's samples; raises TargetUnavailableError where it is not Prometheus text."""
        try:
            return parse_page(text)
        except (ValueError, KeyError) as error:
            raise TargetUnavailableError(
                f"{self.url} is not a Prometheus metrics page: {error}"
            ) from error

    def close(self) -> None:
        self._session.close()
