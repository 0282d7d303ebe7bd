"""`autotuner proxy`: the process in front of a vLLM or SGLang server; or only what it would do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.output import JsonOption, print_json
from autotuner.domain.errors import ConfigError

if TYPE_CHECKING:
    from autotuner.proxy.check import Report
    from autotuner.proxy.config import ProxyConfig


def proxy(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The proxy's configuration file.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Without a file: a server's address; may be given several times."),
    ] = None,
    host: Annotated[str, typer.Option(help="With --backend: address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="With --backend: 0 takes a free port.")
    ] = 9180,
    check: Annotated[
        bool, typer.Option("--check", help="Only read, look at the servers, and say what it finds.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Stand in front of a vLLM or SGLang server: measure each request, cap, restart with new flags.

    SIGHUP reloads the file; SIGTERM lets running requests finish.
    """
    from autotuner.proxy.config import load_proxy_config, short_config

    if (config is None) == (not backend):
        raise ConfigError("proxy: give either --config FILE or --backend URL")
    if as_json and not check:
        raise ConfigError("--json: has a meaning with --check alone: give both, or leave it out")
    if config is not None:
        read = partial(load_proxy_config, config)
    else:
        read = partial(short_config, tuple(backend or ()), host, port)
    if check:
        _check(read(), as_json=as_json)
    else:
        _serve(read(), read)


def _serve(config: ProxyConfig, read: partial[ProxyConfig]) -> None:
    from autotuner.logs import configure_logs
    from autotuner.proxy.serve import serve
    from autotuner.systemd import supervisor_of

    def log_as(told: ProxyConfig) -> None:
        configure_logs(told.log.format, told.log.level)

    log_as(config)
    serve(config, supervisor_of(), read, log_as)


def _check(config: ProxyConfig, *, as_json: bool) -> None:
    """Exit code 1 where no server answers."""
    from autotuner.proxy.check import check_config

    report = check_config(config)
    if as_json:
        print_json(report.as_dict())
    else:
        _show(report)
    if not report.answers:
        raise typer.Exit(1)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    servers = Table("server", "kind", "version", "model", "state")
    for one in report.servers:
        servers.add_row(one.name, one.kind, one.version, one.model, one.problem or "answers")
    console.print(servers)
    knobs = Table("knob", "now", "may be", "takes")
    for knob in report.knobs:
        knobs.add_row(knob.name, knob.now, knob.may_be, knob.takes)
    console.print(knobs)
    for line in report.notes:
        typer.echo(line)
