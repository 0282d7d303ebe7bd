"""How declared tests, and what a test would cost, look in a terminal and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from autotuner.commands.experiment_cost import Cost, Need, Noise
from autotuner.commands.views import when
from autotuner.declaring import Wish
from autotuner.domain.experiment import Design, Verdict
from autotuner.history.records import Control
from autotuner.report.numbers import (
    count_text,
    gain,
    gain_text,
    gain_unit,
    length_text,
    level_text,
    margin_text,
    size_text,
)

_DESIGNS = {
    Design.SWITCHBACK: "switchback (both settings in turns)",
    Design.SPLIT: "split (both settings at once, on two lanes)",
}


def changes_words(changes: Mapping[str, Any]) -> str:
    """Such as `max_num_seqs=64`."""
    return ", ".join(f"{name}={value}" for name, value in changes.items()) or "nothing (A/A)"


def request_words(request: Control, verdict: Verdict | None) -> str:
    """What became of a request, or that it waits."""
    if request.waits:
        return "waits"
    if request.experiment_id is not None:
        return f"{request.experiment_id}: {verdict or 'running'}"
    return f"not run: {request.result}" if request.result else "not run"


def request_as_dict(request: Control, verdict: Verdict | None) -> dict[str, Any]:
    payload = request.payload or {}
    return {
        "request": request.id,
        "target": request.target,
        "who": request.who,
        "note": request.note,
        "asked_at": request.asked_at,
        "taken_at": request.taken_at,
        "changes": dict(payload.get("changes", {})),
        "plan": dict(payload.get("plan", {})),
        "experiment": request.experiment_id,
        "verdict": verdict.value if verdict else None,
        "result": request.result,
    }


def requests_table(requests: list[tuple[Control, Verdict | None]]) -> None:
    """One row a request, newest first."""
    table = Table(title="declared tests", title_justify="left")
    for column in ("request", "asked (UTC)", "by", "test", "changes", "what became of it"):
        table.add_column(column, overflow="fold")
    for request, verdict in requests:
        table.add_row(
            str(request.id), when(request.asked_at), request.who, request.note,
            changes_words((request.payload or {}).get("changes", {})),
            request_words(request, verdict),
        )  # fmt: skip
    Console().print(table)


def cost_as_dict(wish: Wish, cost: Cost, refusal: str | None) -> dict[str, Any]:
    """Effects, noise and margins as differences (log units where compared by ratio)."""
    plan = cost.plan
    return {
        "target": wish.target.name,
        "name": wish.name,
        "changes": dict(wish.changes),
        "design": plan.design.value,
        "alpha": plan.alpha,
        "max_pairs": plan.max_pairs,
        "budget_s": plan.budget_s,
        "pair_s": cost.pair_minutes * 60,
        "needed_pairs": _finite(cost.pairs),
        "smallest_effect": _finite(cost.smallest_effect),
        "outcome": _need_as_dict(cost, cost.outcome),
        "guardrails": [_need_as_dict(cost, need) for need in cost.guardrails],
        "refusal": refusal,
    }


def _need_as_dict(cost: Cost, need: Need) -> dict[str, Any]:
    return {
        "measure": need.measure.name,
        "margin": need.margin,
        "noise_sd": need.noise.sd,
        "noise_pairs": need.noise.pairs,
        "noise_tests": need.noise.tests,
        "effect": _finite(need.shift),
        "needed_pairs": _finite(need.pairs),
        "fits": cost.fits(need),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def cost_report(wish: Wish, cost: Cost, refusal: str | None) -> None:
    """What the test would take, measure by measure."""
    console, plan = Console(), cost.plan
    console.print(
        f"[bold]{wish.name}[/bold] on {wish.target.name}: {changes_words(wish.changes)}\n"
        f"{_DESIGNS[plan.design]}, at most {count_text(plan.max_pairs, 'pair')} of "
        f"2 × {plan.slot_s:g} s: at most {length_text(plan.budget_s)}; decided at "
        f"{level_text(plan.alpha)}",
        highlight=False,
    )
    if wish.rules.plan_from_noise:
        console.print("the daemon sets slot length and washout by the noise that it sees then")
    table = Table()
    for column in ("measure", "has to", "noise", "known from", "needs"):
        table.add_column(column, overflow="fold")
    for need in cost.needs:
        table.add_row(
            need.measure.words, _task(need), size_text(need.measure, need.noise.sd),
            _source(need.noise), _needs(cost, need),
        )  # fmt: skip
    console.print(table)
    console.print(f"[bold]refused[/bold]: {refusal}" if refusal else _summary(cost))


def _task(need: Need) -> str:
    if need.margin is not None:
        return f"not get worse by {margin_text(need.measure, need.margin)}"
    if math.isnan(need.shift):
        return "get better"
    return f"get better by {gain_text(need.measure, need.shift)}"


def _source(noise: Noise) -> str:
    if not noise.measured:
        return "prior_sd"
    return f"{count_text(noise.pairs, 'pair')} of {count_text(noise.tests, 'earlier test')}"


def _needs(cost: Cost, need: Need) -> str:
    if math.isnan(need.pairs):
        return _least(cost)
    if math.isinf(need.pairs):
        return "no number of pairs shows it"
    length = length_text(60 * cost.pair_minutes * need.pairs)
    over = "" if cost.fits(need) else f": more than {cost.plan.max_pairs}"
    return f"{count_text(round(need.pairs), 'pair')} ({length}){over}"


def _least(cost: Cost) -> str:
    pairs, outcome = count_text(cost.plan.max_pairs, "pair"), cost.outcome.measure
    if math.isnan(cost.smallest_effect):
        return f"more than {pairs} even for the largest gain"
    least = f"{gain(outcome, cost.smallest_effect):.3g} {gain_unit(outcome)}"
    return f"{pairs} find a gain of {least} or more"


def _summary(cost: Cost) -> str:
    length = length_text(60 * cost.pair_minutes * cost.pairs)
    about = f"about {count_text(round(cost.pairs), 'pair')}, {length} (80% of such tests)"
    if not math.isnan(cost.outcome.pairs):
        return about
    guarded = f"its guardrails need {about}; " if cost.pairs else ""
    return f"{guarded}--gain says what the {cost.outcome.measure.words} needs"
