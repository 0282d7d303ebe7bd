"""Who is asking, and whether they may: dependencies for the routes of page and API.

`Guard.viewer` and `Guard.operator` are for the API (they answer 401 and 403), `Guard.page_viewer`
and `Guard.page_operator` for pages (the first leads to /login). Each gives an `Asker`; all who act
pass the same-origin check and a limit on their pace.

Without listen.tokens_file the daemon listens on loopback alone, and who can reach it may act: so
can anybody with an account on the machine. With it nobody comes in without a token, not even from
loopback, since behind a proxy every client comes from there.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import structlog
from fastapi import Request, Response

from autotuner.config.listen import ListenConfig
from autotuner.web.origin import foreign
from autotuner.web.pace import Pace
from autotuner.web.problems import RequestError
from autotuner.web.sessions import Sessions
from autotuner.web.tokens import Entry, Role, TokenBook

log = structlog.get_logger()

LOOPBACK = "loopback"
ACTS = (30, 2.0)  # chosen: a person's hands, and a script that repeats itself by mistake
FAILURES = (10, 6.0)  # chosen: beyond, wrong tokens are not even looked at in the log


@dataclass(frozen=True)
class Asker:
    """Who asks: a token's name (or `loopback`), what they may do, and from which address."""

    name: str
    role: Role
    address: str

    @property
    def who(self) -> str:
        """As the history keeps it."""
        return f"{self.name}@{self.address}"

    @property
    def acts(self) -> bool:
        return self.role is Role.OPERATOR


class NotAllowedError(RequestError):
    """The token is good, but not for this; or a foreign page may have sent it."""

    status = 403


class TokenNeededError(RequestError):
    """Nobody knows who is asking."""

    status = 401


class LoginNeededError(RequestError):
    """The same where a page was asked for: leads to /login."""

    status = 303


class TooOftenError(RequestError):
    """Too many in too short a time."""

    status = 429

    def __init__(self, field: str, value: object, wait_s: float) -> None:
        self.wait_s = max(1, math.ceil(wait_s))
        super().__init__(field, value, f"too often: try again in {self.wait_s} s")


