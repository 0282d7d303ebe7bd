"""Runs the daemon with its HTTP beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from fastapi import APIRouter

from autotuner.bootstrap import build_alerts_in, open_configured_history
from autotuner.config import Config
from autotuner.history.store import History
from autotuner.led import build_led_service
from autotuner.logs import configure_logs
from autotuner.service import Service
from autotuner.systemd import supervisor_of
from autotuner.web.alerts_in import alerts_in_router
from autotuner.web.api.acts import act_routes
from autotuner.web.api.reads import read_routes
from autotuner.web.app import WebServer, create_app
from autotuner.web.guard import Guard, build_guard
from autotuner.web.pages.router import pages_router
from autotuner.web.session_routes import session_routes
from autotuner.web.sources import sources_of


def run_service(
    config: Config, read: Callable[[], Config] | None = None, file: Path | None = None
) -> None:
    """Runs the daemon, its HTTP and its jobs until a signal ends them.

    `read`: reads the configuration again when SIGHUP asks for it; `file`: where it stands.
    """
    configure_logs(config.log.format, config.log.level)
    history = open_configured_history(config)
    service = build_led_service(config, history, read, file)
    service.supervisor = supervisor_of()
    follow(service, lambda changed: configure_logs(changed.log.format, changed.log.level))
    guard = build_guard(config.listen)
    routers = [*_routers(config, history, service), *_api(config, history, service, guard)]
    app = create_app(service.instruments.registry, service.health, routers, guard)
    web = WebServer(app, config.listen.host, config.listen.port, config.listen)
    follow(service, lambda _: web.renew())
    abandoned: Collection[str] = ()
    try:
        web.start()
        abandoned = service.run()
    finally:
        web.stop()
        history.close()
    if abandoned:
        # The interpreter would wait for their threads, however long they take.
        sys.stderr.flush()
        os._exit(0)


def follow(service: Service, follower: Callable[[Config], None]) -> None:
    """`follower` hears of each configuration that a reload puts in force."""
    if service.reloader is not None:
        service.reloader.followers.append(follower)


def _api(config: Config, history: History, service: Service, guard: Guard) -> list[APIRouter]:
    in_force = [config]

    def take(changed: Config) -> None:
        in_force[0] = changed

    follow(service, take)
    sources = sources_of(history, service, lambda: in_force[0].targets)
    return [
        read_routes(sources, guard),
        act_routes(sources, guard),
        session_routes(guard),
        pages_router(sources, guard),
    ]


def _routers(config: Config, history: History, service: Service) -> list[APIRouter]:
    heard = build_alerts_in(config, history)
    if heard is None:
        return []
    hearing, token = heard

    def hear_for(changed: Config) -> None:
        hearing.modes = {target.name: target.mode for target in changed.targets}

    follow(service, hear_for)
    return [alerts_in_router(hearing.take, token)]
