"""10,000 writes to an SQLite history by several threads and processes, while others read it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from autotuner.history.records import OutboxMessage
from autotuner.history.store import History, open_history

# Writes in all: 4,500 decisions, 4,500 rows of samples, 500 notifications, each delivered too.
DECISIONS, MESSAGES = 4_500, 500
DAEMON = f"""
import sys, time
from autotuner.history.store import open_history
history = open_history(sys.argv[1], migrate=False)
for cycle in range({DECISIONS} // 10):
    with history.together():
        for part in range(10):
            n = 10 * cycle + part
            history.record_decision("chat", "HOLD", f"decision {{n}}", at=float(n))
            history.append_samples("chat", [("rate", float(n), float(n))])
    time.sleep(0.003)
history.close()
"""
READER = """
import sys, time
from autotuner.history.store import open_history
history = open_history(sys.argv[1], migrate=False)
seen = looks = 0
while seen < int(sys.argv[2]):
    status = history.status("chat")
    last = history.samples("chat", "rate", since=seen - 1)
    now = int(last[-1].at) + 1 if last else 0
    assert now >= seen, "a reader never goes back"
    seen, looks = now, looks + 1
    history.decisions("chat", limit=20)
    time.sleep(0.01)
print(looks)
history.close()
"""


def start(script: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def tell(history: History) -> None:
    for n in range(MESSAGES):
        history.enqueue(OutboxMessage("hook", f"f{n}", "firing", {"n": n}, float(n)), float(n))
        time.sleep(0.003)


def deliver(history: History) -> None:
    left = MESSAGES
    while left:
        for entry in history.due(1e9, 50, "hook"):
            history.delivered(entry.id, 1e9)
            left -= 1
        time.sleep(0.01)


def test_none_of_them_is_lost(tmp_path: Path) -> None:
    # A lock without a queue: how long a writer waits must not decide.
    url = f"sqlite:///{tmp_path / 'history.sqlite3'}?timeout=120"
    history = open_history(url)
    history.record_target("chat", kind="worker", url="u", at=0.0)
    readers = [start(READER, url, str(DECISIONS)) for _ in range(2)]
    daemon = start(DAEMON, url)
    threads = [threading.Thread(target=work, args=[history]) for work in (tell, deliver)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in (daemon, *readers):
        _, problem = process.communicate(timeout=200)
        assert (process.returncode, problem) == (0, "")
    decisions = history.decisions("chat", limit=2 * DECISIONS)
    assert [d.reason for d in decisions] == [f"decision {n}" for n in reversed(range(DECISIONS))]
    assert history.samples("chat", "rate", since=0) == [
        (float(n), float(n)) for n in range(DECISIONS)
    ]
    assert history.due(1e10) == []
    assert history.status("chat").undelivered == 0
    history.close()
