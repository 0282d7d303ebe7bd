"""Templates to text. Whatever comes from outside is escaped; a name that is missing is an error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from autotuner.web.pages.panels import (
    budget_bar,
    confidence_bar,
    objective_bar,
    series_figure,
)
from autotuner.web.pages.words import FILTERS, ago, between, gain, series_text

# Without it a form's Origin is `null`, which the guard takes for a foreign page.
PAGE_HEADERS = {"Referrer-Policy": "same-origin"}


@dataclass(frozen=True)
class Visit:
    """Who looks at which page, and how it is to look. `here`: its path with its query."""

    place: str
    here: str
    now: float
    who: str = ""
    logged_in: bool = False
    theme: str = ""
    may_read: bool = True
    may_act: bool = False
    flash: str = ""


def render(template: str, visit: Visit, **facts: Any) -> str:
    """The whole page as text."""
    return _environment().get_template(template).render(**vars(visit), **facts)


def target_path(name: str) -> str:
    return f"/targets/{quote(name, safe='')}"


def action_path(name: str, action: str) -> str:
    return f"{target_path(name)}/{action}"


def experiment_path(key: str) -> str:
    return f"/experiments/{quote(key, safe='')}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("autotuner.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.filters.update(
        target_path=target_path, action_path=action_path, experiment_path=experiment_path
    )
    environment.globals.update(
        version=_version(),
        ago=ago,
        gain=gain,
        between=between,
        series_text=series_text,
        budget_bar=budget_bar,
        confidence_bar=confidence_bar,
        objective_bar=objective_bar,
        series_figure=series_figure,
    )
    return environment


def _version() -> str:
    try:
        return version("autotuner")
    except PackageNotFoundError:
        return "from a checkout"
