"""`autotuner token new | list | revoke`: who may come in over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

token_app = typer.Typer(help="Tokens for the daemon's page and API: new, list, revoke.")
FileOption = Annotated[
    Path | None, typer.Option("--file", help="The file of tokens, instead of the configuration's.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration: its listen.tokens_file.")
]
NameOption = Annotated[str, typer.Option("--name", help="Whose it is: shown with what they do.")]


@token_app.command("new")
def new(
    name: NameOption,
    role: Annotated[
        str, typer.Option("--role", help="viewer: reads; operator: also acts.")
    ] = "viewer",
    config: ConfigFile = None,
    file: FileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Make a token: it is shown once, and its hash kept in the file. A running daemon heeds it."""
    from autotuner.domain.errors import ConfigError
    from autotuner.web.tokens import NAME, Role, new_token, read_tokens, write_tokens

    path = _path(config, file)
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"--name={name!r}: give letters, digits, '.', '_' and '-', at most 64")
    if role not in list(Role):
        raise ConfigError(f"--role={role!r}: give one of {', '.join(Role)}")
    known = read_tokens(path) if path.exists() else ()
    if name in (entry.name for entry in known):
        raise ConfigError(
            f"--name={name!r}: has a token already; `autotuner token revoke --name {name}` ends it"
        )
    token, entry = new_token(name, Role(role))
    write_tokens(path, (*known, entry))
    if as_json:
        told = {"name": name, "role": role, "token": token, "file": str(path)}
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(token)
    typer.echo(f"shown this once: the token of the {role} {name}; its hash is in {path}", err=True)


@token_app.command("list")
def list_tokens(
    config: ConfigFile = None,
    file: FileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List names and roles; the tokens themselves are kept nowhere."""
    from autotuner.web.tokens import read_tokens

    found = read_tokens(_path(config, file))
    if as_json:
        told = [{"name": one.name, "role": one.role.value} for one in found]
        typer.echo(json.dumps(told, indent=2))
        return
    for one in found:
        typer.echo(f"{one.role:10}{one.name}")


@token_app.command("revoke")
def revoke(name: NameOption, config: ConfigFile = None, file: FileOption = None) -> None:
    """Take a token out; a running daemon refuses it, and its sessions, from then on."""
    from autotuner.domain.errors import ConfigError
    from autotuner.web.tokens import read_tokens, write_tokens

    path = _path(config, file)
    known = read_tokens(path)
    if name not in (one.name for one in known):
        names = ", ".join(one.name for one in known) or "none"
        raise ConfigError(f"--name={name!r}: has no token in {path}; there is {names}")
    write_tokens(path, tuple(one for one in known if one.name != name))
    typer.echo(f"{name}'s token is revoked")


def _path(config: Path | None, file: Path | None) -> Path:
    from autotuner.config import load_config
    from autotuner.domain.errors import ConfigError

    if file is not None:
        return file
    if config is None:
        raise ConfigError("--config: give the configuration, or the file of tokens by --file")
    path = load_config(config).listen.tokens_file
    if path is None:
        raise ConfigError(
            f"{config}: listen.tokens_file is not set: name the file there, such as "
            "/etc/autotuner/tokens, and make a token again"
        )
    return path
