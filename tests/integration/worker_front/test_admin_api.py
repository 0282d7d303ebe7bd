"""The admin contract: who may call, what a change does, and the logs read by cursor."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.process

Starter = Callable[..., Any]
TOKEN = "a-token-that-is-long-enough"


def change(generation: int, **settings: Any) -> dict[str, Any]:
    return {"generation": generation, "settings": settings}


def test_settings_change_and_rise_in_generation(start_fake: Starter) -> None:
    worker = start_fake()
    before = worker.get("/admin/settings").json()
    assert (before["generation"], before["model"]) == (1, "fake-model")
    assert before["capabilities"]["max_num_seqs"]["max"] == 64
    changed = worker.put("/admin/settings", change(1, max_num_seqs=8)).json()
    assert (changed["generation"], changed["settings"]["max_num_seqs"]) == (2, 8)
    assert changed["boot_id"] == before["boot_id"]
    assert before["now"] <= changed["applied_at"] <= changed["now"]
    same = worker.put("/admin/settings", change(2, max_num_seqs=8) | {"reason": "A/A slot"}).json()
    assert (same["generation"], same["settings"]) == (3, changed["settings"])
    now = worker.get("/admin/settings").json()
    assert {**now, "now": 0} == {**same, "now": 0}
    assert 'worker:settings_generation{model_name="fake-model"} 3.0' in worker.get("/metrics").text


def test_a_stale_generation_or_boot_changes_nothing(start_fake: Starter) -> None:
    worker = start_fake()
    boot_id = worker.get("/admin/settings").json()["boot_id"]
    stale = worker.put("/admin/settings", change(7, max_num_seqs=8))
    other_boot = worker.put("/admin/settings", change(1, max_num_seqs=8) | {"boot_id": "ffff"})
    for answer in (stale, other_boot):
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (409, "stale_generation")
        assert (error["generation"], error["boot_id"]) == (1, boot_id)
    assert worker.get("/admin/settings").json()["settings"]["max_num_seqs"] == 32


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (change(1, max_num_seqs=65), "max_num_seqs"),
        (change(1, max_num_seqs="8"), "max_num_seqs"),
        (change(1, schedule_policy="lifo"), "schedule_policy"),
        (change(1, batch_size=8), "batch_size"),
        ({"generation": "1", "settings": {}}, "generation"),
        ({"generation": 1, "max_num_seqs": 8, "settings": {}}, "max_num_seqs"),
        ({"generation": 1}, "settings"),
        ([1], "body"),
    ],
)
def test_a_bad_change_is_named_and_changes_nothing(
    start_fake: Starter, body: Any, field: str
) -> None:
    worker = start_fake()
    answer = worker.put("/admin/settings", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["field"]) == (422, "invalid_setting", field)
    assert worker.get("/admin/settings").json()["generation"] == 1


def test_of_changes_at_once_one_wins(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.02)
    answers: list[int] = []

    def put(size: int) -> None:
        answers.append(worker.put("/admin/settings", change(1, max_num_seqs=size)).status_code)

    threads = [threading.Thread(target=put, args=(size,)) for size in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 5
    assert worker.get("/admin/settings").json()["generation"] == 2


def test_settings_act_on_the_batch(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.005)
    worker.put("/admin/settings", change(1, max_num_seqs=2))
    threads = [
        threading.Thread(target=worker.complete, kwargs={"max_tokens": 20}) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps = worker.get("/admin/steps").json()["steps"]
    assert {step["generation"] for step in steps} == {2}
    assert max(step["decode_seqs"] for step in steps) == 2
    assert {e["generation_start"] for e in worker.exposures()} == {2}


def test_a_request_under_two_generations_tells_both(start_fake: Starter) -> None:
    worker = start_fake(step_s=0.02)
    thread = threading.Thread(target=worker.complete, kwargs={"max_tokens": 50})
    thread.start()
    worker.until(lambda: worker.get("/admin/exposures").json()["in_flight"] == {"1": 1})
    worker.put("/admin/settings", change(1, max_num_seqs=8))
    thread.join()
    (exposure,) = worker.exposures()
    assert (exposure["generation_start"], exposure["generation_end"]) == (1, 2)


def test_exposures_are_read_by_cursor(start_fake: Starter) -> None:
    worker = start_fake()
    for _ in range(5):
        worker.complete(max_tokens=2)
    first = worker.get("/admin/exposures?limit=3").json()
    assert ([e["seq"] for e in first["exposures"]], first["next"]) == ([1, 2, 3], 3)
    assert (first["oldest"], first["overrun"]) == (1, False)
    rest = worker.get(f"/admin/exposures?after={first['next']}").json()
    assert ([e["seq"] for e in rest["exposures"]], rest["next"]) == ([4, 5], 5)
    nothing = worker.get("/admin/exposures?after=5").json()
    assert (nothing["exposures"], nothing["next"]) == ([], 5)
    wrong = worker.get("/admin/exposures?after=-1")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "after")


def test_with_a_token_only_its_holder_is_let_in(start_fake: Starter) -> None:
    worker = start_fake(admin_token=TOKEN)
    for path in ("/admin/settings", "/admin/exposures", "/admin/steps"):
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = worker.get(path, headers=header)
            assert (answer.status_code, answer.json()["error"]["param"]) == (401, "authorization")
        assert worker.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert worker.put("/admin/settings", change(1)).status_code == 401
    assert worker.complete(max_tokens=2).status_code == 200


def test_without_a_token_forwarded_clients_are_not_let_in(start_fake: Starter) -> None:
    worker = start_fake()
    answer = worker.get("/admin/settings", headers={"X-Forwarded-For": "127.0.0.1"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")


def test_an_open_address_without_a_token_is_refused(start_fake: Starter) -> None:
    worker = start_fake(host="0.0.0.0", wait_ready=False)
    assert worker.process.returncode == 2
    assert "set an admin token" in worker.log.read_text()


def test_an_open_address_with_a_token_serves_other_addresses(start_fake: Starter) -> None:
    worker = start_fake(host="0.0.0.0", admin_token=TOKEN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells this machine's own address
        own = probe.getsockname()[0]
    worker.url = worker.url.replace("127.0.0.1", own)
    assert worker.get("/admin/settings").status_code == 401
    header = {"Authorization": f"Bearer {TOKEN}"}
    assert worker.get("/admin/settings", headers=header).status_code == 200
