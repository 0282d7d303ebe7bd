"""The page of a report: one HTML file that needs nothing from outside and runs no script."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files

from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.explanation import Explanation
from autotuner.report.captions import alternative, caption
from autotuner.report.facts import is_aa
from autotuner.report.figure import Panel, panel_svg, panels
from autotuner.report.markup import Html, element, joined, shown
from autotuner.report.palette import ROLES
from autotuner.report.reasons import reasons
from autotuner.report.tables import (
    arms_table,
    guardrails_table,
    pairs_table,
    plan_table,
    slots_table,
)
from autotuner.report.vector import inline_svg
from autotuner.report.words import Words, words

_TONES = {Verdict.ACCEPTED: "good", Verdict.HARMFUL: "bad"}
_READING = (
    "Slots come in pairs, one per arm, and a coin decides which arm goes first. If the treatment "
    "changed nothing, each difference would be as likely to be plus as minus, whatever the "
    "traffic did. The confidence is what a bet against that coin has won, turned into a "
    "probability that holds at every look.",
    "Plus is always better: of a latency, a plus is a cut. Points are points of a share (80% to "
    "85% is 5 points); per cent is relative to the control.",
    "“At least” and “at most” are one bound each, at the confidence of the plan. A dash: nothing "
    "is known yet, or it was not measured.",
    "A request suffered if it missed a target of the SLO or failed. Requests that lived under "
    "both arms count for neither. Slots that were never judged are not in the figures of cost. "
    "Whatever failed, under either arm, also counts against the target's error budget.",
    "ACCEPTED: better, and no guardrail is worse by its margin. REJECTED: a gain worth having is "
    "refuted. HARMFUL: worse, a guardrail is broken, or a hard limit was hit. INCONCLUSIVE: the "
    "budget or the traffic ended first. ABORTED: stopped from outside.",
)


def page(experiment: Experiment, ended_at: float | None, why: Explanation | None = None) -> str:
    """The whole page as text; with `why` the candidate was tried, where that is known."""
    told = words(experiment, ended_at)
    title = f"{told.headline} · {experiment.target} · {experiment.id}"
    head = joined(
        (
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{content_policy()}">'),
            element("title", title),
            element("style", Html(_style())),
        )
    )
    main = element("main", *_sections(experiment, told, ended_at, why))
    body = element("body", main, element("footer", element("p", _beside(), _class="meta")))
    return f"<!doctype html>\n{element('html', element('head', head), body, lang='en').text}\n"


def content_policy() -> str:
    """The page's Content-Security-Policy; a server that sends one of its own can send this."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _sections(
    experiment: Experiment, told: Words, ended_at: float | None, why: Explanation | None
) -> tuple[Html, ...]:
    reason = () if why is None else (_section("Why it was tried", *_why(experiment, why)),)
    return (
        _verdict(experiment, told, ended_at),
        *reason,
        _section("Figures", *(_figure(panel, experiment) for panel in panels(experiment))),
        _section("Arms", arms_table(experiment)),
        _section("Guardrails", guardrails_table(experiment)),
        _section("Pairs", pairs_table(experiment)),
        _section("Slots", slots_table(experiment)),
        _section("Plan", plan_table(experiment)),
        _section("How to read it", *(element("p", text) for text in _READING)),
    )


def _verdict(experiment: Experiment, told: Words, ended_at: float | None) -> Html:
    ended = experiment.conclusion
    badge = "RUNNING" if ended is None else ended.verdict.value
    tone = "" if ended is None else _TONES.get(ended.verdict, "")
    if is_aa(experiment) and tone:
        tone = "bad"  # where nothing differs, to find anything is a fault
    listed = [Html(element("dt", a).text + element("dd", b).text) for a, b in told.titled]
    return joined(
        (
            element("p", _when(experiment, ended_at), _class="meta"),
            element(
                "div",
                element("span", badge, _class="badge"),
                element("h1", told.headline),
                element("dl", joined(listed)),
                _class=f"verdict {tone}".strip(),
            ),
        )
    )


def _why(experiment: Experiment, why: Explanation) -> tuple[Html, ...]:
    said = reasons(experiment, why).paragraphs
    listed = (Html(element("dt", a).text + element("dd", b).text) for a, b in said)
    return (element("dl", joined(listed)),)


def _when(experiment: Experiment, ended_at: float | None) -> str:
    began = (
        f"Experiment {experiment.id} on {experiment.target}, began {_utc(experiment.started_at)}"
    )
    if ended_at is not None:
        return f"{began}, ended {_utc(ended_at)}."
    return f"{began}; {'it still runs' if experiment.running else 'it has ended'}."


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _section(title: str, *content: Html) -> Html:
    return element("section", element("h2", title), *content)


def _figure(panel: Panel, experiment: Experiment) -> Html:
    """Two drawings of the same; the style sheet shows the one that fits the screen."""
    label = alternative(panel.name, experiment)
    drawings = []
    for narrow in (False, True):
        name = f"{panel.name}-{'narrow' if narrow else 'wide'}"
        svg = panel_svg(panel, experiment, narrow=narrow)
        kind = "plot narrow" if narrow else "plot"
        drawings.append(Html(inline_svg(svg, name, label, ROLES, kind)))
    return element("figure", *drawings, element("figcaption", caption(panel.name, experiment)))


def _beside() -> Html:
    picture = element("a", "figure.png", href="figure.png")
    data = element("a", "report.json", href="report.json")
    return Html(f"Beside this page: {shown(picture)} (the figures) and {shown(data)} (the data).")


@lru_cache(maxsize=1)
def _style() -> str:
    return files("autotuner.report").joinpath("page.css").read_text(encoding="utf-8")