@dataclass
class Guard:
    """The doorkeeper of one process. `book` is None where no tokens are configured."""

    listen: ListenConfig = field(default_factory=ListenConfig)
    book: TokenBook | None = None
    sessions: Sessions = field(default_factory=Sessions)
    acting: Pace = field(default_factory=lambda: Pace(*ACTS))
    failing: Pace = field(default_factory=lambda: Pace(*FAILURES))

    # ---- dependencies of routes
    async def viewer(self, request: Request) -> Asker:
        """Whoever may read; raises TokenNeededError."""
        asker = self.asker(request)
        if asker is None:
            raise TokenNeededError(
                "authorization", "", "give a token: `Authorization: Bearer TOKEN`, or log in"
            )
        return asker

    async def operator(self, request: Request) -> Asker:
        """Whoever may act, has not acted too often, and was not sent by a foreign page."""
        return self._may_act(request, await self.viewer(request))

    async def page_viewer(self, request: Request) -> Asker:
        """Whoever may see a page; raises LoginNeededError."""
        asker = self.asker(request)
        if asker is None:
            raise LoginNeededError("cookie", "", "log in")
        return asker

    async def page_operator(self, request: Request) -> Asker:
        """Whoever may act from a page, by a form that it holds."""
        return self._may_act(request, await self.page_viewer(request))

    async def metrics(self, request: Request) -> None:
        """Whoever may read /metrics."""
        if not self.listen.open_metrics:
            await self.viewer(request)

    # ---- who it is
    @property
    def asks_for_tokens(self) -> bool:
        """Whether there is anything to log in with."""
        return self.book is not None

    def asker(self, request: Request) -> Asker | None:
        """Who asks, by token or cookie; None where nobody knows.

        Raises TokenNeededError for a wrong token and TooOftenError for many of them. A right one
        always passes, so that a stranger behind the same address can't shut anybody out; tokens
        are too long to be guessed, at any pace.
        """
        address = request.client.host if request.client else "unknown"
        if self.book is None:
            return Asker(LOOPBACK, Role.OPERATOR, address)
        given = request.headers.get("authorization")
        if given is not None:
            entry = self.entry_of(_bearer(given), address)
            return Asker(entry.name, entry.role, address)
        kept = self._of_cookie(request)
        return None if kept is None else Asker(kept.name, kept.role, address)

    def entry_of(self, token: str, address: str) -> Entry:
        """Whose token it is; raises TokenNeededError or TooOftenError."""
        entry = self.book.of(token) if self.book else None
        if entry is not None:
            return entry
        if wait_s := self.failing.wait_s(address, time.monotonic()):
            raise TooOftenError("token", "", wait_s)
        log.warning("token.wrong", address=address)
        raise TokenNeededError("token", "", "it is not known: ask an operator for a new one")

    def _of_cookie(self, request: Request) -> Entry | None:
        """Whose session it is; one whose token was taken out, or changed, has ended."""
        key = request.cookies.get(self.cookie)
        kept = self.sessions.of(key, time.monotonic()) if key else None
        if kept is None or self.book is None or kept not in self.book.entries():
            return None
        return kept

    def _may_act(self, request: Request, asker: Asker) -> Asker:
        if not asker.acts:
            self._refuse(request, asker, "role")
            raise NotAllowedError(
                "role", asker.role.value, "acting needs a token with the role operator"
            )
        self.check_page(request)
        # Whoever shows a token is one client, from wherever; on loopback the machine is.
        if wait_s := self.acting.wait_s(asker.name, time.monotonic()):
            self._refuse(request, asker, "pace")
            raise TooOftenError("actions", asker.name, wait_s)
        return asker

    def check_page(self, request: Request) -> None:
        """Raises NotAllowedError where a foreign page may have sent it.

        A bearer token is in no browser's keeping: with it nothing needs to be checked.
        """
        if self.book is not None and "authorization" in request.headers:
            return
        problem = foreign(request.headers)
        if problem is not None:
            log.warning("action.foreign", path=request.url.path, problem=problem)
            raise NotAllowedError("origin", request.headers.get("origin", ""), problem)

    @staticmethod
    def _refuse(request: Request, asker: Asker, why: str) -> None:
        log.warning("action.refused", who=asker.who, path=request.url.path, why=why)

    # ---- sessions of browsers
    @property
    def cookie(self) -> str:
        """The cookie's name; cookies of one host are shared by its ports, names tell them apart."""
        name = f"autotuner-{self.listen.port}"
        return f"__Host-{name}" if self.listen.tls else name

    def log_in(self, request: Request, token: str, response: Response) -> Asker:
        """Begins a session and sets its cookie; raises as `asker` does, and for foreign pages."""
        self.check_page(request)
        address = request.client.host if request.client else "unknown"
        entry = self.entry_of(token, address)
        response.set_cookie(
            self.cookie,
            self.sessions.begin(entry, time.monotonic()),
            max_age=int(self.sessions.lasts_s),
            httponly=True,
            samesite="strict",
            secure=self.listen.tls or request.url.scheme == "https",
            path="/",
        )
        log.info("session.began", who=f"{entry.name}@{address}")
        return Asker(entry.name, entry.role, address)

    def log_out(self, request: Request, response: Response) -> None:
        """Ends the session, if there is one, and takes the cookie back."""
        self.check_page(request)
        ended = self.sessions.end(request.cookies.get(self.cookie, ""))
        response.delete_cookie(
            self.cookie, path="/", httponly=True, samesite="strict", secure=self.listen.tls
        )
        if ended is not None:
            log.info("session.ended", who=ended.name)


def build_guard(listen: ListenConfig) -> Guard:
    """Raises ConfigError for a tokens_file that can't be used."""
    book = TokenBook(listen.tokens_file) if listen.tokens_file else None
    if listen.beyond_loopback and not listen.tls:
        log.warning(
            "listen.no_tls", host=listen.host,
            problem="tokens travel unencrypted: give listen.tls_cert and tls_key, or put a proxy "
            "with TLS in front and listen on loopback",
        )  # fmt: skip
    return Guard(listen, book)


def _bearer(header: str) -> str:
    kind, _, token = header.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
