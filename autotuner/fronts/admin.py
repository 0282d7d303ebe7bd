"""The admin routes: settings in force, their change, and the two logs read by cursor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from autotuner.fronts.bodies import parse
from autotuner.fronts.cursor import MAX_PAGE_RECORDS, After, Limit, stamp
from autotuner.fronts.errors import ApiError
from autotuner.fronts.exposures import page_body
from autotuner.fronts.http_io import read_body
from autotuner.fronts.ring import Page

Guard = Callable[[Request], Awaitable[None]]


class SettingsChange(BaseModel):
    """The body of `PUT /admin/settings`. A misspelt field is refused: it would change nothing."""

    model_config = ConfigDict(strict=True, extra="forbid")

    generation: int
    boot_id: str | None = None
    settings: dict[str, Any]
    reason: str | None = Field(None, max_length=1000)


class NotChangedError(Exception):
    """A change that was refused, or failed: the status and the `error` of the answer's body."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(str(error["message"]))
        self.status, self.error = status, error


class Log(Protocol):
    """A ring, as these routes read it."""

    def read(self, after: int, limit: int) -> Page[Any]: ...


class Administered(Protocol):
    """What stands behind the routes. All methods but `change` answer at once."""

    @property
    def boot_id(self) -> str: ...

    @property
    def exposures(self) -> Log: ...

    @property
    def steps(self) -> Log: ...

    def now(self) -> float:
        """Its wall clock (s)."""

    def check_ready(self) -> None:
        """Raises ApiError 503 while it does not know its settings yet."""

    def settings_body(self) -> dict[str, Any]:
        """The answer's body, without its stamp."""

    async def change(self, change: SettingsChange) -> None:
        """Returns once the change counts; raises NotChangedError or ApiError."""

    def in_flight_by_generation(self) -> dict[str, int]: ...


def stale_generation(generation: int, boot_id: str) -> NotChangedError:
    """409: the caller read what is no longer in force."""
    error = {
        "type": "stale_generation",
        "message": f"generation {generation} of boot {boot_id} is in force: "
        "read the settings again",
        "generation": generation,
        "boot_id": boot_id,
    }
    return NotChangedError(409, error)


def invalid_setting(field: str | None, value: object, message: str) -> NotChangedError:
    """422: a knob that does not exist or a value that it does not take."""
    error = {"type": "invalid_setting", "field": field, "value": value, "message": message}
    return NotChangedError(422, error)


def admin_routes(behind: Administered, guard: Guard, max_body_bytes: int) -> APIRouter:
    """The routes, for whom `guard` lets through (it raises ApiError otherwise)."""
    router = APIRouter(prefix="/admin", dependencies=[Depends(guard)])

    def marked(body: dict[str, Any]) -> Response:
        return JSONResponse(stamp(behind.boot_id, behind.now()) | body)

    @router.get("/settings")
    async def get_settings() -> Response:
        behind.check_ready()
        return marked(behind.settings_body())

    @router.put("/settings")
    async def put_settings(request: Request) -> Response:
        behind.check_ready()
        raw = await read_body(request, max_body_bytes)
        try:
            await behind.change(_parsed(raw))
        except NotChangedError as refused:
            return JSONResponse({"error": refused.error}, status_code=refused.status)
        return marked(behind.settings_body())

    @router.get("/exposures")
    async def exposures(after: After = 0, limit: Limit = MAX_PAGE_RECORDS) -> Response:
        page = behind.exposures.read(after, min(limit, MAX_PAGE_RECORDS))
        in_flight = behind.in_flight_by_generation()
        return marked({"in_flight": in_flight} | page_body(page, "exposures"))

    @router.get("/steps")
    async def steps(after: After = 0, limit: Limit = MAX_PAGE_RECORDS) -> Response:
        page = behind.steps.read(after, min(limit, MAX_PAGE_RECORDS))
        return marked(page_body(page, "steps"))

    return router


def _parsed(raw: bytes) -> SettingsChange:
    try:
        return parse(SettingsChange, raw)
    except ApiError as error:
        raise invalid_setting(error.param, None, error.message) from None
