"""The routes of the page: who may see or ask what, and which view answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from autotuner.web import acting
from autotuner.web.guard import Asker, Guard
from autotuner.web.pages.actions import asked_words, perform
from autotuner.web.pages.asked import THEME_COOKIE, THEMES, form_of, theme_of
from autotuner.web.pages.failures import failing_page
from autotuner.web.pages.render import PAGE_HEADERS, Visit, render, target_path
from autotuner.web.pages.shows import Chosen, Pages, Typed
from autotuner.web.problems import RequestError, UnknownNameError
from autotuner.web.sources import Sources
from autotuner.web.ways import here, own_path

_YEAR_S = 365 * 86400
_STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
Clock = Callable[[], float]


class _PageRoute(APIRoute):
    """Answers with a page whatever goes wrong, and with the page's headers whatever goes right."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handler(request)
            except Exception as problem:
                failed = failing_page(request, problem)
                if failed is None:
                    raise
                response = failed
            for name, value in PAGE_HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer


Form = Annotated[Mapping[str, str], Depends(form_of)]


def pages_router(sources: Sources, guard: Guard, clock: Clock = time.time) -> APIRouter:
    """All pages under `/`, their style sheet and script under `/static`."""
    router = APIRouter(route_class=_PageRoute, include_in_schema=False)
    desk = _Desk(guard, clock)
    pages = Pages(sources)
    _add_views(router, pages, desk)
    _add_wishes(router, pages, desk)
    _add_rest(router, desk)
    return router


class _Desk:
    """What each route needs to know of who looks."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self.guard = guard
        self.clock = clock

    def visit(self, request: Request, asker: Asker | None, place: str = "") -> Visit:
        return Visit(
            place=place,
            here=here(request) if request.method == "GET" else place or "/",
            now=self.clock(),
            who=asker.name if asker else "",
            logged_in=asker is not None and self.guard.asks_for_tokens,
            theme=theme_of(request),
            may_read=asker is not None,
            may_act=asker is not None and asker.acts,
            flash=asked_words(request.query_params.get("asked", "")),
        )


def _add_views(router: APIRouter, pages: Pages, desk: _Desk) -> None:
    viewer = Depends(desk.guard.page_viewer)

    @router.get("/", response_class=HTMLResponse)
    def fleet(request: Request, asker: Asker = viewer) -> str:
        return pages.fleet(desk.visit(request, asker, "/"))

    @router.get("/targets/{name}", response_class=HTMLResponse)
    def target(request: Request, name: str, cursor: str = "", asker: Asker = viewer) -> str:
        return pages.target(desk.visit(request, asker), name, cursor)

    @router.get("/experiments", response_class=HTMLResponse)
    def experiments(
        request: Request,
        target: str = "",
        verdict: str = "",
        text: str = "",
        cursor: str = "",
        asker: Asker = viewer,
    ) -> str:
        chosen = Chosen(target, verdict, text.strip()[:200], cursor)
        return pages.experiments(desk.visit(request, asker, "/experiments"), chosen)

    @router.get("/experiments/{key}", response_class=HTMLResponse)
    def experiment(request: Request, key: str, asker: Asker = viewer) -> str:
        return pages.experiment(desk.visit(request, asker), key)

    @router.get("/alerts", response_class=HTMLResponse)
    def alerts(request: Request, asker: Asker = viewer) -> str:
        return pages.alerts(desk.visit(request, asker, "/alerts"))

    @router.get("/agent", response_class=HTMLResponse)
    def agent(request: Request, asker: Asker = viewer) -> str:
        return pages.agent(desk.visit(request, asker, "/agent"))

    @router.get("/learning", response_class=HTMLResponse)
    def learning(request: Request, asker: Asker = viewer) -> str:
        return pages.learning(desk.visit(request, asker, "/learning"))


def _add_wishes(router: APIRouter, pages: Pages, desk: _Desk) -> None:
    viewer, operator = Depends(desk.guard.page_viewer), Depends(desk.guard.page_operator)

    @router.get("/targets/{name}/{action}", response_class=HTMLResponse)
    def confirm(
        request: Request, name: str, action: str, experiment: str = "", asker: Asker = viewer
    ) -> str:
        return pages.confirm_action(desk.visit(request, asker), name, action, experiment)

    @router.post("/targets/{name}/{action}")
    def act(form: Form, name: str, action: str, asker: Asker = operator) -> Response:
        perform(pages.sources, name, action, form.get("experiment", ""), asker)
        return _see(f"{target_path(name)}?asked={action}")

    @router.post("/silences")
    def add_silence(request: Request, form: Form, asker: Asker = operator) -> Response:
        typed = Typed(*(form.get(one, "") for one in ("target", "alert", "lasting", "comment")))
        try:
            acting.add_silence(pages.sources, asker, **vars(typed))
        except RequestError as problem:
            visit = desk.visit(request, asker, "/alerts")
            return HTMLResponse(pages.alerts(visit, str(problem), typed), problem.status)
        return _see("/alerts?asked=silence")

    @router.get("/silences/{silence_id}/end", response_class=HTMLResponse)
    def confirm_end(request: Request, silence_id: int, asker: Asker = viewer) -> str:
        return pages.confirm_silence_end(desk.visit(request, asker), silence_id)

    @router.post("/silences/{silence_id}/end")
    def end_silence(silence_id: int, asker: Asker = operator) -> Response:
        acting.end_silence(pages.sources, silence_id, asker)
        return _see("/alerts?asked=silence-end")


def _add_rest(router: APIRouter, desk: _Desk) -> None:
    @router.get("/login", response_class=HTMLResponse)
    def login(request: Request, failed: str = "", back: str = "/") -> Response:
        if not desk.guard.asks_for_tokens:
            return _see(own_path(back))
        problem = "This token is not known. Paste it whole, or ask for a new one." if failed else ""
        visit = desk.visit(request, None)
        return HTMLResponse(render("login.html", visit, problem=problem, back=own_path(back)))

    @router.post("/theme")
    def choose_theme(form: Form) -> Response:
        response = _see(own_path(form.get("back", "/")))
        if form.get("theme") in THEMES:
            response.set_cookie(
                THEME_COOKIE, form["theme"], max_age=_YEAR_S, samesite="lax", httponly=True
            )
        else:
            response.delete_cookie(THEME_COOKIE)
        return response

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise UnknownNameError("file", name, f"give one of {', '.join(_STATIC)}")
        body = files("autotuner.web.pages").joinpath("static", name).read_bytes()
        return Response(body, media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})


def _see(path: str) -> RedirectResponse:
    """Leads to a page; a reload of it sends nothing again."""
    return RedirectResponse(path, 303)
