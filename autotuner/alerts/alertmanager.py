"""Alertmanager as a receiver: alerts in the shape of its API v2, told again while they fire.

Knows nothing of the outbox: that an alert began or ended comes through it, as for any receiver.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotuner.alerts.delivery import DeliveryError
from autotuner.alerts.payload import rfc3339, webhook_payload
from autotuner.alerts.posting import Mailbox
from autotuner.domain.forecasts import Alert

PATH = "/api/v2/alerts"
_NO_LABEL_NAME = re.compile(r"[^a-zA-Z0-9_]")
# A firing alert is good for this many repeats: three may fail before it ends by itself.
_LASTS_REPEATS = 4.0

Clock = Callable[[], float]


class AlertmanagerSender:
    """Posts to one Alertmanager; in a cluster each member is a receiver of its own.

    A firing alert is said to end `4 × repeat_s` after it was posted, whatever the receiver's
    resolve_timeout: with `Repeats` it stays up, and ends by itself where the daemon is gone.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        token: str | None = None,
        repeat_s: float = 60.0,
        clock: Clock = time.time,
    ) -> None:
        self._mailbox, self._clock = mailbox, clock
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._lasts_s = _LASTS_REPEATS * repeat_s

    def send(self, payload: Mapping[str, Any]) -> None:
        """Posts the alerts of a webhook body. Raises DeliveryError unless answered with 2xx."""
        rows = postable(payload, self._clock() + self._lasts_s)
        self._mailbox.post(json.dumps(rows, ensure_ascii=False).encode(), self._headers)


class Repeats:
    """Tells one Alertmanager every `repeat_s` what fires. Not for threads.

    Must take turns with the receiver's Courier in one thread: an alert that it was told has ended
    is then never told to fire after that.
    """

    def __init__(
        self,
        name: str,
        firing: Callable[[], Sequence[Alert]],
        sender: AlertmanagerSender,
        repeat_s: float,
    ) -> None:
        self._name, self._firing, self._sender = name, firing, sender
        self._repeat_s, self._next_at = repeat_s, 0.0

    def run(self, now: float) -> str | None:
        """What went wrong, if anything; nothing is done before it is time (`now` in seconds).

        A failure is not retried sooner: a receiver that is down has nothing to forget.
        """
        if now < self._next_at:
            return None
        self._next_at = now + self._repeat_s
        alerts = self._firing()
        try:
            if alerts:
                self._sender.send(webhook_payload(alerts, self._name))
        except DeliveryError as problem:
            return f"{len(alerts)} firing alerts were not told again to {self._name}: {problem}"
        return None


def postable(payload: Mapping[str, Any], until: float) -> list[dict[str, Any]]:
    """A webhook body's alerts as the API takes them; those that fire end at `until` (epoch s).

    Label names are made of letters, digits and `_`; empty labels, which mean none, are left out.
    """
    return [_row(alert, until) for alert in payload["alerts"]]


def _row(alert: Mapping[str, Any], until: float) -> dict[str, Any]:
    row = {
        "labels": {_label_name(k): v for k, v in alert["labels"].items() if v},
        "annotations": {_label_name(k): v for k, v in alert["annotations"].items() if v},
        "startsAt": alert["startsAt"],
        "endsAt": rfc3339(until) if alert["status"] == "firing" else alert["endsAt"],
    }
    return row | ({"generatorURL": alert["generatorURL"]} if alert["generatorURL"] else {})


def _label_name(name: str) -> str:
    plain = _NO_LABEL_NAME.sub("_", name)
    return f"_{plain}" if plain[:1].isdigit() else plain
