"""The bundled worker as a target, over its admin front (docs/worker-api.md)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from autotuner.domain.errors import SettingsRefusedError, TargetUnavailableError
from autotuner.domain.feasibility import EngineFault, fault_of
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import (
    Exposure,
    ExposureBatch,
    FeedbackScore,
    GoldenBlock,
    ProbeReading,
    StepRecord,
)
from autotuner.targets.bodies import (
    ExposuresBody,
    FeedbackBody,
    ProbeBody,
    SettingsBody,
    StepsBody,
)
from autotuner.targets.capabilities import Capabilities
from autotuner.targets.http import AdminClient
from autotuner.targets.late import Late

_SETTINGS = "/admin/settings"
_PAGE_ROWS = 1000  # chosen: about 300 kB of JSON
_MOST_PAGES = 20
_PROBE_IDS = "probe-"  # the worker's own requests, which no user sent
_KEPT_FAULTS = 16
# Chosen: an answer that takes longer than any restart is of no use any more.
_CHANGE_TIMEOUT_S = 3600.0
_PROBE_TIMEOUT_S = 120.0  # chosen: the first probe waits for the float32 model to load and answer


class WorkerTarget:
    """Implements `Target`, `Prober` and `FeedbackSource` of `domain.ports` for the worker at `url`.

    For one thread at a time, save `probe`, which another one may call meanwhile. Every call raises
    TargetUnavailableError where no usable answer came, and TargetError where the worker refused
    (a wrong token, say).

    `token` is the admin token, None where the worker has none (it then answers loopback only).
    `timeout_s` bounds the wait for a connection and for each part of an answer; a probe has two
    minutes. A change is waited for as long, and answered later where it takes a restart: that its
    engine failed is then among the `faults` of what is read.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 5.0) -> None:
        self._url, self._token, self._timeout_s = url, token, timeout_s
        self._admin = AdminClient(url, token, timeout_s)
        self._changes: Late[LiveSettings, Settings] = Late()
        self._failed: deque[EngineFault] = deque(maxlen=_KEPT_FAULTS)
        self._probing = AdminClient(url, token, max(timeout_s, _PROBE_TIMEOUT_S))

    def read_settings(self) -> LiveSettings:
        live = self._admin.get(_SETTINGS, SettingsBody).live()
        for settings, problem in self._changes.failures():
            if isinstance(problem, SettingsRefusedError) and problem.fault is not None:
                fault, name = fault_of(problem.fault), f"answer@{live.now!r}"
                self._failed.append(EngineFault(live.now, fault, str(problem), settings, name))
        return replace(live, faults=(*live.faults, *self._failed))

    def capabilities(self) -> Capabilities:
        """What the worker accepts for each of its knobs."""
        return self._admin.get(_SETTINGS, SettingsBody).offered()

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:
        """Apply `settings` if `live` is still what runs, and return what runs then.

        Raises StaleGenerationError or SettingsRefusedError (nothing was applied), or
        TargetUnavailableError (unknown: read back; it is never sent a second time).
        """
        body = {
            "generation": live.generation,
            "boot_id": live.boot_id,
            "settings": dict(settings),
            "reason": reason,
        }
        late = TargetUnavailableError(
            f"PUT {self._url}{_SETTINGS}: no answer in {self._timeout_s:g} s: read back what runs"
        )
        applied = self._changes.asked(
            lambda: self._put(body, settings), self._timeout_s, late, settings
        )
        wrong = settings.changed_from(applied.settings)
        if wrong or applied.generation <= live.generation:
            raise TargetUnavailableError(
                f"the worker said that it applied the settings, but reports generation "
                f"{applied.generation} without {wrong or 'a rise'}: read back what runs"
            )
        return applied

    def exposures(self, after: int) -> ExposureBatch:
        """Every finished request after the cursor; 0 at first, then the last batch's `next`.

        The cursor belongs to one `boot_id`: after a restart, begin again at 0.
        """
        pages = [self._exposure_page(after)]
        while len(pages[-1].exposures) >= _PAGE_ROWS and len(pages) < _MOST_PAGES:
            pages.append(self._exposure_page(pages[-1].next))
        return _joined(pages)

    def steps(self, after: int) -> tuple[Sequence[StepRecord], int]:
        """The engine steps after the cursor (at most 1000), and the next cursor."""
        page = self._admin.get("/admin/steps", StepsBody, after=after, limit=_PAGE_ROWS)
        return page.to_domain(), page.next

    def probe(self, block: GoldenBlock | None = None) -> ProbeReading:
        """What golden answers say of the settings in force; takes about a second, at first more.

        Raises TargetError where the settings changed meanwhile: probe again.
        """
        body = {} if block is None else {"items": block.items, "first": block.first}
        said = self._probing.post("/admin/probe", ProbeBody, body)
        return said.to_domain(self._probing.get(_SETTINGS, SettingsBody).now)

    def feedback(self, after: int) -> tuple[Sequence[FeedbackScore], int]:
        """Users' scores after the cursor, and the next cursor; 0 at first and after a restart."""
        scores: list[FeedbackScore] = []
        for _ in range(_MOST_PAGES):
            page = self._admin.get("/admin/feedback", FeedbackBody, after=after, limit=_PAGE_ROWS)
            scores.extend(page.to_domain())
            after = page.next
            if len(page.feedback) < _PAGE_ROWS:
                break
        return scores, after

    def close(self) -> None:
        self._admin.close()
        self._probing.close()

    def _put(self, body: dict[str, object], settings: Settings) -> LiveSettings:
        """On a connection of its own: the answer may take as long as a restart."""
        changing = AdminClient(self._url, self._token, _CHANGE_TIMEOUT_S, self._timeout_s)
        try:
            return changing.put(_SETTINGS, SettingsBody, body).live()
        except SettingsRefusedError as refusal:
            raise SettingsRefusedError(str(refusal), refusal.fault, settings) from refusal
        finally:
            changing.close()

    def _exposure_page(self, after: int) -> ExposureBatch:
        page = self._admin.get("/admin/exposures", ExposuresBody, after=after, limit=_PAGE_ROWS)
        try:
            return page.to_domain()
        except ValueError as error:
            raise TargetUnavailableError(
                f"in_flight={page.in_flight!r}: its keys must be generations: {error}"
            ) from error


def _joined(pages: Sequence[ExposureBatch]) -> ExposureBatch:
    """The pages as one batch: what is in flight is as the last page tells it."""
    last = pages[-1]
    if any(page.boot_id != last.boot_id for page in pages):
        raise TargetUnavailableError("the worker was restarted while its log was read")
    rows: list[Exposure] = []
    for page in pages:
        rows.extend(row for row in page.exposures if not row.id.startswith(_PROBE_IDS))
    return ExposureBatch(
        last.boot_id,
        last.now,
        last.next,
        any(page.overrun for page in pages),
        last.in_flight,
        tuple(rows),
    )
