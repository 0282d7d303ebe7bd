"""The routes that act: pause, resume, roll back, declare and stop tests, silence alerts.

Each leaves a wish in the history, as the command line does; the daemon acts in its next cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Security

from autotuner.config import ExperimentPlan
from autotuner.history.records import Ask
from autotuner.web import acting, declared
from autotuner.web.api.bodies import Accepted, NoteBody, SilenceBody
from autotuner.web.api.parts import PREFIX, Name, TargetName, answers
from autotuner.web.api.reads import BEARER
from autotuner.web.guard import Asker, Guard
from autotuner.web.sources import Sources
from autotuner.web.views import RequestView, SilenceView

_ASKS = {
    Ask.PAUSE: "Only observe from the next cycle on; a running test ends, the incumbent is back.",
    Ask.RESUME: "Tune again.",
    Ask.ROLLBACK: "End a running test and apply the incumbent.",
}


def act_routes(sources: Sources, guard: Guard) -> APIRouter:
    """All of them for whoever may act."""
    router = APIRouter(
        prefix=PREFIX,
        dependencies=[Security(BEARER)],
        responses=answers(403, 404, 409, 413),
    )
    operator = Depends(guard.operator)
    for what, words in _ASKS.items():
        router.add_api_route(
            f"/targets/{{name}}/{what.value}",
            _asking(sources, operator, what),
            methods=["POST"],
            status_code=202,
            tags=["targets"],
            operation_id=f"{what.value}_target",
            description=words,
            summary=what.value.capitalize(),
        )

    @router.post("/experiments", status_code=202, tags=["experiments"])
    def declare(body: ExperimentPlan, asker: Asker = operator) -> RequestView:
        """Ask for a test of yours: it starts when no other runs, under the rules of the policy.

        Without `changes` it is an A/A test. `stop` with the request's number withdraws it.
        """
        return declared.ask_for(sources, body, asker)

    @router.post("/experiments/{experiment_id}/stop", status_code=202, tags=["experiments"])
    def stop(experiment_id: Name, asker: Asker = operator) -> Accepted:
        """End a running test, or withdraw the request of that number, without a verdict."""
        return Accepted(said=acting.stop(sources, experiment_id, asker), who=asker.who)

    @router.post("/silences", status_code=201, tags=["alerts"])
    def add_silence(body: SilenceBody, asker: Asker = operator) -> SilenceView:
        """Alerts that match are not told from now on; those that still fire at its end are."""
        return acting.add_silence(sources, asker, **body.model_dump())

    @router.post("/silences/{silence_id}/end", tags=["alerts"])
    def end_silence(
        silence_id: Annotated[int, Path(ge=1, le=2**31 - 1)],
        asker: Asker = operator,
    ) -> SilenceView:
        """What it held back and still fires is told in the next cycle."""
        return acting.end_silence(sources, silence_id, asker)

    return router


def _asking(sources: Sources, operator: Any, what: Ask) -> Callable[..., Accepted]:
    def ask(
        name: TargetName,
        body: NoteBody | None = None,
        asker: Asker = operator,
    ) -> Accepted:
        note = body.note if body else ""
        return Accepted(said=acting.ask(sources, name, what, asker, note), who=asker.who)

    return ask
