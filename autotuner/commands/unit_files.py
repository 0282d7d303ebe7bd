"""What `autotuner service install` puts where: values, which can be shown before they are done.

Knows no command line and starts nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from autotuner.domain.errors import ConfigError
from autotuner.resources import resource_folder
from autotuner.whole_files import write_whole

UNITS = (
    "autotuner.service",
    "autotuner-worker@.service",
    "autotuner-proxy.service",
    "autotuner-proxy.socket",
)
CREDENTIALS = Path("/etc/autotuner/credentials")
_SHIPPED = ("/opt/autotuner/bin/autotuner", "/etc/autotuner/autotuner.yaml")
_MARK = "# Installed by autotuner service install; sha256 of the rest: "

CONFIG = """\
# autotuner's configuration. Check it: autotuner config check {path}
# Take a change over: systemctl reload autotuner (docs/service.md says what needs a restart).
history: sqlite:////var/lib/autotuner/history.sqlite3
# history_file: $CREDENTIALS_DIRECTORY/history-url   # a PostgreSQL URL with its password, instead
targets:
  - name: chat
    url: http://127.0.0.1:8000
    policy: default                # or a file of yours
    mode: advisory                 # decides and records, applies nothing; active tunes
    # of the bundled worker; files in {credentials} are named like this:
    admin_token_file: $CREDENTIALS_DIRECTORY/admin-token
# cycle_s: 5
# listen: {{host: 127.0.0.1, port: 9187}}
# webhooks:
#   - name: pager
#     url: https://pager.example/hook
#     secret_file: $CREDENTIALS_DIRECTORY/hook.key
# log: {{format: auto, level: info}}
"""


class Fate(StrEnum):
    """What becomes of a file."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    KEPT = "kept"


@dataclass(frozen=True)
class Layout:
    """Where things go. `prefix` stands before every path; `program`: the command that units run.

    `user`: an account that exists already; None lets systemd make one up for the daemon.
    """

    program: Path
    config: Path = Path("/etc/autotuner/autotuner.yaml")
    user: str | None = None
    prefix: Path = Path("/")

    def at(self, path: Path) -> Path:
        return self.prefix / path.relative_to("/")

    @property
    def units(self) -> Path:
        return self.at(Path("/etc/systemd/system"))


@dataclass(frozen=True)
class File:
    """One file to be there; `ours` tells whether what is there may be written over."""

    path: Path
    text: str
    mode: int = 0o644

    def fate(self, *, force: bool) -> Fate:
        """Raises ConfigError where what is there can't be read."""
        try:
            found = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Fate.WRITTEN
        except OSError as problem:
            raise refusal(self.path, problem) from problem
        if found == self.text:
            return Fate.UNCHANGED
        return Fate.WRITTEN if force or is_untouched(found) else Fate.KEPT


def files(layout: Layout) -> list[File]:
    """The units, the configuration, and the token that daemon and worker share."""
    units = [File(layout.units / name, unit_text(name, layout)) for name in UNITS]
    config = CONFIG.format(path=layout.config, credentials=CREDENTIALS)
    token = File(layout.at(CREDENTIALS) / "admin-token", secrets.token_urlsafe(32) + "\n", 0o600)
    return [*units, File(layout.at(layout.config), config), token]


def unit_text(name: str, layout: Layout) -> str:
    """The shipped unit with this installation's paths, and a mark that tells it is untouched."""
    text = (resource_folder("deploy/systemd") / name).read_text(encoding="utf-8")
    program, config = _SHIPPED
    text = text.replace(program, str(layout.program)).replace(config, str(layout.config))
    if layout.user is not None and name == UNITS[0]:
        text = text.replace("DynamicUser=yes\nUser=autotuner\n", f"User={layout.user}\n")
    return f"{_MARK}{_digest(text)}\n{text}"


def is_untouched(text: str) -> bool:
    """Whether a unit file is as some version of `install` wrote it."""
    first, _, rest = text.partition("\n")
    return first == _MARK + _digest(rest)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write(file: File) -> None:
    """Writes with the file's mode from the start; the folder of a secret is its owner's alone.

    Raises ConfigError with the fix where that is not allowed.
    """
    try:
        file.path.parent.mkdir(
            parents=True, exist_ok=True, mode=0o700 if file.mode == 0o600 else 0o755
        )
        write_whole(file.path, file.text, file.mode)
    except OSError as problem:
        raise refusal(file.path, problem) from problem


def remove(path: Path) -> None:
    """Removes a file; raises ConfigError with the fix where that is not allowed."""
    try:
        path.unlink()
    except OSError as problem:
        raise refusal(path, problem) from problem


def refusal(path: Path, problem: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: can't be read or written ({problem.strerror}); run this as root (sudo), or give "
        "--prefix with a folder of yours"
    )
