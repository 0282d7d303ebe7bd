"""Posts notifications over HTTP. Never lets its address or its secret out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from autotuner.alerts.delivery import DeliveryError
from autotuner.alerts.payload import SIGNATURE_HEADER, encode, signature

_CLIENT_ERRORS = range(400, 500)
# Addressed to the sender, not about this body: wrong key, gone, too slow, too many.
_ABOUT_THE_RECEIVER = frozenset({401, 403, 404, 407, 408, 410, 425, 429})


class WebhookSender:
    """Sends to one URL; 2xx is success. With a secret every body is signed (HMAC-SHA256)."""

    def __init__(
        self, url: str, secret: str | None = None, connect_s: float = 5.0, read_s: float = 10.0
    ) -> None:
        self._url, self._secret = url, secret
        self._timeout = (connect_s, read_s)

    def __repr__(self) -> str:
        return f"WebhookSender(signed={self._secret is not None})"

    def send(self, payload: Mapping[str, Any]) -> None:
        """Posts `payload` as JSON. Raises DeliveryError unless it was answered with 2xx."""
        body = _encoded(payload)
        try:
            # A redirect would carry a signed body to somewhere nobody configured. The answer's
            # body is not read: it says nothing, and could go on for ever.
            with requests.post(
                self._url,
                data=body,
                headers=self._headers(body),
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                _check(response)
        except requests.RequestException as error:
            # Not chained: the text of these errors holds the URL, which may hold a key.
            raise DeliveryError(f"no answer ({type(error).__name__})") from None

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "autotuner"}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(body, self._secret)
        return headers


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        return encode(payload)
    except (TypeError, ValueError) as error:
        raise DeliveryError(f"payload: {error}", receiver_down=False) from error


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
