"""Makes the engines of a configuration: the one place that names the launchers' classes."""

from __future__ import annotations

from collections.abc import Callable

from autotuner.domain.errors import ConfigError
from autotuner.proxy.engines.adopted import AdoptedServer
from autotuner.proxy.engines.changing import Changer
from autotuner.proxy.engines.client import HttpClient
from autotuner.proxy.engines.clock import Clock, SystemClock
from autotuner.proxy.engines.config import (
    CommandConfig,
    EngineConfig,
    KubernetesConfig,
    LauncherConfig,
    SystemdConfig,
)
from autotuner.proxy.engines.gates import WarmUp
from autotuner.proxy.engines.hanging import Hanging
from autotuner.proxy.engines.launchers.command import CommandLauncher, CommandOptions
from autotuner.proxy.engines.launchers.port import Launcher
from autotuner.proxy.engines.launchers.systemd import SystemdLauncher, SystemdOptions
from autotuner.proxy.engines.manager import EngineManager
from autotuner.proxy.engines.record import FileStore
from autotuner.proxy.engines.site import Site
from autotuner.proxy.engines.starting import Starter
from autotuner.proxy.engines.watching import Patience, Watcher
from autotuner.proxy.ports import Backend, Engines, InFlight


def engines_of_config(
    config: EngineConfig, token: str | None = None, clock: Clock | None = None
) -> Callable[[InFlight], Engines]:
    """What makes the engines once the proxy can hold requests; `token` is for the server's API.

    All waiting and all ageing is by `clock`, the machine's by default. Raises ConfigError where a
    library is missing.
    """
    clock = clock or SystemClock()
    if config.launcher is None:
        return lambda in_flight: _adopted(config, token, clock, in_flight)
    launcher = launcher_of(config, config.launcher)
    return lambda in_flight: _managed(config, launcher, token, clock, in_flight)


def launcher_of(config: EngineConfig, launcher: LauncherConfig) -> Launcher:
    """Raises ConfigError where a library is missing."""
    if isinstance(launcher, CommandConfig):
        return CommandLauncher(_command(config, launcher))
    if isinstance(launcher, SystemdConfig):
        return SystemdLauncher(_systemd(launcher))
    return _kubernetes(config, launcher)


def _adopted(config: EngineConfig, token: str | None, clock: Clock, in_flight: InFlight) -> Engines:
    kind = config.server_kind()
    url = config.url.rstrip("/").removesuffix("/v1")
    backend = Backend(url, url.partition("//")[2])
    client = HttpClient(kind, token)
    hanging = Hanging(client, clock, in_flight, config.hung_s)
    return AdoptedServer(kind, backend, client, clock, hanging)


def _managed(
    config: EngineConfig,
    launcher: Launcher,
    token: str | None,
    clock: Clock,
    in_flight: InFlight,
) -> Engines:
    kind, flags = config.server_kind(), config.flags()
    client = HttpClient(kind, token)
    places = tuple(launcher.places())
    store = FileStore(config.directory() / f"{_as_name(places[0].name)}.json")
    warm = config.warm_up
    plan = WarmUp(warm.requests, warm.long_prompt_tokens, warm.max_tokens, warm.limit_s)
    site = Site(kind, store, clock, config.first_settings(), places[0])
    starter = Starter(flags, launcher, client, clock, plan, config.ready_s)
    changer = Changer(site, starter, places, config.mode, retry_in_place=config.retry_in_place)
    patience = Patience(config.healthy_s, config.hung_s)
    watcher = Watcher(site, starter, launcher, client, clock, patience, in_flight)
    return EngineManager(flags, site, starter, changer, watcher, launcher, client, clock)


def _command(config: EngineConfig, launcher: CommandConfig) -> CommandOptions:
    return CommandOptions(
        argv=launcher.command,
        ports=launcher.ports,
        log_dir=config.directory(),
        host=launcher.host,
        port_word=config.server_kind().port_word,
        environment=launcher.environment,
        environment_file=launcher.environment_file,
        environments=launcher.port_environment,
        working_dir=launcher.working_dir,
        grace_s=launcher.stop_s,
        log_bytes=launcher.log_bytes,
        keep=launcher.keep,
    )


def _systemd(launcher: SystemdConfig) -> SystemdOptions:
    return SystemdOptions(
        unit=launcher.unit,
        ports=launcher.ports,
        environment_file=launcher.environment_file,
        variable=launcher.variable,
        host=launcher.host,
        user=launcher.user,
        stop_s=launcher.stop_s,
    )


def _kubernetes(config: EngineConfig, launcher: KubernetesConfig) -> Launcher:
    try:
        # Here, since the library comes with an extra that few need.
        from autotuner.proxy.engines.launchers.kubernetes import (
            KubernetesLauncher,
            KubernetesOptions,
        )
    except ImportError as problem:
        raise ConfigError(
            "engine.launcher.kind='kubernetes' needs lightkube: pip install 'autotuner[kubernetes]'"
        ) from problem
    options = KubernetesOptions(
        deployments=tuple((one.name, one.url) for one in launcher.deployments),
        namespace=launcher.namespace,
        container=launcher.container,
        variable=launcher.variable,
        api_url=launcher.api_url,
        stop_s=launcher.stop_s,
    )
    return KubernetesLauncher(options, config.flags())


def _as_name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-@" else "_" for letter in text)
