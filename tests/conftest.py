"""Fixtures for all tests."""

from __future__ import annotations

import importlib.abc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hypothesis
import pytest

MATERIAL = Path(__file__).resolve().parents[2] / "shared" / "material"
WINDOW_PACKAGES = {"qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "napari", "superqt", "pyqtgraph"}


class _NoWindow(importlib.abc.MetaPathFinder):
    """Makes it impossible to import Qt, as on a machine that has none."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> None:
        if name.partition(".")[0] in WINDOW_PACKAGES:
            raise ModuleNotFoundError(f"No module named {name!r} (PATHFM_NO_QT is set)", name=name)


os.environ.setdefault("PATHFM_COMPILE", "0")  # tests of it turn it on
os.environ["PATHFM_CROPS"] = "0"  # what the user has encoded is neither used nor added to

if os.environ.get("PATHFM_NO_QT"):
    sys.meta_path.insert(0, _NoWindow())


@pytest.fixture(scope="session")
def material() -> Path:
    """Folder of real slides and labelled tissue."""
    if not MATERIAL.is_dir():
        pytest.skip(f"real slides are not at {MATERIAL}")
    return MATERIAL


@pytest.fixture(scope="session")
def synthetic() -> Path:
    """The synthetic slide of the repository, with exact truth beside it."""
    return Path(__file__).resolve().parents[1] / "sample_data" / "synthetic.tif"


@pytest.fixture(autouse=True)
def no_agreements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the user has agreed to, or was told before, takes no part."""
    from napari_pathfm.models import licences

    monkeypatch.setattr(licences, "settings_file", lambda: tmp_path / "licences.json")
    monkeypatch.setattr(licences, "_told", set())


hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")
