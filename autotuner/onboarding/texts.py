"""The daemon's two files that `init` writes, as commented YAML. Pure: values in, text out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autotuner.domain.knobs import Value
from autotuner.onboarding.levels import KnobLines, SloHint
from autotuner.onboarding.testing_text import testing_text


@dataclass(frozen=True)
class Wanted:
    """What the files are about. `quick`: short tests, to see one end soon. `proxied`: the target is
    the proxy, `server` what stands behind it.
    """

    url: str
    name: str
    history: str
    policy: str
    slo: SloHint
    quick: bool = False
    token_file: Path | None = None
    tunable: bool = True
    server: str = "the bundled worker"
    proxied: bool = False


def config_text(wanted: Wanted) -> str:
    """The daemon's configuration."""
    token = (
        f"    admin_token_file: {_quoted(str(wanted.token_file))}\n"
        if wanted.token_file is not None
        else "    # admin_token_file: /etc/autotuner/target.token # where it has one\n"
    )
    return f"""\
# Written by `autotuner init`. Every key: docs/reference/config.md, or `autotuner config schema`.
# After a change: `autotuner config check FILE`; all of it, with the target: `autotuner doctor`.
# Paths are taken from the folder that the daemon is started in.

# Where all is kept; in production: postgresql+psycopg://USER@HOST/DATABASE
history: {_quoted(wanted.history)}
cycle_s: {2 if wanted.quick else 5}

targets:
  - name: {_quoted(wanted.name)}
    url: {_quoted(wanted.url)}
{token}\
    policy: {_quoted(wanted.policy)}
{_mode(wanted)}
    # metrics:                                          # further sources: docs/metrics.md
    #   prometheus: {{url: "http://127.0.0.1:9090"}}

# The daemon's own /health and /metrics.
listen: {{host: 127.0.0.1, port: 9187}}

# Where alerts go: docs/alerts.md.
# webhooks:
#   - {{name: pager, url: "https://pager.example/hook", secret_file: /etc/autotuner/hook.key}}
"""


def _mode(wanted: Wanted) -> str:
    if not wanted.tunable:
        return (
            f"    # This is {wanted.server} without `autotuner proxy` in front of it: its\n"
            "    # settings can't be read, so that each cycle holds and nothing is applied.\n"
            "    mode: paused"
        )
    return (
        "    # active tests and keeps what is proven; advisory decides and records, but applies "
        "nothing;\n    # paused observes only.\n"
        "    mode: active"
    )


def policy_text(wanted: Wanted, knobs: list[KnobLines], constraints: Sequence[str] = ()) -> str:
    """The policy: what good means, which knobs may move, how a change is proven."""
    return f"""\
# Written by `autotuner init` for {wanted.url}. Every key: docs/reference/policy.md.
name: {_quoted(f"{wanted.name}-policy")}

# What a request is promised; one that misses any of it does not count as goodput.
# {_slo_origin(wanted.slo)}
slo:
  ttft_s: {wanted.slo.ttft_s:g}       # first token
{_per_token(wanted.slo)}  # e2el_s: 20      # whole request

# What may be changed, and to which levels; the target accepts all of these.
knobs:
{_knobs(knobs)}{_constraints(constraints)}
# Candidates are tested until so many requests meet the SLO. Cost, energy or devices can be saved
# instead: docs/experiments.md, "Goals".
goal:
  kind: goodput
  attainment: 0.99

{_proven(wanted, knobs)}
# Rules over the target's series: docs/alerts.md; the names of series: docs/metrics.md.
alerts:
  - name: KvCacheNearlyFull
    tier: hardware
    series: kv_usage
    above: 0.9
    for_s: 300
  - name: SloAttainmentLow
    tier: business
    series: attainment
    below: 0.5
    clear: 0.6
    for_s: 180
    severity: critical
"""


def _slo_origin(slo: SloHint) -> str:
    if slo.from_traffic:
        origin = "From the traffic so far: what three requests in four get now. Yours to set."
    else:
        origin = (
            "A usual choice, not measured: there was too little traffic to look at. Yours to set."
        )
    return "\n# ".join((origin, *(f"Mind: {doubt}." for doubt in slo.doubts)))


def _per_token(slo: SloHint) -> str:
    """The line on what follows the first token; the other choice as a comment."""
    gap, tpot = "largest gap between two tokens", "mean time per token after the first"
    if slo.tpot_s is not None:
        return f"  tpot_s: {slo.tpot_s:g}      # {tpot}\n  # gap_max_s: 0.3  # {gap}\n"
    return f"  gap_max_s: {slo.gap_max_s:g}    # {gap}\n  # tpot_s: 0.1     # {tpot}\n"


def _constraints(constraints: Sequence[str]) -> str:
    if not constraints:
        return ""
    lines = "".join(f"  - {one}\n" for one in constraints)
    return (
        f"# What these owe each other; nothing that breaks it is proposed.\nconstraints:\n{lines}"
    )


def _proven(wanted: Wanted, knobs: list[KnobLines]) -> str:
    restarts = any(knob.tuned and not knob.live for knob in knobs)
    return testing_text(quick=wanted.quick, proxied=wanted.proxied, restarts=restarts)


def _knobs(knobs: list[KnobLines]) -> str:
    tuned = [_knob(one) for one in knobs if one.tuned and len(one.levels) > 1]
    others = [_knob(one) for one in knobs if not one.tuned and len(one.levels) > 1]
    text = "".join(tuned)
    if others:
        text += "  # The target has these too. Take one in by removing the #.\n"
        text += "".join(_commented(one) for one in others)
    return text


def _knob(knob: KnobLines) -> str:
    levels = ", ".join(_level(level) for level in knob.levels)
    text = f"  {knob.name}:\n    levels: [{levels}]\n"
    if not knob.live:
        text += "    live: false           # by a restart or a rebuild of the engines\n"
    if knob.changes_answers:
        text += "    changes_answers: true # so that answer quality is guarded\n"
    if knob.memory is not None:
        text += f"    memory: {knob.memory}\n"
    if knob.max_step is not None:
        text += f"    max_step: {knob.max_step}\n"
    return text


def _commented(lines: str) -> str:
    return "".join(f"  # {line[2:]}\n" for line in lines.splitlines())


def _level(value: Value) -> str:
    return json.dumps(value) if isinstance(value, bool | int | float) else _word(value)


def _word(text: str) -> str:
    """Bare where YAML reads it as that very word, else quoted."""
    bare = text.replace("-", "").replace("_", "")
    usual = bare.isalnum() and not bare[0].isdigit()
    return text if usual and text.lower() not in _NOT_WORDS else _quoted(text)


_NOT_WORDS = {"on", "off", "yes", "no", "true", "false", "null", "y", "n"}


def _quoted(text: str) -> str:
    """A JSON string, which YAML reads as well."""
    return json.dumps(text, ensure_ascii=False)
