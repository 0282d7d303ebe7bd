"""An Alertmanager's webhook body as alerts that ask something of the tuner. Pure.

Fields may be missing, since the body can come from a template.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from autotuner.domain.errors import AutotunerError

ACTION_LABEL = "autotuner"
TARGET_LABEL = "target"


class NotUnderstoodError(AutotunerError):
    """A body that is no webhook of an Alertmanager's; the text says what was expected."""


class Action(StrEnum):
    """What an alert may ask while it fires."""

    PAUSE = "pause"  # until it is resolved
    START = "start"


@dataclass(frozen=True)
class IncomingAlert:
    """One alert that bears the action label.

    `key` is the same each time that this episode of the alert is told in its group. `target` is
    None where it names none.
    """

    key: str
    name: str
    firing: bool
    action: Action
    target: str | None = None


@dataclass(frozen=True)
class Notification:
    """What concerns the tuner, and why other alerts were passed over."""

    alerts: tuple[IncomingAlert, ...] = ()
    ignored: tuple[str, ...] = ()


def read_notification(body: Any) -> Notification:
    """The alerts in a webhook body (as read from JSON). Raises NotUnderstoodError."""
    told = _mapping(body, "body")
    rows = told.get("alerts", [])
    if not isinstance(rows, list):
        raise NotUnderstoodError(f"alerts: expected a list, found {type(rows).__name__}")
    alerts, ignored = list[IncomingAlert](), list[str]()
    for number, row in enumerate(rows):
        read = _read(_mapping(row, f"alerts[{number}]"), told, f"alerts[{number}]")
        if isinstance(read, IncomingAlert):
            alerts.append(read)
        else:
            ignored.append(read)
    return Notification(tuple(alerts), tuple(ignored))


def _read(row: Mapping[str, Any], told: Mapping[str, Any], where: str) -> IncomingAlert | str:
    labels = {
        **_mapping(told.get("commonLabels", {}), "commonLabels"),
        **_mapping(row.get("labels", {}), f"{where}.labels"),
    }
    name = str(labels.get("alertname", "an alert without a name"))
    asked = labels.get(ACTION_LABEL)
    if asked is None:
        return f"{name}: has no label {ACTION_LABEL!r}"
    if asked not in list(Action):
        known = " or ".join(Action)
        return f"{name}: {ACTION_LABEL}={asked!r} is unknown: give {known}"
    status = row.get("status", told.get("status", "firing"))
    target = labels.get(TARGET_LABEL)
    return IncomingAlert(
        key=_key(row, told, labels),
        name=name,
        firing=status != "resolved",
        action=Action(asked),
        target=None if target is None else str(target),
    )


def _key(row: Mapping[str, Any], told: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    fingerprint = row.get("fingerprint") or sorted((k, str(v)) for k, v in labels.items())
    identity = [told.get("groupKey", ""), fingerprint, row.get("startsAt", "")]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotUnderstoodError(f"{where}: expected an object, found {type(value).__name__}")
    return value
