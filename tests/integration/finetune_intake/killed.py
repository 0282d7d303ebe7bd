"""Takes a file in again and again, killed at each place where something is written.

    python -m tests.integration.finetune_intake.killed FOLDER

FOLDER has first.jsonl and second.jsonl. A child for each place: it begins with a store that has the
first, takes in the second, and dies (SIGKILL) as it reaches the place. Then the store must have the
first version alone or both, and taking the second in again must end as it does undisturbed.
Prints {"places": n, "wrong": [what was found]}.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from autotuner.finetune.intake.rules import IntakeRules
from autotuner.finetune.intake.taking import take_in
from autotuner.finetune.store import ExampleStore

WRITES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "fcntl.flock"}
RULES = IntakeRules(exact_up_to=30)  # so that an index is written as well


def taken(folder: Path, name: str) -> None:
    take_in(folder / name, ExampleStore(folder / "store"), RULES)


def state(folder: Path) -> list[tuple[int, int, int]]:
    """Of each version: its number, what it says it kept, and what is there."""
    store = ExampleStore(folder / "store")
    return [(one.number, one.kept, len(list(store.kept(one.number)))) for one in store.versions()]


def die_at(place: int) -> None:
    reached = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal reached
        writes = event in WRITES or (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes:
            reached += 1
            if reached == place:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def killed_at(folder: Path, place: int) -> bool:
    """Was there such a place?"""
    child = os.fork()
    if child == 0:
        die_at(place)
        taken(folder, "second.jsonl")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def main(home: Path) -> None:
    begun, work = home / "begun", home / "work"
    begun.mkdir()
    for name in ("first.jsonl", "second.jsonl"):
        shutil.copy(home / name, begun)
    taken(begun, "first.jsonl")
    first = state(begun)
    shutil.copytree(begun, work)
    taken(work, "second.jsonl")
    both, place, wrong = state(work), 0, []
    while True:
        shutil.rmtree(work)
        shutil.copytree(begun, work)
        place += 1
        if not killed_at(work, place):
            break
        found = state(work)
        taken(work, "second.jsonl")
        after = state(work)
        left = [path.name for path in (work / "store").glob(".new")]
        if found not in (first, both) or after != both or left:
            wrong.append({"place": place, "found": found, "after": after, "left": left})
    print(json.dumps({"places": place - 1, "versions": both, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
