"""All checks in their order: the machine first, then what the configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autotuner.config import load_config
from autotuner.doctoring import machine, service
from autotuner.doctoring.finding import Finding, failed, well
from autotuner.domain.errors import ConfigError


def examine(path: Path, *, send_test: bool) -> Iterator[Finding]:
    """Every finding as it comes; what depends on a part that is missing is left out."""
    yield from machine.machine_findings()
    try:
        config = load_config(path)
    except ConfigError as problem:
        fix = "" if path.exists() else f"make one: autotuner init --out {path}"
        yield failed("configuration", str(problem), fix)
        return
    yield well("configuration", f"{path}: {len(config.targets)} target(s)")
    yield from machine.extra_findings(config)
    yield from service.history_findings(config.history)
    for target in config.targets:
        yield from service.target_findings(target, config.cycle_s)
    yield service.listen_finding(config)
    yield from service.receiver_findings(config, send_test=send_test)
