"""Who runs the server behind the proxy: starting, testing, changing, watching and ending it."""

from __future__ import annotations

from autotuner.proxy.engines.build import engines_of_config

__all__ = ["engines_of_config"]
