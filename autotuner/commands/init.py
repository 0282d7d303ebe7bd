"""`autotuner init`: a first configuration and policy for the target that is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.onboarding.levels import SloHint
    from autotuner.onboarding.probe import Found
    from autotuner.onboarding.texts import Wanted

URL = "http://127.0.0.1:8000"
_SERVERS = {"worker": "the bundled worker", "vllm": "vLLM", "sglang": "SGLang"}


def init(
    url: Annotated[str | None, typer.Option(help=f"Of the target; else {URL}.")] = None,
    name: Annotated[str, typer.Option(help="What the target is called.")] = "chat",
    out: Annotated[Path, typer.Option(help="The configuration that is written.")] = Path(
        "autotuner.yaml"
    ),
    policy_out: Annotated[
        Path | None, typer.Option(help="The policy; else policy.yaml beside the configuration.")
    ] = None,
    history: Annotated[str, typer.Option(help="Where the history is kept (a database URL).")] = (
        "sqlite:///autotuner.sqlite3"
    ),
    slo_ttft_s: Annotated[
        float | None, typer.Option(help="SLO on the first token; else from the traffic so far.")
    ] = None,
    slo_gap_s: Annotated[
        float | None, typer.Option(help="SLO on the largest gap; else from the traffic so far.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the worker's admin token, where it has one.")
    ] = None,
    quick_tests: Annotated[
        bool, typer.Option("--quick-tests", help="Short tests: to see one end soon.")
    ] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, help="Give a target that does not answer yet so much time.")
    ] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = (
        False
    ),
    as_json: JsonOption = False,
) -> None:
    """Ask a target what it can do, and write a configuration and a policy that fit it.

    On a terminal it asks for what was not given.
    """
    from autotuner.config import read_secret
    from autotuner.onboarding.levels import slo_hint
    from autotuner.onboarding.probe import probe_within
    from autotuner.onboarding.texts import Wanted

    policy_path = policy_out or out.with_name("policy.yaml")
    _check_free((out, policy_path), force=force)
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    where = _checked_url(url or (typer.prompt("URL of the target", URL) if asks else URL))
    token = read_secret(token_file, "--token-file", for_header=True)
    found = probe_within(where, token, wait_s, lambda said: typer.echo(said, err=True))
    _tell(found, quiet=as_json)
    slo = _slo(slo_hint(found.seen), slo_ttft_s, slo_gap_s, asks=asks and found.tunable)
    policy = str(policy_path) if found.tunable else "default"
    wanted = Wanted(
        where, name, history, policy, slo, quick_tests, token_file, found.tunable,
        _SERVERS.get(found.kind, found.kind),
    )  # fmt: skip
    written = _written(out, policy_path, wanted, found)
    _end(written, out, found, as_json=as_json)


def _checked_url(url: str) -> str:
    from autotuner.domain.errors import ConfigError

    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url={url!r}: give it with http:// or https://, such as {URL}")
    return url.rstrip("/")


def _check_free(paths: tuple[Path, ...], *, force: bool) -> None:
    from autotuner.domain.errors import ConfigError

    for path in paths:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder: give a file in it")
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {path.parent}: create it")
    if paths[0] == paths[1]:
        raise ConfigError(f"--out={paths[0]}: is the policy's file too: give another --policy-out")
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        raise ConfigError(
            f"{', '.join(there)}: there already: give --force to write over, or other names with "
            "--out and --policy-out"
        )


def _tell(found: Found, *, quiet: bool) -> None:
    server = _SERVERS.get(found.kind, found.kind)
    version = f" {found.version}" if found.version else ""
    typer.echo(f"{found.url}: {server}{version}", err=quiet)


def _slo(hint: SloHint, ttft_s: float | None, gap_s: float | None, *, asks: bool) -> SloHint:
    from autotuner.domain.errors import ConfigError
    from autotuner.onboarding.levels import SloHint

    def chosen(given: float | None, words: str, suggested: float) -> float:
        if given is not None or not asks:
            return suggested if given is None else given
        return float(typer.prompt(f"SLO: {words}, seconds", suggested, type=float))

    ttft_s = chosen(ttft_s, "first token", hint.ttft_s)
    gap_s = chosen(gap_s, "largest gap between tokens", hint.gap_max_s)
    for option, value in (("--slo-ttft-s", ttft_s), ("--slo-gap-s", gap_s)):
        if not 0 < value < float("inf"):
            raise ConfigError(f"{option}={value:g}: give seconds above 0")
    suggested = (ttft_s, gap_s) == (hint.ttft_s, hint.gap_max_s)
    return SloHint(ttft_s, gap_s, hint.from_traffic and suggested)


def _written(out: Path, policy_path: Path, wanted: Wanted, found: Found) -> list[Path]:
    """Both files, checked before they are written; without tuning there is no policy."""
    import yaml

    from autotuner.config import parse_config, parse_policy
    from autotuner.domain.errors import ConfigError
    from autotuner.onboarding.levels import knob_lines
    from autotuner.onboarding.texts import config_text, policy_text

    texts = {out: config_text(wanted)}
    parse_config(yaml.safe_load(texts[out]), str(out))
    if found.tunable:
        texts[policy_path] = policy_text(wanted, knob_lines(found.capabilities, found.settings))
        parse_policy(yaml.safe_load(texts[policy_path]), str(policy_path))
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as problem:
            raise ConfigError(
                f"{path}: can't be written ({problem.strerror}): give another place"
            ) from problem
    return list(texts)


def _end(written: list[Path], out: Path, found: Found, *, as_json: bool) -> None:
    following = f"autotuner run --config {out}" if found.tunable else "autotuner worker --help"
    note = None
    if not found.tunable:
        note = (
            f"tuning of {_SERVERS.get(found.kind, found.kind)} is not built in yet: the file has "
            "its address, and the daemon would only hold. To tune, serve the model with the "
            "bundled worker: `autotuner worker --model FOLDER`"
        )
    if as_json:
        print_json(
            {
                "url": found.url,
                "kind": found.kind,
                "version": found.version,
                "tunable": found.tunable,
                "written": [str(path) for path in written],
                "note": note,
                "next": following,
            }
        )
        return
    typer.echo(f"wrote {' and '.join(map(str, written))}")
    if note:
        typer.echo(note, err=True)
    if found.tunable:
        typer.echo(f"check all of it: autotuner doctor --config {out}")
    typer.echo(f"next: {following}")
