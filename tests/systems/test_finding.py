"""Which systems there are, and which one a name means."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.errors import OperatorError, SystemFolderError
from gateway.systems.finding import find_system, find_systems
from tests.systems.folders import SHIPPED, TOML, replace


def test_a_path_that_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemFolderError, match=r"systems\.paths names .*nowhere"):
        find_systems([tmp_path / "nowhere"])


def test_every_shipped_folder_is_whole_and_says_what_it_is() -> None:
    systems = find_systems([SHIPPED])
    assert list(systems) == ["cbdi", "eguardianship", "gbdfl", "zags"]
    assert {slug: system.status.value for slug, system in systems.items()} == {
        "cbdi": "draft",
        "eguardianship": "draft",
        "gbdfl": "documented",
        "zags": "draft",
    }


def test_a_folder_of_ones_own_replaces_the_shipped_one(folder: Path) -> None:
    replace(TOML, "CBDI_DISABILITY_DRAFT", "MCDB_SERVICE")(folder)
    systems = find_systems([SHIPPED, folder.parent])
    assert systems["cbdi"].service_ids == ("MCDB_SERVICE",)
    assert systems["cbdi"].folder == folder.resolve()
    assert len(systems) == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('slug = "zhbdi"', 'slug = "zhbdi"\naliases = ["ahat_is"]'),
        ("CBDI_DISABILITY_DRAFT", "ZAGS_CIVIL_RECORDS_DRAFT"),
    ],
    ids=["alias", "service id"],
)
def test_two_systems_cannot_share_a_name(tmp_path: Path, old: str, new: str) -> None:
    own = shutil.copytree(SHIPPED / "cbdi", tmp_path / "zhbdi")
    replace(TOML, 'slug = "cbdi"', 'slug = "zhbdi"')(own)
    replace(TOML, old, new)(own)
    if old != "CBDI_DISABILITY_DRAFT":
        replace(TOML, "CBDI_DISABILITY_DRAFT", "OTHER")(own)
    with pytest.raises(SystemFolderError, match="already taken by the system zags"):
        find_systems([SHIPPED, tmp_path])


def test_a_system_is_found_by_slug_and_by_the_name_the_rules_use() -> None:
    systems = find_systems([SHIPPED])
    assert find_system(systems, "zags") is find_system(systems, "ahat_is")
    with pytest.raises(OperatorError, match=r"no system 'nobody'; known: cbdi, eguardianship, gbdfl, zags") as refused:
        find_system(systems, "nobody")
    assert refused.value.code == "unknown_system"
