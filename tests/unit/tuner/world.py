"""A scripted world for the brain: what it is shown, and a proposer that does as it was told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from autotuner.abtest import switchback
from autotuner.domain.declaration import Declaration
from autotuner.domain.errors import SettingsRefusedError, TargetUnavailableError
from autotuner.domain.experiment import Conclusion, Experiment, Plan, Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings, Value
from autotuner.domain.ports import LiveSettings, Proposal, ProposalContext, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, ExposureBatch, Outcome
from autotuner.tuner import Decision, Observation, Rules, Traffic, Tuner, TunerState

SPACE = KnobSpace((Knob("seqs", (4, 8, 16, 32), max_step=2), Knob("tokens", (64, 128, 256))))
OLD = Settings({"seqs": 4, "tokens": 256})
NEW = Settings({"seqs": 8, "tokens": 128})
FAR = Settings({"seqs": 32, "tokens": 128})
PLAN = Plan(
    slot_s=20, washout_min_s=2, washout_max_s=10, cooldown_s=2, max_pairs=10,
    min_requests_per_slot=5,
)  # fmt: skip
RULES = Rules("t", SPACE, SLO(ttft_s=1.0), PLAN, min_requests=10, pause_s=60, retry_s=300)
LIVE = LiveSettings(OLD, 1, "boot", 0.0, 100.0)
NOW = 1000.0
TOO_MANY = SettingsRefusedError("seqs=8: too many")
UNANSWERED = TargetUnavailableError("no answer")


@dataclass
class Scripted:
    """Offers what it was given, and remembers what it was shown."""

    offer: Settings | None = NEW
    effect: float | None = 0.5
    shown: list[ProposalContext] = field(default_factory=list)

    def propose(self, context: ProposalContext) -> Proposal | None:
        self.shown.append(context)
        if self.offer is None:
            return None
        return Proposal(self.offer, "scripted", "it was told to", predicted_effect=self.effect)


def traffic(
    attainment: float = 0.4, requests: int = 100, rate_rps: float = 2.0, prompt_tokens: int = 100
) -> Traffic:
    tokens = (prompt_tokens,) * requests
    return Traffic(requests, attainment, Workload(rate_rps, tokens, (20,) * requests))


def seen(live: LiveSettings | None = LIVE, **changes: object) -> Observation:
    base = Observation(live=live, batch=batch(live), traffic=traffic())
    return replace(base, **changes)  # type: ignore[arg-type]


def batch(live: LiveSettings | None, *exposures: Exposure) -> ExposureBatch | None:
    if live is None:
        return None
    return ExposureBatch(live.boot_id, live.now, 0, False, {}, exposures)


def state(**changes: object) -> TunerState:
    return replace(TunerState(incumbent=OLD, intended=LIVE), **changes)  # type: ignore[arg-type]


def rules(**changes: object) -> Rules:
    return replace(RULES, **changes)  # type: ignore[arg-type]


def decide(
    known: TunerState,
    world: Observation,
    proposer: Scripted | None = None,
    policy: Rules = RULES,
    now: float = NOW,
) -> Decision:
    return Tuner(policy, proposer or Scripted()).decide(known, world, now)


def asked(plan: Plan = PLAN, **changes: Value) -> Declaration:
    return Declaration(7, "alice", changes, plan, "larger batches")


def started(policy: Rules = RULES, known: TunerState | None = None) -> TunerState:
    """The state with the first slot of a test open under generation 1."""
    decision = decide(known or state(), seen(), policy=policy)
    assert decision.state.experiment is not None
    experiment = switchback.slot_started(decision.state.experiment, LIVE)
    return replace(decision.state, experiment=experiment, intended=LIVE)


def ended(
    verdict: Verdict, treatment: Settings = NEW, plan: Plan = PLAN, pairs: int = 8
) -> Experiment:
    """A closed test of `treatment` against OLD."""
    conclusion = Conclusion(verdict, "it was so", pairs, 0.3, 0.1, 0.5, 0.97)
    return Experiment("t-first", "t", OLD, treatment, plan, 3, 900.0).closed(conclusion)


def exposure(number: int, generation: int, arrival: float, ttft_s: float) -> Exposure:
    return Exposure(
        seq=number, id=str(number), generation_start=generation, generation_end=generation,
        arrival=arrival, queue_s=0.0, ttft_s=ttft_s, tpot_s=0.01, gap_max_s=0.02,
        e2el_s=ttft_s + 0.5, prompt_tokens=100, output_tokens=20, outcome=Outcome.LENGTH,
    )  # fmt: skip


@dataclass
class Played:
    """What a play brought: each decision, and the state and target afterwards."""

    decisions: list[Decision]
    state: TunerState
    live: LiveSettings


def play(
    better: bool,
    policy: Rules = RULES,
    known: TunerState | None = None,
    live: LiveSettings = LIVE,
    first_cycle: int = 0,
) -> Played:
    """A scripted target that serves 2 requests a second until a test has ended.

    The treatment is fast and the control slow, or the other way round.
    """
    tuner, known = Tuner(policy, Scripted()), known or state()
    finished: list[Exposure] = []
    decisions: list[Decision] = []
    for cycle in range(first_cycle, first_cycle + 3000):
        clock = 100.0 + cycle
        live = replace(live, now=clock)
        fast = (live.settings == NEW) is better
        for half in (0.0, 0.5):
            number = len(finished)
            took = 0.2 if fast and number % 7 else 3.0
            finished.append(exposure(number, live.generation, clock - 1 + half, took))
        world = replace(seen(live=live), batch=batch(live, *finished))
        decision = tuner.decide(known, world, NOW + cycle)
        decisions.append(decision)
        known = decision.state
        if decision.apply is not None:
            live = LiveSettings(decision.apply, live.generation + 1, "boot", clock, clock)
            known = replace(known, intended=live)
        if decision.opens_slot:
            assert known.experiment is not None
            known = replace(known, experiment=switchback.slot_started(known.experiment, live))
        if decision.concluded is not None:
            break
    return Played(decisions, known, live)
