"""Each view of the page as text, made from the read models; knows no HTTP."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from urllib.parse import urlencode

from markupsafe import Markup

from autotuner.domain.experiment import Experiment, Plan, Verdict
from autotuner.domain.measures import measure
from autotuner.history.store import History
from autotuner.report import tables
from autotuner.report.markup import Html
from autotuner.report.numbers import level_text
from autotuner.report.reasons import reasons
from autotuner.report.words import bounds_text, words
from autotuner.web import reading
from autotuner.web.learning import learning
from autotuner.web.pages.actions import ACTIONS, action_named, offered
from autotuner.web.pages.charts import interval_svg
from autotuner.web.pages.panels import ExperimentFigures
from autotuner.web.pages.render import Visit, render, target_path
from autotuner.web.pages.safe import trusted
from autotuner.web.pages.search import found_experiments
from autotuner.web.pages.words import gain
from autotuner.web.problems import UnknownNameError
from autotuner.web.sources import Sources

PAST_ALERTS_DAYS = 7
_SERIES_S = 12 * 3600.0  # chosen: what the charts go back
_AHEAD_S = 6 * 3600.0  # chosen: as far as a band is drawn; what a target forecasts is longer
_DECISIONS, _EXPERIMENTS, _ASKED = 25, 25, 8


@dataclass(frozen=True)
class Chosen:
    """What a list of experiments was asked for; empty is everything."""

    target: str = ""
    verdict: str = ""
    text: str = ""
    cursor: str = ""

    def query(self, cursor: str = "") -> str:
        """As the address of the list's page that begins at `cursor`."""
        asked = {"target": self.target, "verdict": self.verdict, "text": self.text}
        told = {name: value for name, value in {**asked, "cursor": cursor}.items() if value}
        return f"/experiments?{urlencode(told)}" if told else "/experiments"


@dataclass(frozen=True)
class Typed:
    """What stands in the form for a silence."""

    target: str = ""
    alert: str = ""
    lasting: str = ""
    comment: str = ""


