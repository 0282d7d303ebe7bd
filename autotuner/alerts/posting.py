"""One POST of JSON to a receiver, and what its answer means. Tells no address and no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import requests

from autotuner.alerts.delivery import DeliveryError

_CLIENT_ERRORS = range(400, 500)
# Addressed to the sender, not about this body: wrong key, gone, too slow, too many.
_ABOUT_THE_RECEIVER = frozenset({401, 403, 404, 407, 408, 410, 425, 429})


@dataclass(frozen=True)
class Mailbox:
    """Where bodies are posted, and how long is waited for a connection and for an answer."""

    url: str = field(repr=False)
    connect_s: float = 5.0
    read_s: float = 10.0
    login: tuple[str, str] | None = field(default=None, repr=False)  # user name and password

    def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Posts `body` as JSON. Raises DeliveryError unless it was answered with 2xx."""
        try:
            # A redirect would carry a signed body to somewhere nobody configured. The answer's
            # body is not read: it says nothing, and could go on for ever.
            with requests.post(
                self.url,
                data=body,
                headers={"Content-Type": "application/json", "User-Agent": "autotuner", **headers},
                auth=self.login,
                timeout=(self.connect_s, self.read_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                _check(response)
        except requests.RequestException as error:
            # Not chained: the text of these errors holds the URL, which may hold a key.
            raise DeliveryError(f"no answer ({type(error).__name__})") from None


def _check(response: requests.Response) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    refused = status in _CLIENT_ERRORS and status not in _ABOUT_THE_RECEIVER
    raise DeliveryError(
        f"answered {status}",
        receiver_down=not refused,
        retry_after_s=_seconds(response.headers.get("Retry-After", "")),
    )


def _seconds(retry_after: str) -> float:
    """The header as seconds; 0 when absent or a date."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
