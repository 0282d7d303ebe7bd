"""The studies' results are whole, and the README tells what they hold."""

from __future__ import annotations

import json

import pytest

from autotuner.domain.errors import ConfigError
from autotuner.studies import ROOT, Study, checks_table, choose, find_studies, with_table

FIELDS = {"study", "date", "machine", "versions", "seeds", "rows", "checks"}


@pytest.mark.parametrize("study", find_studies(), ids=lambda study: study.name)
def test_a_study_is_kept_whole(study: Study) -> None:
    folder = study.folder
    kept = json.loads((folder / "results.json").read_text("utf-8"))
    assert set(kept) >= FIELDS
    assert kept["checks"]
    assert (folder / "figure.png").stat().st_size > 1000
    assert len((folder / "README.md").read_text("utf-8").splitlines()) >= 5
    for check in kept["checks"]:
        above = check["value"] >= check["target"]
        below = check["value"] <= check["target"]
        assert check["holds"] is (above if check["direction"] == "at_least" else below)


def test_the_readme_tells_what_the_results_hold() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text == with_table(text, checks_table()), "run `autotuner study readme`"


def test_an_unknown_study_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="aa_false_accepts"):
        choose(["nonsense"], every=False)
    with pytest.raises(ConfigError, match="name one"):
        choose([], every=False)
    assert [s.name for s in choose([], every=True)] == [s.name for s in find_studies()]
