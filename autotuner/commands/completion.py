"""Names that the shell completes: targets from the configuration, tests from the history.

Whatever goes wrong completes nothing: a shell is no place for an error.
"""

from __future__ import annotations

from pathlib import Path

import typer

CONFIG_FILE = "autotuner.yaml"
_MOST = 50  # chosen: what a terminal shows at once


def complete_target(ctx: typer.Context, incomplete: str) -> list[str]:
    """The targets that the configuration names."""
    try:
        from autotuner.config import load_config

        names = [target.name for target in load_config(_config(ctx)).targets]
    except Exception:  # noqa: BLE001 - see the module's docstring
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_experiment(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The latest experiments' ids, each with its verdict; no history is made or upgraded."""
    try:
        from autotuner.config import load_config
        from autotuner.history.examination import examine_history
        from autotuner.history.store import open_history

        url = load_config(_config(ctx)).history
        if not examine_history(url).there:
            return []
        history = open_history(url, migrate=False)
        found = history.experiments(limit=_MOST)
        history.close()
    except Exception:  # noqa: BLE001 - see the module's docstring
        return []
    named = [(one.id, one.verdict.value if one.verdict else one.phase.value) for one in found]
    return [one for one in named if one[0].startswith(incomplete)]


def _config(ctx: typer.Context) -> Path:
    return Path(ctx.params.get("config") or CONFIG_FILE)
