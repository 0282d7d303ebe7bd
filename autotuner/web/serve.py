"""Runs the daemon with its HTTP beside it."""

from __future__ import annotations

from autotuner.bootstrap import build_service, open_configured_history
from autotuner.config import Config
from autotuner.logs import configure_logs
from autotuner.web.app import WebServer, create_app


def run_service(config: Config) -> None:
    """Runs the daemon, its HTTP and its jobs until a signal ends them."""
    configure_logs(config.log.format, config.log.level)
    history = open_configured_history(config)
    service = build_service(config, history)
    web = WebServer(
        create_app(service.instruments.registry, service.health),
        config.listen.host,
        config.listen.port,
    )
    web.start()
    try:
        service.run()
    finally:
        web.stop()
        history.close()
