"""How outside data is read: strict models, and errors that name field, value and fix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotuner.domain.errors import ConfigError
from autotuner.domain.passwords import hide_passwords

Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Model(BaseModel):
    """A key that is not known is refused, so that a typo never reads as a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=Model)


def parse(model: type[M], data: Any, where: str) -> M:
    """The model that `data` holds; raises ConfigError naming `where`, field, value and fix."""
    if not isinstance(data, dict):
        raise ConfigError(
            f"{where}: expected keys and values at the top, found {type(data).__name__}"
        )
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        raise ConfigError(f"{where}:\n" + "\n".join(map(_describe, problem.errors()))) from problem


# Ten times as fast where libyaml is there: a daemon reads a policy per target when it takes over.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """What the YAML file holds; raises ConfigError."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  # both safe
    except OSError as problem:
        raise ConfigError(
            f"{path}: can't be read ({problem.strerror}); give a readable YAML file"
        ) from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid YAML; mend it there: {problem}") from problem


def _describe(error: Any) -> str:
    """One line of a validation error: field, value, and what to do."""
    field = ".".join(str(part) for part in error["loc"]) or "(top)"
    if error["type"] == "extra_forbidden":
        return f"  {field}: unknown key; take it out or mend its spelling"
    if error["type"] == "missing":
        return f"  {field}: missing; give it a value"
    value = hide_passwords(repr(error["input"]))
    said = _PATTERNS.get(error.get("ctx", {}).get("pattern", ""), error["msg"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    return f"  {field}={shown}: {said.removeprefix('Value error, ')}"


# What a pattern asks for, in words.
_PATTERNS = {
    "^https?://": "give an address that begins with http:// or https://",
    "^[A-Za-z0-9_.-]+$": "give letters, digits, dots, dashes and underscores, without spaces",
}
