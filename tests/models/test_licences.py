"""A licence that is not for commercial use is agreed to once."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from napari_pathfm.models import licences
from napari_pathfm.models.catalog import CatalogEntry


def test_agreed_once(
    entries: dict[str, CatalogEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings" / "licences.json"
    monkeypatch.setattr(licences, "settings_file", lambda: file)
    uni, phikon = entries["uni"].spec, entries["kaiko-vits16"].spec
    assert not licences.must_ask(entries["efficientnet-lite0"].spec)
    assert licences.must_ask(uni)
    licences.agree(uni)
    licences.agree(phikon)
    assert not licences.must_ask(uni)
    assert not licences.must_ask(phikon)
    assert licences.must_ask(replace(uni, licence="another"))
    assert not licences.must_ask(entries["pathogpt"].spec)
    file.write_text("damaged")
    assert licences.must_ask(uni)


def test_a_script_is_warned_once_a_model(entries: dict[str, CatalogEntry]) -> None:
    with pytest.warns(licences.LicenceWarning, match=r"uni is not.*CC-BY-NC-ND-4.0.*http"):
        licences.warn("uni")
    licences.agree(entries["uni2-h"].spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("uni", "uni2-h", "efficientnet-lite0", "a-plugins"):
            licences.warn(name)
