"""Runs the daemon with its HTTP beside it."""

from __future__ import annotations

from fastapi import APIRouter

from autotuner.bootstrap import build_alerts_in, build_service, open_configured_history
from autotuner.config import Config
from autotuner.history.store import History
from autotuner.logs import configure_logs
from autotuner.web.alerts_in import alerts_in_router
from autotuner.web.app import WebServer, create_app


def run_service(config: Config) -> None:
    """Runs the daemon, its HTTP and its jobs until a signal ends them."""
    configure_logs(config.log.format, config.log.level)
    history = open_configured_history(config)
    service = build_service(config, history)
    web = WebServer(
        create_app(service.instruments.registry, service.health, _routers(config, history)),
        config.listen.host,
        config.listen.port,
    )
    web.start()
    try:
        service.run()
    finally:
        web.stop()
        history.close()


def _routers(config: Config, history: History) -> list[APIRouter]:
    heard = build_alerts_in(config, history)
    if heard is None:
        return []
    hearing, token = heard
    return [alerts_in_router(hearing.take, token)]
