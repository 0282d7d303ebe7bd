"""A table or view as a file: exact figures, ISO times, nothing half written, nothing secret."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.history.export import Wanted
from autotuner.history.formats import Format
from autotuner.history.store import History

START = 1_764_000_000.0
ODD = 0.1 + 0.2  # 0.30000000000000004


@pytest.fixture
def filled(history: History, build: Callable[..., Experiment]) -> History:
    history.record_target(
        "code", kind="worker", url="http://ana:secret@10.0.0.1/v1", at=START, info={"a": [1, "é"]}
    )
    rows = [("rate", START + 60 * i, ODD * i) for i in range(5000)]
    history.append_samples("chat", [*rows, ("rate", START - 60, float("nan"))])
    history.append_samples("code", [("rate", START, 1.0)])
    experiment = build("exp-1", pairs=2, verdict=Verdict.ACCEPTED)
    assert experiment.conclusion is not None
    endless = replace(experiment.conclusion, high=float("inf"))
    history.record_experiment(replace(experiment, conclusion=endless))
    return history


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_every_row_exactly(filled: History, tmp_path: Path) -> None:
    out = tmp_path / "samples.csv"
    assert filled.export(Wanted("samples", target="chat"), Format.CSV, out) == 5001
    rows = read_csv(out)
    assert list(rows[0]) == ["target", "series", "bucket_at", "bucket", "value"]
    assert (rows[0]["value"], rows[0]["bucket"]) == ("", "2025-11-24T15:59:00.000Z")
    assert [float(row["value"]) for row in rows[1:]] == [ODD * i for i in range(5000)]
    assert [p.name for p in tmp_path.iterdir() if "samples" in p.name] == [out.name]


def test_since_and_until_choose(filled: History, tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    wanted = Wanted("samples", since=START, until=START + 180, target="chat", iso=False)
    assert filled.export(wanted, Format.JSONL, out) == 3
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {"target": "chat", "series": "rate", "bucket_at": START + 60, "value": ODD}


def test_json_of_a_view_has_settings_as_objects_and_null_for_what_is_unknown(
    filled: History, tmp_path: Path
) -> None:
    out = tmp_path / "e.json"
    assert filled.export(Wanted("v_experiments"), Format.JSON, out) == 1
    [row] = json.loads(out.read_text(encoding="utf-8"))
    assert row["treatment"]["max_num_seqs"] == 64
    assert (row["effect"], row["high"], row["predicted_effect"]) == (0.3, "Infinity", None)
    assert (row["started"], row["started_at"]) == ("2025-11-24T16:00:00Z", START)
    slots = tmp_path / "slots.json"
    assert filled.export(Wanted("v_slots"), Format.JSON, slots) == 4
    assert json.loads(slots.read_text(encoding="utf-8"))[0]["gap_p95_s"] is None


def test_no_address_tells_a_password(filled: History, tmp_path: Path) -> None:
    out = tmp_path / "targets.jsonl"
    filled.export(Wanted("targets"), Format.JSONL, out)
    text = out.read_text(encoding="utf-8")
    assert "secret" not in text
    assert '"http://10.0.0.1/v1"' in text
    assert json.loads(text.splitlines()[-1])["info"] == {"a": [1, "é"]}


def test_parquet_tells_what_each_column_holds(filled: History, tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet", reason="the extra parquet")
    out = tmp_path / "s.parquet"
    assert filled.export(Wanted("samples", target="chat"), Format.PARQUET, out) == 5001
    table = parquet.read_table(out)
    assert {f.name: str(f.type) for f in table.schema} == {
        "target": "string",
        "series": "string",
        "bucket_at": "double",
        "bucket": "string",
        "value": "double",
    }
    values = table.column("value").to_pylist()
    assert values[0] is None
    assert values[1:] == [ODD * i for i in range(5000)]
    out = tmp_path / "e.parquet"
    filled.export(Wanted("v_experiments"), Format.PARQUET, out)
    [row] = parquet.read_table(out).to_pylist()
    assert (row["high"], row["n"], row["ended"]) == (float("inf"), 2, row["ended"])
    assert json.loads(row["treatment"])["max_num_seqs"] == 64


@pytest.mark.parametrize("form", list(Format))
def test_an_empty_table_is_a_file_too(history: History, tmp_path: Path, form: Format) -> None:
    if form is Format.PARQUET:
        pytest.importorskip("pyarrow", reason="the extra parquet")
    out = tmp_path / "empty"
    assert history.export(Wanted("v_alerts"), form, out) == 0
    assert out.is_file()


def test_what_is_refused(filled: History, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("mine")
    with pytest.raises(HistoryError, match="is there already"):
        filled.export(Wanted("samples"), Format.CSV, out)
    assert out.read_text() == "mine"
    assert filled.export(Wanted("v_alerts"), Format.CSV, out, force=True) == 0
    assert out.read_text() != "mine"
    new = tmp_path / "new.csv"
    for wanted, word in (
        (Wanted("alembic_version"), "no such table or view; there are .*v_experiments"),
        (Wanted("x; DROP TABLE samples"), "no such table"),
        (Wanted("settings", target="chat"), "leave --target out"),
        (Wanted("looks", since=1.0), "tells no time"),
    ):
        with pytest.raises(HistoryError, match=word):
            filled.export(wanted, Format.CSV, new)
    with pytest.raises(HistoryError, match="can't be written"):
        filled.export(Wanted("samples"), Format.CSV, tmp_path / "none" / "x.csv")
    assert not new.exists()