class Levels:
    """The confidence that each test needs. A plan is fixed before its first slot: read once."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._kept: dict[str, float] = {}

    def of(self, key: str) -> float:
        """0..1, of the experiment of that id."""
        if key not in self._kept:
            found = self._history.experiment(key)
            self._kept[key] = 1 - (found.plan.alpha if found else Plan.alpha)
        return self._kept[key]


@dataclass(frozen=True)
class Pages:
    """The views over one history."""

    sources: Sources
    figures: ExperimentFigures = field(default_factory=ExperimentFigures)
    levels: Levels = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", Levels(self.sources.history))

    def fleet(self, visit: Visit) -> str:
        found = reading.fleet(self.sources, visit.now)
        return render("fleet.html", visit, fleet=found, needed=self.levels.of)

    def target(self, visit: Visit, name: str, cursor: str = "") -> str:
        """Raises UnknownNameError for a target that is not known."""
        found = reading.target(self.sources, name, visit.now, recent_s=_SERIES_S)
        decisions = reading.decisions(self.sources, name, cursor=cursor or None, limit=_DECISIONS)
        path = target_path(name)
        return render(
            "target.html",
            visit,
            target=found,
            decisions=decisions,
            asked=reading.actions(self.sources, target=name, limit=_ASKED).items,
            actions=offered(found.line.mode, found.line.running is not None),
            limits={one.name: one.limit for one in found.live.objectives},
            ahead_s=_AHEAD_S,
            needed=self.levels.of,
            newest=f"{path}#h-why" if cursor else "",
            older=f"{path}?{urlencode({'cursor': decisions.next})}#h-why" if decisions.next else "",
        )

    def experiments(self, visit: Visit, chosen: Chosen) -> str:
        """Raises RequestError for a target, verdict or cursor that is none."""
        found = found_experiments(
            self.sources,
            chosen.text,
            target=chosen.target or None,
            verdict=Verdict(chosen.verdict) if chosen.verdict in list(Verdict) else None,
            cursor=chosen.cursor or None,
            limit=_EXPERIMENTS,
        )
        return render(
            "experiments.html",
            visit,
            found=found,
            chosen=chosen,
            names=self.sources.history.targets(),
            verdicts=[one.value for one in Verdict],
            newest=chosen.query() if chosen.cursor else "",
            older=chosen.query(found.next) if found.next else "",
        )

    def experiment(self, visit: Visit, key: str) -> str:
        """Raises UnknownNameError for an experiment that is not known."""
        test, ended_at = self._test(key), self.sources.history.ended_at(key)
        why, told = self.sources.history.explanation(key), words(test, ended_at)
        last, ended = test.looks[-1] if test.looks else None, test.conclusion
        figures = (math.nan,) * 3 if last is None else (last.effect, last.low, last.high)
        confidence = ended.confidence if ended else last.confidence if last else None
        return render(
            "experiment.html",
            visit,
            test=test,
            ended_at=ended_at,
            told=told,
            verdict=ended.verdict.value if ended else None,
            confidence=confidence,
            needed=level_text(test.plan.alpha),
            effect=figures[0],
            bounds=_bounds(test, figures),
            interval=_interval(test, figures),
            paragraphs=told.titled,
            why=reasons(test, why).paragraphs if why else (),
            figures=self.figures.of(test),
            tables={
                "guardrails": _markup(tables.guardrails_table(test)),
                "arms": _markup(tables.arms_table(test)),
                "pairs": _markup(tables.pairs_table(test)),
                "slots": _markup(tables.slots_table(test)),
                "plan": _markup(tables.plan_table(test)),
            },
            actions=[ACTIONS["stop"]] if test.running else [],
        )

    def alerts(self, visit: Visit, problem: str = "", typed: Typed = Typed()) -> str:
        found = reading.alerts(self.sources, visit.now)
        return render(
            "alerts.html",
            visit,
            firing=[one for one in found if one.firing],
            past=[one for one in found if not one.firing],
            silences=reading.silences(self.sources, visit.now),
            names=self.sources.history.targets(),
            days=PAST_ALERTS_DAYS,
            problem=problem,
            typed=typed,
        )

    def agent(self, visit: Visit) -> str:
        names = self.sources.history.targets()
        agents = [reading.agent(self.sources, name, visit.now) for name in names]
        return render("agent.html", visit, agents=agents)

    def learning(self, visit: Visit) -> str:
        names = self.sources.history.targets()
        learnt = [learning(self.sources, name) for name in names]
        return render("learning.html", visit, learnt=[one for one in learnt if one.begun])

    def confirm_action(self, visit: Visit, target: str, name: str, experiment: str = "") -> str:
        """Raises UnknownNameError for a target or an action that is not known."""
        line = reading.target(self.sources, target, visit.now).line
        action = action_named(name)
        running = line.running.id if line.running else "none"
        mode = line.mode or "not known: no daemon has spoken of it yet"
        return render(
            "confirm.html",
            visit,
            question=action.question.format(target=target),
            consequence=action.consequence.format(target=target),
            facts=[("Mode now", mode), ("Test that runs", running)],
            action=f"{target_path(target)}/{name}",
            hidden={"experiment": experiment or (line.running.id if line.running else "")},
            button=action.button,
            dangerous=action.dangerous,
            back=target_path(target),
        )

    def confirm_silence_end(self, visit: Visit, silence_id: int) -> str:
        """Raises UnknownNameError where there is none that has not ended."""
        silences = reading.silences(self.sources, visit.now)
        one = next((s for s in silences if s.id == silence_id), None)
        if one is None:
            raise UnknownNameError("silence", silence_id, "it has ended; see /alerts")
        return render(
            "confirm.html",
            visit,
            question=f"End silence {one.id}?",
            consequence=f"From the next cycle on, alerts of {one.target or 'every target'} "
            f"({one.alert or 'every alert'}) are told again; what still fires is told at once.",
            facts=[("Made by", one.author), ("Why", one.comment)],
            action=f"/silences/{one.id}/end",
            hidden={},
            button="End the silence",
            dangerous=False,
            back="/alerts",
        )

    def _test(self, key: str) -> Experiment:
        found = self.sources.history.experiment(key)
        if found is None:
            raise UnknownNameError("experiment", key, "give an id as /experiments lists it")
        return found


def _markup(content: Html) -> Markup:
    """What the report has escaped already."""
    return trusted(content.text)


def _bounds(test: Experiment, figures: tuple[float, float, float]) -> str:
    if math.isnan(figures[0]):
        return "No pair has been counted."
    return bounds_text(
        measure(test.plan.outcome), figures[1], figures[2], level_text(test.plan.alpha)
    )


def _interval(test: Experiment, figures: tuple[float, float, float]) -> Markup:
    effect, low, high = figures
    shown = [gain(test.plan.outcome, value) for value in (effect, low, high)]
    label = f"effect {shown[0]}, at least {shown[1]}, at most {shown[2]}"
    return trusted(interval_svg(low, effect, high, label))
