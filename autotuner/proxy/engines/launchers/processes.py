"""What /proc tells of a process: whether it is still the one that was started, and its words."""

from __future__ import annotations

from pathlib import Path


def identity_of(pid: int) -> str | None:
    """`PID:START`, START in clock ticks since boot, so that a reused pid is another identity.

    None for a process that is gone, or has ended and waits for its parent.
    """
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else f"{pid}:{words[19]}"


def pid_of(identity: str) -> int | None:
    """The process of an identity, if it still runs and is still the same one."""
    pid = int(identity.partition(":")[0])
    return pid if identity_of(pid) == identity else None


def words_of_process(pid: int) -> list[str]:
    """Its command line; empty where it is gone or belongs to somebody else."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in data.split(b"\0") if word]


def marked(variable: str, value: str) -> list[int]:
    """The processes that were started with this in their environment, or by one that was."""
    mark = f"{variable}={value}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:
            continue  # gone, or another user's
    return found


def last_lines(path: Path, most_bytes: int = 65536) -> list[str]:
    """The end of a text file; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - most_bytes, 0))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
