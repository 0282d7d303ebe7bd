"""`autotuner init`: a first configuration and policy for the target that is there."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.onboarding.levels import SloHint
    from autotuner.onboarding.probe import Found
    from autotuner.onboarding.texts import Wanted

URL = "http://127.0.0.1:8000"
_SERVERS = {
    "worker": "the bundled worker",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "openai": "an OpenAI-compatible server",
}


def init(
    url: Annotated[str | None, typer.Option(help=f"Of the target; else {URL}.")] = None,
    name: Annotated[str, typer.Option(help="What the target is called.")] = "chat",
    out: Annotated[Path, typer.Option(help="The configuration that is written.")] = Path(
        "autotuner.yaml"
    ),
    policy_out: Annotated[
        Path | None, typer.Option(help="The policy; else policy.yaml beside the configuration.")
    ] = None,
    proxy_out: Annotated[
        Path | None,
        typer.Option(
            help="The proxy's configuration, where --url is a vLLM or SGLang server without one; "
            "else proxy.yaml beside the configuration."
        ),
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

    For a vLLM or SGLang server without `autotuner proxy` in front of it, the proxy's configuration
    is written as well. On a terminal it asks for what was not given.
    """
    from autotuner.config import read_secret
    from autotuner.onboarding.front_text import PORT, front_text
    from autotuner.onboarding.levels import slo_hint
    from autotuner.onboarding.probe import probe_within
    from autotuner.onboarding.texts import Wanted

    policy_path = policy_out or out.with_name("policy.yaml")
    proxy_path = proxy_out or out.with_name("proxy.yaml")
    _check_free((out, policy_path), force=force)
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    where = _checked_url(url or (typer.prompt("URL of the target", URL) if asks else URL))
    token = read_secret(token_file, "--token-file", for_header=True)
    found = probe_within(where, token, wait_s, lambda said: typer.echo(said, err=True))
    _tell(found, quiet=as_json)
    fronted = not found.tunable and (not asks or _wants_a_proxy(found, proxy_path))
    if fronted:
        _check_free((out, policy_path, proxy_path), force=force)
    tunes = found.tunable or fronted
    slo = _slo(slo_hint(found.seen), slo_ttft_s, slo_gap_s, asks=asks and tunes)
    policy = str(policy_path) if tunes else "default"
    target = f"http://127.0.0.1:{PORT}" if fronted else where
    wanted = Wanted(
        target, name, history, policy, slo, quick_tests, token_file, tunes,
        _name(found), proxied=fronted or found.behind is not None,
    )  # fmt: skip
    texts = _texts(out, policy_path, wanted, found)
    if fronted:
        texts[proxy_path] = front_text(where, found.kind)
    _write(texts)
    _end(list(texts), out, found, proxy_path if fronted else None, as_json=as_json)


def _name(found: Found) -> str:
    return _SERVERS.get(found.behind or found.kind, found.kind)


def _wants_a_proxy(found: Found, path: Path) -> bool:
    return typer.confirm(f"{_needs_a_proxy(found)}. Write {path} for it?", default=True)


def _needs_a_proxy(found: Found) -> str:
    version = f" {found.version}" if found.version else ""
    return (
        f"this is {_name(found)}{version}, which changes none of its settings while it runs: put "
        "`autotuner proxy` in front of it, which measures each request, caps what runs at once, "
        "and can restart it with other flags"
    )


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
    if len(set(paths)) < len(paths):
        raise ConfigError(f"--out={paths[0]}: is the policy's file too: give another --policy-out")
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        raise ConfigError(
            f"{', '.join(there)}: there already: give --force to write over, or other names with "
            "--out, --policy-out and --proxy-out"
        )


def _tell(found: Found, *, quiet: bool) -> None:
    version = f" {found.version}" if found.version else ""
    front = "autotuner proxy in front of " if found.behind is not None else ""
    typer.echo(f"{found.url}: {front}{_name(found)}{version}", err=quiet)


def _slo(hint: SloHint, ttft_s: float | None, gap_s: float | None, *, asks: bool) -> SloHint:
    from autotuner.domain.errors import ConfigError

    def chosen(given: float | None, words: str, suggested: float) -> float:
        if given is not None or not asks:
            return suggested if given is None else given
        return float(typer.prompt(f"SLO: {words}, seconds", suggested, type=float))

    ttft_s = chosen(ttft_s, "first token", hint.ttft_s)
    # Asked for the largest gap, nobody gets the mean in its place.
    tpot_s = hint.tpot_s if gap_s is None else None
    if tpot_s is not None:
        tpot_s = chosen(None, "mean time per token", tpot_s)
        gap_s = hint.gap_max_s
    gap_s = chosen(gap_s, "largest gap between tokens", hint.gap_max_s)
    told = (("--slo-ttft-s", ttft_s), ("--slo-gap-s", gap_s), ("SLO per token", tpot_s or 1.0))
    for option, value in told:
        if not 0 < value < float("inf"):
            raise ConfigError(f"{option}={value:g}: give seconds above 0")
    slo = replace(hint, ttft_s=ttft_s, gap_max_s=gap_s, tpot_s=tpot_s)
    return slo if slo == hint else replace(slo, from_traffic=False, doubts=())


def _texts(out: Path, policy_path: Path, wanted: Wanted, found: Found) -> dict[Path, str]:
    """Both files, checked; without tuning there is no policy."""
    import yaml

    from autotuner.config import parse_config, parse_policy
    from autotuner.onboarding.shipped import knobs_and_constraints
    from autotuner.onboarding.texts import config_text, policy_text

    texts = {out: config_text(wanted)}
    parse_config(yaml.safe_load(texts[out]), str(out))
    if wanted.tunable:
        texts[policy_path] = policy_text(wanted, *knobs_and_constraints(found))
        parse_policy(yaml.safe_load(texts[policy_path]), str(policy_path))
    return texts


def _write(texts: dict[Path, str]) -> None:
    from autotuner.domain.errors import ConfigError

    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as problem:
            raise ConfigError(
                f"{path}: can't be written ({problem.strerror}): give another place"
            ) from problem


def _end(
    written: list[Path], out: Path, found: Found, front: Path | None, *, as_json: bool
) -> None:
    following = f"autotuner run --config {out}"
    note = None
    if not found.tunable:
        note = _needs_a_proxy(found)
        following = f"autotuner proxy --config {front}" if front else "autotuner proxy --help"
    if as_json:
        print_json(
            {
                "url": found.url,
                "kind": found.kind,
                "server": found.behind or found.kind,
                "version": found.version,
                "tunable": found.tunable or front is not None,
                "written": [str(path) for path in written],
                "note": note,
                "next": following,
            }
        )
        return
    *most, last = map(str, written)
    typer.echo(f"wrote {', '.join(most)} and {last}" if most else f"wrote {last}")
    if note:
        typer.echo(note, err=True)
    if found.tunable:
        typer.echo(f"check all of it: autotuner doctor --config {out}")
    typer.echo(f"next: {following}")
    if front is not None:
        typer.echo(f"then send requests to the proxy, and: autotuner run --config {out}")
