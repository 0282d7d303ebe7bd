"""From the receivers in the configuration to the jobs that deliver to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import structlog

from autotuner.alerts.alertmanager import PATH, AlertmanagerSender, Repeats
from autotuner.alerts.chat import open_chat
from autotuner.alerts.delivery import Courier, Sender, mark_strays
from autotuner.alerts.pace import Pace
from autotuner.alerts.posting import Mailbox
from autotuner.alerts.webhook import WebhookSender
from autotuner.config import AlertmanagerConfig, ChatConfig, Config, WebhookConfig, read_secret
from autotuner.domain.errors import HistoryUnavailableError
from autotuner.domain.forecasts import Alert
from autotuner.history.store import History
from autotuner.instruments import Instruments
from autotuner.outcry import Outcry
from autotuner.service import Job

DELIVER_EVERY_S = 2.0
COUNT_EVERY_S = 15.0

log = structlog.get_logger()


@dataclass
class Line:
    """All that goes to one receiver, in one thread."""

    name: str
    courier: Courier
    history: History
    instruments: Instruments
    outcry: Outcry
    repeats: Repeats | None = None

    def run(self, now: float) -> None:
        try:
            self._deliver(now)
        except HistoryUnavailableError as away:
            problem = self.outcry.away(str(away), now)
        else:
            problem = self.outcry.back(now)
        if problem:
            log.warning("alert.not_told_directly", receiver=self.name, problem=problem)

    def _deliver(self, now: float) -> None:
        # Another process may hold a lock under which the outbox can be read and not written.
        self.history.reach()
        report = self.courier.deliver_due(now)
        self.instruments.delivered(self.name, report.delivered, report.failed)
        if report.problem:
            log.warning("alert.not_delivered", receiver=self.name, problem=report.problem)
        problem = self.repeats.run(now) if self.repeats else None
        if problem:
            log.warning("alert.not_repeated", receiver=self.name, problem=problem)


def delivery_jobs(config: Config, history: History, instruments: Instruments) -> list[Job]:
    """A job per receiver, each with a thread of its own, and one that counts what waits.

    Raises ConfigError where a secret can't be read or a chat service is not known.
    """
    lines = list(_lines(config, history, instruments))
    jobs = [Job(f"deliver:{line.name}", DELIVER_EVERY_S, line.run, apart=True) for line in lines]
    names, target = frozenset(config.receivers), config.targets[0].name

    def count(now: float) -> None:
        mark_strays(history, names, now)
        instruments.alerts_waiting.set(history.status(target).undelivered)

    return [*jobs, Job("count-undelivered", COUNT_EVERY_S, count)]


def senders(config: Config) -> dict[str, Sender]:
    """What speaks to each receiver, by its name. Raises ConfigError as `delivery_jobs` does."""
    made: dict[str, Sender] = {hook.name: _webhook(hook) for hook in config.webhooks}
    made |= {chat.name: _chat(chat) for chat in config.chats}
    return made | {manager.name: _alertmanager(manager) for manager in config.alertmanagers}


def _lines(config: Config, history: History, instruments: Instruments) -> Iterator[Line]:
    def courier(kind: WebhookConfig | AlertmanagerConfig | ChatConfig, sender: Sender) -> Courier:
        return Courier(history, kind.name, sender, Pace(kind.max_per_minute), seed=os.getpid())

    def firing(receiver: str) -> list[Alert]:
        names = (target.name for target in config.targets)
        return [alert for name in names for alert in history.firing_alerts(name, receiver)]

    def line(
        kind: WebhookConfig | AlertmanagerConfig | ChatConfig,
        sender: Sender,
        repeats: Repeats | None = None,
        repeat_s: float | None = None,
    ) -> Line:
        outcry = Outcry(kind.name, sender, [target.name for target in config.targets], repeat_s)
        return Line(kind.name, courier(kind, sender), history, instruments, outcry, repeats)

    for hook in config.webhooks:
        yield line(hook, _webhook(hook))
    for chat in config.chats:
        yield line(chat, _chat(chat))
    for manager in config.alertmanagers:
        sender = _alertmanager(manager)
        repeats = Repeats(manager.name, partial(firing, manager.name), sender, manager.repeat_s)
        yield line(manager, sender, repeats, manager.repeat_s)


def _webhook(hook: WebhookConfig) -> WebhookSender:
    secret = read_secret(hook.secret_file, f"webhooks.{hook.name}.secret_file")
    return WebhookSender(hook.url, secret, connect_s=hook.timeout_s, read_s=hook.timeout_s)


def _alertmanager(manager: AlertmanagerConfig) -> AlertmanagerSender:
    where = f"alertmanagers.{manager.name}"
    token = read_secret(manager.token_file, f"{where}.token_file", for_header=True)
    password = read_secret(manager.password_file, f"{where}.password_file")
    login = None if password is None or manager.username is None else (manager.username, password)
    url = manager.url.rstrip("/") + PATH
    mailbox = Mailbox(url, manager.timeout_s, manager.timeout_s, login)
    return AlertmanagerSender(mailbox, token, manager.repeat_s)


def _chat(chat: ChatConfig) -> Sender:
    field = f"chats.{chat.name}.url_file"
    url = read_secret(chat.url_file, field)
    assert url is not None, "the configuration asks for a file"
    return open_chat(url, f"{field}={str(chat.url_file)!r}")
