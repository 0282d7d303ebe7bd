"""Where a target's numbers come from, where that is not its own metrics page alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from autotuner.config.model import Model, Seconds

Url = Annotated[str, Field(pattern=r"^https?://")]
Matchers = Annotated[
    str,
    Field(
        pattern=r'^\s*[A-Za-z_]\w*\s*(=|!=|=~|!~)\s*"',
        description='PromQL label matchers without braces, such as job="llm", instance="a:8000"',
    ),
]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class PrometheusConfig(Model):
    """A Prometheus server, or what speaks its query API (Thanos, Mimir, VictoriaMetrics)."""

    url: Url
    token_file: Path | None = Field(None, description="bearer token, where it asks for one")
    timeout_s: Seconds = 5.0
    max_age_s: Annotated[float, Field(ge=1)] = Field(
        60.0, description="an older scrape is no news; at least twice the scrape interval"
    )


class MetricsConfig(Model):
    """By default a target's own /metrics, and nothing of its hardware or of the business."""

    urls: tuple[Url, ...] = Field(
        (), description="metrics pages, one per replica, where they are not at the target's URL"
    )
    prometheus: PrometheusConfig | None = None
    selectors: tuple[Matchers, ...] = Field(
        (), description="read the target through Prometheus: matchers, one per replica"
    )
    dcgm: tuple[Url, ...] = Field((), description="DCGM exporters of the target's hosts")
    dcgm_gpus: tuple[int | str, ...] = Field(
        (),
        description="the GPUs of those hosts that serve the target, by number or unique id; "
        "none: all of them",
    )
    dcgm_selector: Matchers | None = Field(None, description="the target's GPUs through Prometheus")
    nvml: bool | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        False, description="GPUs of the daemon's own machine: true for all, or their numbers"
    )
    rapl: bool | Path = Field(
        False,
        description="energy of the processors and memory of the daemon's own machine (RAPL): true, "
        "or the folder of the powercap tree where it is not /sys/class/powercap",
    )
    node: tuple[Url, ...] = Field((), description="node exporters of the target's hosts")
    node_selectors: tuple[Matchers, ...] = Field(
        (), description="the target's hosts through Prometheus, one selector each"
    )
    queries: dict[Name, str] = Field(
        {},
        description="further series by name, each a PromQL query of one number: what the business "
        "counts (accuracy, conversion, cost), or what else a rule looks at",
    )
    timeout_s: Seconds = Field(2.0, description="of the exporters beside the target")

    @model_validator(mode="after")
    def _one_way_each(self) -> MetricsConfig:
        self._refuse_two("urls", "selectors")
        self._refuse_two("dcgm", "dcgm_selector", "nvml")
        self._refuse_two("node", "node_selectors")
        return self

    def _refuse_two(self, *fields: str) -> None:
        given = [name for name in fields if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} tell the same: give one of them")

    @model_validator(mode="after")
    def _askable(self) -> MetricsConfig:
        asked = ("selectors", "dcgm_selector", "node_selectors", "queries")
        given = [name for name in asked if getattr(self, name)]
        if self.dcgm_gpus and not self.dcgm:
            raise ValueError("dcgm_gpus are GPUs of the exporters in dcgm: give their URLs there")
        if given and self.prometheus is None:
            raise ValueError(f"{given[0]} asks a Prometheus server: give prometheus with its url")
        if self.prometheus is not None and not given:
            raise ValueError(
                f"prometheus.url={self.prometheus.url!r} is asked nothing: "
                f"give one of {', '.join(asked)}"
            )
        return self

    @property
    def measures_energy(self) -> bool:
        """Whether anything is asked that may tell energy."""
        return bool(self.rapl or self.nvml or self.dcgm or self.dcgm_selector)

    @property
    def patience_s(self) -> float:
        """How far two scrapes of the target may lie apart and still make a window."""
        asked = self.prometheus if self.selectors else None
        return 0.0 if asked is None else 2 * asked.max_age_s

    def fits(self, replicas: int) -> str | None:
        """Why this can't be a target's of so many replicas; None where it can."""
        for name in ("urls", "selectors"):
            given = len(getattr(self, name))
            if given not in (0, replicas):
                return f"metrics.{name} are {given} for {replicas} replica(s): give one each"
        return None
