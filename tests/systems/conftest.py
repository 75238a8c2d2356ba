"""Folders that tests change, and one that they only read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.systems.definition import SystemDefinition
from gateway.systems.reading import load_system
from tests.systems.folders import SHIPPED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole folder of one's own, outside the package."""
    return shutil.copytree(SHIPPED / "cbdi", tmp_path / "own" / "cbdi")


@pytest.fixture(scope="module")
def zags() -> SystemDefinition:
    return load_system(SHIPPED / "zags")
