"""Which adapters are offered while folders come, change and go."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from autotuner.worker.adapters.catalogue import Catalogue
from autotuner.worker.model_config import ModelError
from tests.unit.worker_adapters.adapter_files import lora_tensors, write_adapter, write_base


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    folder = tmp_path / "adapters"
    folder.mkdir()
    return folder


@pytest.fixture
def catalogue(tmp_path: Path, adapters: Path) -> Catalogue:
    return Catalogue(adapters, write_base(tmp_path / "model"))


def test_an_adapter_that_comes_is_offered_and_one_that_goes_is_not(
    catalogue: Catalogue, adapters: Path
) -> None:
    assert catalogue.look().names == ()
    for name in ("v2", "v1"):
        write_adapter(adapters / name)
    assert catalogue.look().names == ("v1", "v2")
    shutil.rmtree(adapters / "v1")
    assert catalogue.look().names == ("v2",)


def test_what_is_being_written_is_not_looked_at(catalogue: Catalogue, adapters: Path) -> None:
    write_adapter(adapters / ".v1-half", {})
    (adapters / "_work").mkdir()
    (adapters / os.fsdecode(b"v\xff")).mkdir()
    (adapters / "README").write_text("no folder")
    found = catalogue.look()
    assert (found.names, dict(found.refused)) == ((), {})
    (adapters / ".v1-half").rename(adapters / "v1")
    assert "no lora_A and lora_B" in catalogue.look().refused["v1"]


@pytest.mark.parametrize("name", ["base", "a b", "ä", "x" * 129])
def test_a_name_that_can_not_be_a_value_is_told(
    catalogue: Catalogue, adapters: Path, name: str
) -> None:
    write_adapter(adapters / name)
    found = catalogue.look()
    assert found.names == ()
    assert "rename the folder" in found.refused[name]


def test_a_broken_one_is_told_once_and_offered_when_it_is_mended(
    catalogue: Catalogue, adapters: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_adapter(adapters / "v1", use_dora=True)
    write_adapter(adapters / "v2", lora_tensors("lm_head"))
    for _ in range(3):
        found = catalogue.look()
    assert found.names == ("v2",)
    assert "use_dora=True" in found.refused["v1"]
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    write_adapter(adapters / "v1")
    assert catalogue.look().names == ("v1", "v2")


def test_a_folder_that_can_not_be_read_offers_nothing(
    catalogue: Catalogue, adapters: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_adapter(adapters / "v1")
    assert catalogue.look().names == ("v1",)
    shutil.rmtree(adapters)
    assert catalogue.look().names == ()
    assert catalogue.look().refused == {}
    assert len([r for r in caplog.records if "no other weights" in r.message]) == 1


def test_a_model_that_can_not_be_read_has_no_catalogue(adapters: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json there"):
        Catalogue(adapters, adapters)
