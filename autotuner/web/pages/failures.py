"""What goes wrong, as a page with a fix."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse

from autotuner.domain.errors import HistoryError
from autotuner.web.guard import LoginNeededError, TokenNeededError, TooOftenError
from autotuner.web.pages.asked import theme_of
from autotuner.web.pages.render import Visit, render
from autotuner.web.problems import RequestError
from autotuner.web.ways import login_for

_HEADLINES = {
    401: "Not known",
    403: "Not allowed",
    404: "Not found",
    409: "Not as things stand now",
    413: "Too large",
    422: "Not understood",
    429: "Too often",
    503: "The history does not answer",
}
_LINKS = (("/", "Fleet"), ("/experiments", "Experiments"), ("/alerts", "Alerts"))


def failing_page(request: Request, problem: Exception) -> Response | None:
    """The answer to a request that failed; None where the failure is one of the program."""
    if isinstance(problem, LoginNeededError):
        return RedirectResponse(login_for(request), problem.status)
    if isinstance(problem, RequestError):
        told = problem.problem
        response = _page(request, problem.status, f"{told.field}: {told.value}", told.fix)
        if isinstance(problem, TooOftenError):
            response.headers["Retry-After"] = str(problem.wait_s)
        if isinstance(problem, TokenNeededError):
            response.headers["WWW-Authenticate"] = "Bearer"
        return response
    if isinstance(problem, RequestValidationError):
        return _page(request, 422, f"address: {request.url.path!r}", "follow a link of the page")
    if isinstance(problem, HistoryError):
        fix = "See whether the database runs and can be reached; the page works again when it does."
        return _page(request, 503, str(problem), fix)
    return None


def _page(request: Request, status: int, problem: str, fix: str) -> Response:
    visit = Visit(place="", here="/", now=0.0, theme=theme_of(request), may_read=status != 401)
    text = render(
        "problem.html",
        visit,
        status=status,
        headline=_HEADLINES.get(status, "It did not work"),
        problem=problem,
        fix=f"{fix[:1].upper()}{fix[1:]}",
        links=_LINKS if status == 404 else (),
        back="",
    )
    return HTMLResponse(text, status)
