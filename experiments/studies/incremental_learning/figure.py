"""The figure: what training on everything costs, and what each training did to the losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

BLUE, GREY = "#2a78b5", "#4d4d4d"


def draw(content: dict[str, Any], path: Path) -> None:
    rows = {row["part"]: row for row in content["rows"]}
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    cost, loss, old = figure.subplots(1, 3)
    names = ["without copies", "with copies"]
    cost.bar(names, [rows[name]["seconds"] for name in names], color=[BLUE, GREY])
    cost.set_title("Training, s", loc="left")
    before = rows["without copies"]["new_before"]
    after = [rows[name]["new_after"] for name in names]
    loss.bar(["before", *names], [before, *after], color=["#c0c0c0", BLUE, GREY])
    loss.set_title("Held-out loss, nats/token", loc="left")
    loss.tick_params(axis="x", labelrotation=20)
    kinds = ["second topic, replay", "second topic, no replay"]
    rises = [rows[kind].get("forgetting", 0.0) for kind in kinds]
    old.bar(["replay", "no replay"], rises, color=[BLUE, GREY])
    old.axhline(0.05, color=GREY, ls="--", lw=1)
    old.set_title("First topic: rise of the loss", loc="left")
    figure.savefig(path, dpi=120)
