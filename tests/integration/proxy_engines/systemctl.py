"""A systemctl and a journalctl for tests: units in a folder, their servers as real processes.

Answers in the shape of the real ones. $UNITS holds UNIT.json (state) and UNIT.log; the unit's
command is $UNIT_COMMAND, its environment file $UNITS/UNIT.env, its port the number in its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

UNITS = Path(os.environ["UNITS"])


def main(program: str, words: list[str]) -> int:
    if program == "journalctl":
        sys.stdout.write(journal(words))
        return 0
    verb, unit = words[0], words[1]
    state_file = UNITS / f"{unit}.json"
    state: dict[str, Any] = json.loads(state_file.read_text()) if state_file.exists() else {}
    (UNITS / "calls").open("a").write(f"{verb} {unit}\n")
    if verb in {"stop", "restart"}:
        stop(state)
    if verb == "restart":
        state = start(unit)
    if verb == "show":
        show(state)
    state_file.write_text(json.dumps(state))
    return 0


def start(unit: str) -> dict[str, Any]:
    text = (UNITS / f"{unit}.env").read_text()
    match = re.search(r'^AUTOTUNER_FLAGS="(.*)"$', text, re.MULTILINE)
    flags = shlex.split(match[1]) if match else []
    port = re.search(r"\d+", unit)
    assert port
    with (UNITS / f"{unit}.log").open("w") as log:
        child = subprocess.Popen(
            [*shlex.split(os.environ["UNIT_COMMAND"]), "--port", port[0], *flags],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return {"pid": child.pid, "invocation": uuid.uuid4().hex, "restarts": 0}


def stop(state: dict[str, Any]) -> None:
    if pid := state.get("pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    state["pid"] = 0


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def show(state: dict[str, Any]) -> None:
    up = bool(state.get("pid")) and runs(state["pid"])
    failed = bool(state.get("pid")) and not up
    told = {
        "Type": "simple",
        "ActiveState": "active" if up else "failed" if failed else "inactive",
        "SubState": "running" if up else "failed" if failed else "dead",
        "Result": state.get("result", "exit-code") if failed else "success",
        "ExecMainCode": "1" if failed else "0",
        "ExecMainStatus": "1" if failed else "0",
        "MainPID": state["pid"] if up else 0,
        "InvocationID": state.get("invocation", ""),
        "NRestarts": state.get("restarts", 0),
    }
    sys.stdout.write("".join(f"{name}={value}\n" for name, value in told.items()))


def journal(words: list[str]) -> str:
    asked = next((w.partition("=")[2] for w in words if w.startswith("_SYSTEMD_INV")), None)
    for state_file in UNITS.glob("*.json"):
        state = json.loads(state_file.read_text())
        if asked is None or state.get("invocation") == asked:
            return state_file.with_suffix(".log").read_text()
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
