"""The routes that read: fleet, targets, experiments, alerts, silences, agents, learning."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Security
from fastapi.security import HTTPBearer

from autotuner.domain.experiment import Verdict
from autotuner.web import declared, learning, reading
from autotuner.web.api.bodies import ExperimentReport, Me
from autotuner.web.api.parts import PREFIX, Cursor, Limit, Name, Target, TargetName, Time, answers
from autotuner.web.guard import Asker, Guard
from autotuner.web.learning import LearningView
from autotuner.web.sources import Sources
from autotuner.web.views import (
    ActionPage,
    AgentView,
    AlertView,
    DecisionPage,
    ExperimentPage,
    FleetView,
    RequestPage,
    SeriesView,
    SettingsPage,
    SilenceView,
    TargetView,
)

BEARER = HTTPBearer(auto_error=False, description="a token of listen.tokens_file")


def read_routes(sources: Sources, guard: Guard) -> APIRouter:
    """All of them for whoever may read."""
    viewer = Depends(guard.viewer)
    router = APIRouter(
        prefix=PREFIX,
        dependencies=[viewer, Security(BEARER)],
        responses=answers(),
    )
    _target_routes(router, sources)
    _experiment_routes(router, sources)
    _alert_routes(router, sources)

    @router.get("/me", tags=["access"])
    def me(asker: Asker = viewer) -> Me:
        """Who the daemon takes you for."""
        return Me(name=asker.name, role=asker.role.value, address=asker.address)

    @router.get("/actions", tags=["access"], responses=answers(404))
    def actions(target: Target = None, cursor: Cursor = None, limit: Limit = 50) -> ActionPage:
        """The audit trail: what people asked of the daemons, who, and when."""
        return reading.actions(sources, target=target, cursor=cursor, limit=limit)

    return router


def _target_routes(router: APIRouter, sources: Sources) -> None:
    @router.get("/fleet", tags=["targets"])
    def fleet() -> FleetView:
        """Every target: mode, health, last word, settings in force, running test, alerts."""
        return reading.fleet(sources, time.time())

    @router.get("/targets/{name}", tags=["targets"], responses=answers(404))
    def target(
        name: TargetName,
        recent_s: Annotated[float, Query(gt=0, le=31 * reading.DAY_S, allow_inf_nan=False)] = (
            reading.RECENT_S
        ),
    ) -> TargetView:
        """One target: live metrics against the SLO, settings and since when, series, forecasts."""
        return reading.target(sources, name, time.time(), recent_s=recent_s)

    @router.get("/targets/{name}/settings", tags=["targets"], responses=answers(404))
    def settings(name: TargetName, cursor: Cursor = None, limit: Limit = 20) -> SettingsPage:
        """Which settings were live when, and why; newest first."""
        return reading.settings(sources, name, cursor=cursor, limit=limit)

    @router.get("/targets/{name}/series/{series}", tags=["targets"], responses=answers(404))
    def series(
        name: TargetName, series: Name, since: Time = None, until: Time = None
    ) -> SeriesView:
        """One series with its forecast and anomalies; the last day where `since` is not given."""
        start = time.time() - reading.RECENT_S if since is None else since
        return reading.series(sources, name, series, since=start, until=until)

    @router.get("/targets/{name}/decisions", tags=["targets"], responses=answers(404))
    def decisions(name: TargetName, cursor: Cursor = None, limit: Limit = 50) -> DecisionPage:
        """What the daemon decided, cycle by cycle; newest first."""
        return reading.decisions(sources, name, cursor=cursor, limit=limit)

    @router.get("/targets/{name}/agent", tags=["targets"], responses=answers(404))
    def agent(
        name: TargetName,
        days: Annotated[float, Query(gt=0, le=366, allow_inf_nan=False)] = 7.0,
    ) -> AgentView:
        """Which agents the target used, and how good its model was over the last days."""
        return reading.agent(sources, name, time.time(), checks_s=days * reading.DAY_S)

    @router.get("/targets/{name}/learning", tags=["targets"], responses=answers(404))
    def learnt(name: TargetName, limit: Limit = 20) -> LearningView:
        """The weights in force, fine-tunes and files of examples; newest first."""
        return learning.learning(sources, name, limit=limit)


def _experiment_routes(router: APIRouter, sources: Sources) -> None:
    @router.get("/experiments", tags=["experiments"], responses=answers(404))
    def experiments(
        target: Target = None,
        verdict: Verdict | None = None,
        cursor: Cursor = None,
        limit: Limit = 20,
    ) -> ExperimentPage:
        """A/B tests on one line each; newest first."""
        return reading.experiments(
            sources, target=target, verdict=verdict, cursor=cursor, limit=limit
        )

    @router.get("/requests", tags=["experiments"], responses=answers(404))
    def requests(target: Target = None, cursor: Cursor = None, limit: Limit = 20) -> RequestPage:
        """Tests that people declared, and what became of each; newest first."""
        return declared.requests(sources, target=target, cursor=cursor, limit=limit)

    @router.get(
        "/experiments/{experiment_id}",
        tags=["experiments"],
        responses=answers(404),
        response_model=ExperimentReport,
    )
    def experiment(experiment_id: Name) -> dict[str, Any]:
        """One test whole: slots, looks, guardrails, verdict, reason, and why it was proposed."""
        return reading.experiment(sources, experiment_id)


def _alert_routes(router: APIRouter, sources: Sources) -> None:
    @router.get("/alerts", tags=["alerts"], responses=answers(404))
    def alerts(
        target: Target = None,
        firing: Annotated[bool | None, Query(description="only those that do, or do not")] = None,
        since: Time = None,
        limit: Limit = 100,
    ) -> tuple[AlertView, ...]:
        """Those that fire, and those of the last week that are over; silenced ones are marked."""
        return reading.alerts(
            sources, time.time(), target=target, firing=firing, since=since, limit=limit
        )

    @router.get("/silences", tags=["alerts"])
    def silences(ended: bool = False) -> tuple[SilenceView, ...]:
        """Silences that hold or wait, and with `ended` those that are over; newest first."""
        return reading.silences(sources, time.time(), ended=ended)
