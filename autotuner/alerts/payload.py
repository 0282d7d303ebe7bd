"""Alerts as an Alertmanager v4 webhook body, and the body's signature. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from autotuner.domain.forecasts import Alert

SIGNATURE_HEADER = "X-Autotuner-Signature"
_NOT_ENDED = "0001-01-01T00:00:00Z"
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")


def webhook_payload(
    alerts: Sequence[Alert], receiver: str, external_url: str = ""
) -> dict[str, Any]:
    """The body of one notification about `alerts`, which share name and target; never empty.

    Shape: Alertmanager's webhook data, version 4. User names and passwords inside URLs are left
    out.
    """
    if not alerts:
        raise ValueError("alerts: a notification needs at least one")
    rows = [_row(alert, external_url) for alert in alerts]
    group = _common([{key: row["labels"][key] for key in ("alertname", "target")} for row in rows])
    wanted = ",".join(f'{key}="{value}"' for key, value in group.items())
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{wanted}}}",
        "truncatedAlerts": 0,
        "status": "firing" if any(alert.firing for alert in alerts) else "resolved",
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": _common([row["labels"] for row in rows]),
        "commonAnnotations": _common([row["annotations"] for row in rows]),
        "externalURL": without_credentials(external_url),
        "alerts": rows,
    }


def grouped(alerts: Sequence[Alert], receiver: str, external_url: str = "") -> list[dict[str, Any]]:
    """One body per name and target, in the order in which they first appear."""
    groups: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.name, alert.target), []).append(alert)
    return [webhook_payload(group, receiver, external_url) for group in groups.values()]


def encode(payload: Mapping[str, Any]) -> bytes:
    """The bytes that are sent and signed: JSON, keys sorted, UTF-8."""
    return json.dumps(payload, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def signature(body: bytes, secret: str) -> str:
    """The value of the signature header: `sha256=` and the hex HMAC-SHA256 of the body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def without_credentials(text: str) -> str:
    """`text` with `user:password@` taken out of its URLs."""
    return _USER_INFO.sub("", text)


def _row(alert: Alert, external_url: str) -> dict[str, Any]:
    own = {"alertname": alert.name, "severity": alert.severity, "target": alert.target}
    labels = {key: without_credentials(value) for key, value in (dict(alert.labels) | own).items()}
    return {
        "status": "firing" if alert.firing else "resolved",
        "labels": labels,
        "annotations": {"summary": without_credentials(alert.summary)},
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": _NOT_ENDED if alert.ends_at is None else rfc3339(alert.ends_at),
        "generatorURL": without_credentials(external_url),
        "fingerprint": alert.fingerprint,
    }


def rfc3339(at: float) -> str:
    """UTC with milliseconds and a Z, such as `2026-01-31T08:00:00.000Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _common(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = rows
    return {k: v for k, v in first.items() if all(row.get(k) == v for row in others)}
