"""`autotuner service install | uninstall | status`: the systemd units of this installation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from autotuner.commands.unit_files import (
    CREDENTIALS,
    UNITS,
    Fate,
    File,
    Layout,
    files,
    is_untouched,
    remove,
    unit_text,
    write,
)
from autotuner.domain.errors import ConfigError

service_app = typer.Typer(
    help="Run autotuner as a systemd service.", no_args_is_help=True, pretty_exceptions_enable=False
)
_SHOWN = ("LoadState", "ActiveState", "SubState", "StatusText", "NRestarts", "Result", "MainPID")

Prefix = Annotated[
    Path, typer.Option(help="A folder that stands before every path, such as an image's root.")
]
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
Force = Annotated[bool, typer.Option(help="Also files that somebody has changed.")]
Now = Annotated[bool, typer.Option("--now", help="Run the systemctl commands as well.")]

_CONFIG = Path("/etc/autotuner/autotuner.yaml")
PROXY_CONFIG = Path("/etc/autotuner/proxy.yaml")
_ROOT = Path("/")
Consent = Callable[[], None]


@service_app.command("install")
def install(
    config: ConfigPath = _CONFIG,
    user: Annotated[
        str | None,
        typer.Option(help="An account that exists; without it systemd makes one up (DynamicUser)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be written.")
    ] = False,
    prefix: Prefix = _ROOT,
    now: Now = False,
    force: Force = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Don't ask; needed where there is no terminal.")
    ] = False,
) -> None:
    """Write the units, and a configuration to begin with where there is none.

    Shows what it will write and asks, but for --prefix. Nothing that you have changed is written
    over without --force; a token never is.
    """
    layout = _layout(config, user, prefix)
    if now:
        _needs_systemd(prefix)
    planned = [(file, file.fate(force=force and file.mode != 0o600)) for file in files(layout)]
    commands = ["systemctl daemon-reload", f"systemctl enable --now {UNITS[0]}"]
    carry_out(planned, None if dry_run else consent(prefix, commands if now else [], yes=yes))
    if not dry_run:
        _then(commands, now=now)
        typer.echo(f"secrets go to {layout.at(CREDENTIALS)}, one a file, readable by root alone")
        typer.echo("the bundled worker: systemctl enable --now autotuner-worker@8000")
        typer.echo(
            f"in front of vLLM or SGLang: write {layout.at(PROXY_CONFIG)} (docs/proxy.md), then "
            "systemctl enable --now autotuner-proxy.socket autotuner-proxy"
        )


@service_app.command("uninstall")
def uninstall(prefix: Prefix = _ROOT, now: Now = False, force: Force = False) -> None:
    """Remove the units; configuration, secrets and history stay."""
    if now:
        _needs_systemd(prefix)
        _run(f"systemctl disable --now {UNITS[0]}")
    folder = Layout(_ROOT, prefix=prefix).units
    for name in UNITS:
        path = folder / name
        if not path.exists():
            typer.echo(f"not there: {path}")
        elif force or is_untouched(path.read_text(encoding="utf-8")):
            remove(path)
            typer.echo(f"removed: {path}")
        else:
            typer.echo(f"kept: {path}\n  it was changed by hand: --force removes it")
    stop = (
        []
        if now
        else [f"systemctl disable --now {UNITS[0]} 'autotuner-worker@*' 'autotuner-proxy.*'"]
    )
    _then([*stop, "systemctl daemon-reload"], now=now)


@service_app.command("status")
def status(
    prefix: Prefix = _ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which units are installed, whether they are this version's, and what systemd says."""
    folder = Layout(_ROOT, prefix=prefix).units
    units = {name: _unit_state(folder / name) for name in UNITS}
    running = _shown(UNITS[0]) if prefix == _ROOT and _systemd_runs() else None
    if as_json:
        typer.echo(json.dumps({"units": units, "systemd": running}, indent=2))
        return
    for name, state in units.items():
        typer.echo(f"{folder / name}: {state}")
    if running is None:
        typer.echo("systemd: doesn't run here" if prefix == _ROOT else "systemd: not asked")
        return
    for key, value in running.items():
        typer.echo(f"{key}: {value}")


def carry_out(planned: Sequence[tuple[File, Fate]], agree: Consent | None) -> None:
    """Shows what becomes of each file; writes once `agree` has not raised, without it nothing."""
    for file, fate in planned:
        typer.echo(f"{'would be written' if fate is Fate.WRITTEN else fate}: {file.path}")
        if fate is Fate.KEPT and file.path.suffix in (".service", ".socket"):
            typer.echo(
                "  it was changed by hand: --force writes it anew; keep changes in a drop-in"
            )
    fresh = [file for file, fate in planned if fate is Fate.WRITTEN]
    if agree is None or not fresh:
        return
    agree()
    for file in fresh:
        write(file)
    typer.echo(f"written: {len(fresh)} of them")


def consent(
    prefix: Path, commands: Sequence[str], *, yes: bool, terminal: bool | None = None
) -> Consent:
    """Asks whether to change this machine; does nothing where --yes or --prefix has said so.

    Raises ConfigError where it has to ask and there is no terminal, typer.Abort for a no.
    """

    def ask() -> None:
        if not (sys.stdin.isatty() if terminal is None else terminal):
            raise ConfigError("--yes: needed to change this machine where nobody can be asked")
        then = f" and run {' and '.join(commands)}" if commands else ""
        typer.confirm(f"Write them{then}?", abort=True)

    return (lambda: None) if yes or prefix != _ROOT else ask


def _layout(config: Path, user: str | None, prefix: Path) -> Layout:
    if not config.is_absolute():
        raise ConfigError(
            f"--config={str(config)!r}: a unit needs a path from the root: begin with /"
        )
    return Layout(_program(), config, user, prefix)


def _program() -> Path:
    """The command of this installation: beside its Python, else what the shell finds."""
    beside = Path(sys.executable).parent / "autotuner"
    found = str(beside) if beside.exists() else shutil.which("autotuner")
    if found is None:
        raise ConfigError(f"no command `autotuner` beside {sys.executable}: install the package")
    return Path(found).absolute()


def _unit_state(path: Path) -> str:
    if not path.exists():
        return "not installed"
    text = path.read_text(encoding="utf-8")
    if not is_untouched(text):
        return "installed, changed by hand"
    shipped = unit_text(path.name, Layout(_ROOT))
    same = _hardening(text) == _hardening(shipped)
    return "installed" if same else "installed by another version: run install again"


def _hardening(text: str) -> list[str]:
    """The lines of a unit that do not depend on where it was installed."""
    varying = ("#", "ExecStart=", "DynamicUser=", "User=")
    return [line for line in text.splitlines() if line and not line.startswith(varying)]


def _then(commands: list[str], *, now: bool) -> None:
    if not now:
        typer.echo("then, as root:")
    for command in commands:
        typer.echo(f"  {command}")
        if now:
            _run(command)


def _run(command: str) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigError(f"{command}: {done.stderr.strip() or done.returncode}")


def _shown(unit: str) -> dict[str, str]:
    command = ["systemctl", "show", unit, *(f"--property={name}" for name in _SHOWN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs}


def _needs_systemd(prefix: Path) -> None:
    if prefix != _ROOT:
        raise ConfigError("--now: has no meaning with --prefix: leave one of them out")
    if not _systemd_runs():
        raise ConfigError("--now: systemd doesn't run here: leave it out to write the files alone")


def _systemd_runs() -> bool:
    return Path("/run/systemd/system").is_dir()
