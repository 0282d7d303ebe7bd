"""Looking at a history tells what stands there and changes nothing."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from autotuner.domain.errors import HistoryError
from autotuner.history.examination import HistoryState, examine_history, history_folder
from autotuner.history.upgrade import current, pending, upgrade
from tests.contract.history.conftest import new_database


def test_one_in_use_is_told_with_its_revision(url: str) -> None:
    upgrade(url)
    assert examine_history(url) == HistoryState(True, current(url), ())


def test_an_old_one_is_not_upgraded(empty_url: str) -> None:
    upgrade(empty_url, "0001")
    later = tuple(pending(empty_url))
    assert examine_history(empty_url) == HistoryState(True, "0001", later)
    assert current(empty_url) == "0001"


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'h.sqlite3'}"
    assert examine_history(url) == HistoryState(False)
    assert history_folder(url) == tmp_path
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="create it"):
        examine_history(f"sqlite:///{tmp_path / 'no' / 'h.sqlite3'}")


@pytest.mark.process
def test_a_user_who_may_only_read_is_told(postgresql: Path) -> None:
    url = new_database(postgresql, "template1")
    database = url.split("@/")[1].split("?")[0]
    with psycopg.connect(f"host={postgresql} user=postgres dbname={database}") as server:
        server.execute("CREATE ROLE onlooker LOGIN")
        server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker")
    with pytest.raises(HistoryError, match="may not write: GRANT"):
        examine_history(url.replace("postgres@", "onlooker@"))
