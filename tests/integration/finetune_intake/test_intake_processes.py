"""An intake that is killed anywhere leaves a whole store; a large file does not fill the memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.finetune.intake.given import distinct, write

pytestmark = pytest.mark.process

MEASURED = """
import json, resource, sys
from pathlib import Path
from autotuner.finetune.intake.rules import IntakeRules
from autotuner.finetune.intake.taking import take_in
from autotuner.finetune.store import ExampleStore

store = ExampleStore(Path(sys.argv[1]))
used = []
for file in sys.argv[2:]:
    version = take_in(Path(file), store, IntakeRules())
    used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(json.dumps({"mb": used, "read": version.read, "kept": version.kept}))
"""


def _run(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_killed_before_any_write_the_store_has_all_of_a_version_or_none(tmp_path: Path) -> None:
    pairs = distinct(40)
    write(tmp_path / "first.jsonl", pairs[:20])
    write(tmp_path / "second.jsonl", [*pairs[10:], *((answer, prompt) for prompt, answer in pairs)])
    said = _run("-m", "tests.integration.finetune_intake.killed", str(tmp_path))
    assert said["wrong"] == []
    assert isinstance(said["places"], int)
    assert said["places"] > 15
    assert isinstance(said["versions"], list)
    assert len(said["versions"]) == 2


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    small = write(tmp_path / "small.jsonl", distinct(600))
    text = "".join(json.dumps({"prompt": f"{n} " + "word " * 6000, "answer": "b"}) + "\n"
                   for n in range(60))  # fmt: skip
    large = tmp_path / "large.jsonl"
    with large.open("w") as file:
        for _ in range(25):
            file.write(text)
    assert large.stat().st_size > 40 * 2**20
    said = _run("-c", MEASURED, str(tmp_path / "store"), str(small), str(large))
    assert said["read"] == 1500
    used = said["mb"]
    assert isinstance(used, list)
    assert used[1] - used[0] < 30
