"""Notifications as signed webhooks. Never lets its address or its secret out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotuner.alerts.delivery import DeliveryError
from autotuner.alerts.payload import SIGNATURE_HEADER, encode, signature
from autotuner.alerts.posting import Mailbox


class WebhookSender:
    """Sends to one URL; 2xx is success. With a secret every body is signed (HMAC-SHA256)."""

    def __init__(
        self, url: str, secret: str | None = None, connect_s: float = 5.0, read_s: float = 10.0
    ) -> None:
        self._mailbox, self._secret = Mailbox(url, connect_s, read_s), secret

    def __repr__(self) -> str:
        return f"WebhookSender(signed={self._secret is not None})"

    def send(self, payload: Mapping[str, Any]) -> None:
        """Posts `payload` as JSON. Raises DeliveryError unless it was answered with 2xx."""
        body = _encoded(payload)
        signed = {} if self._secret is None else {SIGNATURE_HEADER: signature(body, self._secret)}
        self._mailbox.post(body, signed)


def _encoded(payload: Mapping[str, Any]) -> bytes:
    try:
        return encode(payload)
    except (TypeError, ValueError) as error:
        raise DeliveryError(f"payload: {error}", receiver_down=False) from error
