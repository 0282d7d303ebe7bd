"""The changes that the daemon has to live through, as phases of a load each; and the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autotuner.agent.traffic import MixSchedule, SampleMix
from autotuner.config import Policy
from experiments.studies.drift.truth import Load

START = 1767571200.0  # chosen: Monday 2026-01-05 00:00 UTC; any fixed day does
HOUR_S = 3600.0
CHAT_RPS, QUIET_RPS, CODE_RPS = 2.2, 1.1, 4.0  # chosen: near what the best settings can serve
DAY_RPS = 3.1  # of code on the mean of a day; its peak is near the limit
DAY_S = 4 * HOUR_S  # a day, six times as fast


@dataclass(frozen=True)
class Phase:
    load: Load
    start: float
    end: float

    @property
    def length_s(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Scenario:
    """Phases without gaps. The first one is what the starting settings are best for."""

    name: str
    phases: tuple[Phase, ...]

    @property
    def end(self) -> float:
        return self.phases[-1].end

    @property
    def mixes(self) -> MixSchedule:
        return MixSchedule(
            tuple(phase.start for phase in self.phases), tuple(p.load.mix for p in self.phases)
        )

    def phase_at(self, at: float) -> Phase:
        return next((phase for phase in self.phases if at < phase.end), self.phases[-1])

    def rate(self, at: float) -> float:
        return self.phase_at(at).load.rate_rps


def scenarios(
    mixes: dict[str, SampleMix], day: tuple[float, ...], shorter: float = 1.0
) -> tuple[Scenario, ...]:
    """Chat to code and back, a burst of chat, a day of code; all times times `shorter`."""
    chat, code = mixes["chat"], mixes["code"]
    talk, write = Load("chat", CHAT_RPS, chat), Load("code", CODE_RPS, code)
    quiet = Load("quiet chat", QUIET_RPS, chat)
    parts = [Load(f"code, part {i}", DAY_RPS * share, code) for i, share in enumerate(day, start=1)]
    part_s = DAY_S / len(parts)
    return (
        _made("chat and code", [(talk, 0.5), (write, 2.5), (talk, 2.0)], shorter),
        _made("burst", [(quiet, 0.5), (talk, 1.5), (quiet, 1.0)], shorter),
        _made("day", [(part, part_s / HOUR_S) for part in parts], shorter),
    )


def _made(name: str, parts: list[tuple[Load, float]], shorter: float) -> Scenario:
    phases, at = [], START
    for load, hours in parts:
        phases.append(Phase(load, at, at + hours * HOUR_S * shorter))
        at = phases[-1].end
    return Scenario(name, tuple(phases))


def policy(base: Policy, kind: str, drift: dict[str, Any]) -> Policy:
    """The default policy for this service: its SLO, its proposer, and how drift is met."""
    told = base.model_dump(mode="json", exclude_unset=True)
    told["slo"] = {"ttft_s": 2.0, "gap_max_s": 0.1}
    told["proposer"] = {**told["proposer"], "kind": kind}
    told["experiment"] = {**told["experiment"], **drift}
    return Policy.model_validate({**told, "alerts": []})
