"""What is learnt of one target beside the cycles: how good its model is, and how it lived.

`look` hears every cycle and only remembers; `check` is slow and runs on a thread of its own. It
never touches the target.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from autotuner.agent import lived
from autotuner.agent.calibration import calibrate_target
from autotuner.agent.checks import Known, check, kv_tokens_of, prefix_share_of
from autotuner.agent.engine import Engine
from autotuner.agent.figures import Past
from autotuner.agent.prior import PriorOf, usual
from autotuner.alerts.conditions import Condition
from autotuner.alerts.model_error import SPAN_S, ModelError, model_errors, model_off
from autotuner.domain.errors import AgentError
from autotuner.domain.experiment import Phase
from autotuner.domain.knobs import Settings
from autotuner.domain.learning import ModelCheck
from autotuner.domain.slo import SLO
from autotuner.history.store import History
from autotuner.tuner import Observation

log = structlog.get_logger()

_EFFECTS_BACK_S = 30 * 86400.0  # experiments older than this are not looked at again
_SCRAPES = 2_000


@dataclass(frozen=True)
class LearnerOptions:
    """Times in seconds. `moments`: the file that keeps how the target lived; None keeps nothing.

    Requests are needed for `remember_s` back. A calibration is judged for `calibrate_every_s`, then
    a new one takes its place. `replicas`: workers side by side that share the requests. `prior_of`:
    where the coefficients come from that the steps do not tell.
    """

    target: str
    slo: SLO
    remember_s: float = 420.0
    calibrate_every_s: float = 3600.0
    moments: Path | None = None
    replicas: int = 1
    prior_of: PriorOf = usual


@dataclass
class _Stretch:
    """What was told under one settings without a test."""

    boot_id: str
    generation: int
    settings: Settings
    began: float  # target's clock
    latest: Observation | None = None
    kv_usage: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_SCRAPES))
    prefix: deque[tuple[float, float, float]] = field(
        default_factory=lambda: deque(maxlen=_SCRAPES)
    )

    def add(self, seen: Observation, now: float) -> None:
        self.latest = seen
        if seen.window is None:
            return
        usage = seen.window.gauges.get("kv_usage")
        if usage is not None and math.isfinite(usage):
            self.kv_usage.append((now, usage))
        looked, found = (seen.window.rates.get(n) for n in ("prefix_looked_up", "prefix_found"))
        if looked is not None and found is not None:
            length_s = seen.window.length_s
            self.prefix.append((now, looked * length_s, found * length_s))

    def past(self) -> Past:
        assert self.latest is not None, "a stretch begins with an observation"
        steps = tuple(s for s in self.latest.steps if s.at >= self.began)
        requests = tuple(
            r
            for r in self.latest.recent
            if r.generation_start == r.generation_end == self.generation
        )
        return Past(steps, requests, tuple(self.kv_usage), tuple(self.prefix))


class Learner:
    """One target's model: calibrated now and then, compared with what is measured in between."""

    def __init__(self, history: History, options: LearnerOptions) -> None:
        self._history, self._options = history, options
        self._stretch: _Stretch | None = None
        self._known: tuple[str, Known] | None = None  # with the boot that it is of
        self._checked_until = -math.inf  # target's clock
        self._errors: Mapping[str, ModelError] = {}

    @property
    def remember_s(self) -> float:
        """How far back the observer's requests have to go."""
        return self._options.remember_s

    # ---- on the cycle's thread
    def look(self, seen: Observation, *, testing: bool) -> None:
        """Remembers what was seen; a test, a change of settings or a restart begins anew."""
        live = seen.live
        if live is None or seen.problem is not None or testing:
            self._stretch = None if testing or live is None else self._stretch
            return
        if seen.batch is not None and seen.batch.overrun:
            self._stretch = None  # requests are missing: what is left would read as a lighter load
            return
        stretch = self._stretch
        if stretch is None or (stretch.boot_id, stretch.generation) != (
            live.boot_id,
            live.generation,
        ):
            stretch = _Stretch(live.boot_id, live.generation, Settings(live.settings), live.now)
        stretch.add(seen, live.now)
        self._stretch = stretch

    def informed(self, seen: Observation) -> Observation:
        """With what the last calibration says of memory and prefix hits, where it is sure."""
        if self._known is None or seen.live is None or seen.live.boot_id != self._known[0]:
            return seen
        known = self._known[1]
        return replace(seen, kv_tokens=kv_tokens_of(known), prefix_share=prefix_share_of(known))

    @property
    def condition(self) -> Condition:
        """Whether the model is off; nothing is known of it while checks are few."""
        return model_off(self._errors)

    @property
    def errors(self) -> Mapping[str, float]:
        """The median relative error of each figure over the last hour."""
        return {figure: error.median for figure, error in self._errors.items()}

    # ---- the slow job
    def check(self, now: float) -> tuple[ModelCheck, ...]:
        """Compares and keeps: figures of the settings in force, and effects of ended experiments.

        Returns what is new.
        """
        target = self._options.target
        found = (*self._figures(now), *self._effects(now))
        if found:
            self._history.record_model_checks(target, found)
        self._errors = model_errors(self._history.model_checks(target, since=now - SPAN_S), now)
        return found

    def _figures(self, now: float) -> tuple[ModelCheck, ...]:
        stretch = self._stretch
        if stretch is None or stretch.latest is None or not _simulated(stretch.settings):
            return ()
        past = _copied(stretch)
        if past is None:
            return ()
        known, since = self._calibrated(stretch, past, now)
        if known is None:
            return ()
        checks = check(known, past, stretch.settings, self._options.slo, since, now, seed=int(now))
        if checks:
            self._checked_until = max(r.arrival for r in past.requests)
        return checks

    def _calibrated(self, stretch: _Stretch, past: Past, now: float) -> tuple[Known | None, float]:
        """The calibration to judge, and since when (target's clock) it is judged.

        A new one is made of the earlier half of what the step log holds, so that what it is judged
        by comes after what it was made of.
        """
        known = self._known
        fresh = known is not None and known[0] == stretch.boot_id
        if known is not None and fresh and now - known[1].at < self._options.calibrate_every_s:
            return known[1], max(self._checked_until, stretch.began)
        if not past.steps:
            return None, math.nan
        cut = past.steps[len(past.steps) // 2].at
        made = self._made(past.before(cut), stretch.settings, now)
        if not made.calibration.fitted:
            return None, math.nan
        self._known = (stretch.boot_id, made)
        self._keep(self._made(past, stretch.settings, now), past)
        log.info("model.calibrated", target=self._options.target, note=made.calibration.note)
        return made, cut

    def _made(self, past: Past, settings: Settings, now: float) -> Known:
        prior = self._options.prior_of(settings).model
        return Known(calibrate_target(past, prior), settings, now, self._options.replicas)

    def _keep(self, known: Known, past: Past) -> None:
        moment = lived.moment_of(known, past.requests)
        if moment is None or self._options.moments is None:
            return
        try:
            lived.keep(self._options.moments, moment)
        except AgentError as problem:
            log.warning("model.not_kept", target=self._options.target, problem=str(problem))

    def _effects(self, now: float) -> tuple[ModelCheck, ...]:
        """Each ended experiment whose proposer predicted its effect, once."""
        target = self._options.target
        since = now - _EFFECTS_BACK_S
        told = {
            one.experiment
            for one in self._history.model_checks(target, since=since, figure="effect")
        }
        return tuple(
            ModelCheck(now, "effect", one.predicted_effect, one.effect, one.treatment, one.id)
            for one in self._history.experiments(target=target, limit=50)
            if one.phase is Phase.CLOSED
            and one.started_at >= since
            and one.id not in told
            and one.predicted_effect is not None
            and math.isfinite(one.effect)
            and not one.is_aa
        )


def _simulated(settings: Settings) -> bool:
    """Whether the simulator knows the engine that these settings ask for."""
    try:
        Engine.of(settings)
    except ValueError:
        return False
    return True


def _copied(stretch: _Stretch) -> Past | None:
    """What the cycle's thread gathered; None where it was just writing: the next time will do."""
    try:
        return stretch.past()
    except RuntimeError:  # a deque that changed while it was read
        return None
