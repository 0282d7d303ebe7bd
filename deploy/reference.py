"""Writes docs/reference from the code: `python -m deploy.reference`. A test holds them together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

from autotuner.cli import app
from autotuner.config import Config, ExperimentPlan, Policy
from autotuner.instruments import Instruments
from autotuner.metrics.families import FAMILIES
from autotuner.metrics.hardware import CANONICAL

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by `python -m deploy.reference` from the code: don't edit. -->\n"


def files() -> dict[str, str]:
    """Each page of docs/reference by its name."""
    return {"cli.md": cli(), "config.md": config(), "policy.md": policy(), "metrics.md": metrics()}


# ---- the command line
def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden, with its words, in the order of the help."""
    group = get_command(app) if group is None else group
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def cli() -> str:
    """The commands with their options."""
    found = list(commands())
    toc = "\n".join(f"- [`autotuner {words}`](#autotuner-{_anchor(words)})" for words, _ in found)
    head = (
        f"# Commands\n{NOTE}Exit codes: 0 done, 1 the answer is no, 2 a mistake in what was asked "
        "(the message names the field, the value and the fix).\n`--config` is `autotuner.yaml` "
        "where it is not given, or what `$AUTOTUNER_CONFIG` says.\n"
    )
    return "\n".join([head, toc, "", *(_command(words, one) for words, one in found)])


def _anchor(words: str) -> str:
    return words.replace(" ", "-")


def _command(words: str, command: Any) -> str:
    rows = [_parameter(one) for one in command.params if one.name != "help" and not one.hidden]
    text = f"## `autotuner {words}`\n{_flowing(command.help or '')}\n"
    return text + ("\n" + _table(("option", "default", "meaning"), rows) if rows else "")


def _parameter(one: Any) -> tuple[str, str, str]:
    if one.param_type_name == "argument":
        name = (one.metavar or one.name).upper().strip("[]")
        return f"`{name}`" if one.required else f"`[{name}]`", "", one.help or ""
    names = "`" + "`, `".join([*one.opts, *one.secondary_opts]) + "`"
    shown = one.show_default if isinstance(one.show_default, str) else _default(one)
    return names, "needed" if one.required else shown, one.help or ""


def _default(one: Any) -> str:
    value = one.default
    if value is None or callable(value) or (isinstance(value, bool) and not one.secondary_opts):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _flowing(text: str) -> str:
    """Paragraphs on a line each."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


# ---- files that people write
def config() -> str:
    """The daemon's configuration, key by key."""
    head = (
        "One YAML file. A key that is not known is refused. `autotuner config check FILE` says "
        "what is wrong;\n`autotuner config schema` is the same as JSON schema, for editors.\n"
    )
    return f"# Configuration\n{NOTE}{head}\n{_schema(Config.model_json_schema())}"


def policy() -> str:
    """A policy, and the tests that people declare."""
    head = "One YAML file per kind of service: `policies/default.yaml` is the one that ships.\n"
    plan = "# A test of your own\nWhat `autotuner experiment run FILE` takes.\n"
    return (
        f"# Policy\n{NOTE}{head}\n{_schema(Policy.model_json_schema())}\n"
        f"{plan}\n{_schema(ExperimentPlan.model_json_schema())}"
    )


def _schema(schema: Mapping[str, Any]) -> str:
    parts = [_object(schema["title"], schema)]
    parts += [_object(name, one) for name, one in schema.get("$defs", {}).items()]
    return "\n".join(part for part in parts if part)


def _object(name: str, schema: Mapping[str, Any]) -> str:
    if "properties" not in schema:
        return ""
    needed = schema.get("required", [])
    rows = [
        (f"`{key}`", _type(one), "needed" if key in needed else _given(one), _told(one))
        for key, one in schema["properties"].items()
    ]
    told = _flowing(schema.get("description", ""))
    return f"## {name}\n{told}\n\n" + _table(("key", "value", "default", "meaning"), rows)


def _told(one: Mapping[str, Any]) -> str:
    return _flowing(str(one.get("description", "")))


def _given(one: Mapping[str, Any]) -> str:
    value = one.get("default")
    if value is None or value in ([], {}):
        return "none"
    return "as there" if isinstance(value, dict) else f"`{json.dumps(value, ensure_ascii=False)}`"


def _type(one: Mapping[str, Any]) -> str:
    if "$ref" in one:
        return f"[{one['$ref'].split('/')[-1]}](#{one['$ref'].split('/')[-1].lower()})"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if "const" in one:
        return f"`{one['const']}`"
    for both in ("anyOf", "oneOf", "allOf"):
        if both in one:
            kinds = [_type(kind) for kind in one[both] if kind.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if one.get("type") == "array":
        return f"list of {_type(one.get('items', {}))}" if one.get("items") else "list"
    if one.get("type") == "object":
        extra = one.get("additionalProperties")
        return f"names to {_type(extra)}" if isinstance(extra, dict) else "keys and values"
    return _NAMES.get(str(one.get("type")), str(one.get("type", "any"))) + _bounds(one)


_NAMES = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true, false"}
_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


def _bounds(one: Mapping[str, Any]) -> str:
    found = [f"{words} {one[key]:g}" for key, words in _BOUNDS.items() if key in one]
    return f", {', '.join(found)}" if found else ""


# ---- numbers
def metrics() -> str:
    """The daemon's own metrics, and the series that rules may name."""
    rows = [(f"`{_exported(one)}`", one.type, labels, one.help) for one, labels in _own_metrics()]
    series = [(f"`{name}`", ", ".join(told)) for name, told in sorted(_series().items())]
    return (
        f"# Metrics\n{NOTE}## The daemon's own\nAt `/metrics` of the address in `listen`.\n\n"
        + _table(("metric", "type", "labels", "meaning"), rows)
        + "\n## Series\nWhat alert rules may name, and who tells it. Histograms count as their "
        "mean over a window. Besides them: `offered_rps`,\n`attainment` and `qps_stability`, which "
        "the requests themselves tell, and each query of `metrics.queries`. What each means: "
        "[metrics.md](../metrics.md).\n\n" + _table(("series", "told by"), series)
    )


def own_metric_names() -> list[str]:
    """Of the daemon's own metrics, as /metrics has them."""
    return [_exported(family) for family, _ in _own_metrics()]


def _exported(family: Any) -> str:
    return f"{family.name}{'_total' if family.type == 'counter' else ''}"


def _own_metrics() -> Iterator[tuple[Any, str]]:
    registry: Any = Instruments().registry
    for collector in registry._collector_to_names:
        labels = ", ".join(f"`{name}`" for name in getattr(collector, "_labelnames", ()))
        for family in collector.describe():
            family.help = family.documentation
            yield family, labels


def _series() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for family in FAMILIES:
        for name in (*family.gauges, *family.histograms):
            found.setdefault(name, []).append(family.name)
    for name in CANONICAL:
        found.setdefault(name, []).append("hardware exporters")
    return found


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def main() -> None:
    """Writes every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
