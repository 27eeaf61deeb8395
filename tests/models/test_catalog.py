"""The catalogue's facts are those of the networks; wrong catalogues are named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_pathfm.core.registry import RegistryError
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import (
    OURS,
    CatalogEntry,
    encoder_specs,
    encoders,
    get_encoder,
    get_segmenter,
    read_catalog,
    segmenters,
)
from napari_pathfm.models.timm import build


def test_licences() -> None:
    specs = encoder_specs()
    commercial = {name for name, spec in specs.items() if spec.commercial}
    assert {"efficientnet-lite0", "h-optimus-0", "midnight-12k", "hibou-b", "clip"} <= commercial
    assert not commercial & {"kaiko-vits16", "uni", "conch", "conch-v1.5", "phikon", "plip"}


def test_every_entry_says_what_stands_in_the_way(entries: dict[str, CatalogEntry]) -> None:
    for name, entry in entries.items():
        spec = entry.spec
        no_way = spec.kind == "encoder" and not entry.loader
        assert spec.licence, name
        assert bool(spec.gate) or spec.status != "gated", name
        assert not spec.gate or spec.status != "open", name
        assert bool(spec.note) or not (no_way or spec.status in ("closed", "none")), name


def test_what_can_be_chosen() -> None:
    assert set(encoder_specs()) <= set(encoders().names())
    assert {"litemedsam", "sam-vit-b", "sam-vit-l", "sam-vit-h"} <= set(segmenters().names())
    with pytest.raises(RegistryError, match="There is no encoder named 'uni-3'"):
        get_encoder("uni-3")


@pytest.mark.parametrize(
    ("get", "name", "message"),
    [
        (get_encoder, "pathogpt", "a writer of reports, no encoder. The ref.*made up.*PRISM"),
        (get_segmenter, "paseg", r"paseg cannot be loaded\. No paper.*PathSegmentor"),
        (get_encoder, "litemedsam-2", "There is no encoder"),
        (get_segmenter, "uni", "uni is an encoder, no segmenter"),
        (
            get_encoder,
            "virchow2g",
            r"cannot be loaded\. Weights are not public.*nearest is virchow2",
        ),
    ],
)
def test_what_cannot_be_had_explains_itself(
    get: Callable[[str], object], name: str, message: str
) -> None:
    with pytest.raises((ModelError, RegistryError), match=message):
        get(name)


GOOD = OURS.read_text("utf-8").split("[kaiko-vits16]")[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dim = 1280\n", "", "'efficientnet-lite0' lacks dim"),
        ("dim = 1280\n", "dim = 'many'\n", "dim = 'many', which is not a whole number"),
        ("mpp = 0.5", "mpp = -1", "mpp = -1, which is not a number above 0"),
        ('pooling = "avg"', 'pooling = "max"', "not one of cls, cls.mean, avg"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5]", "not a list of three numbers"),
        ("commercial = true", "commercial = 1", "not true or false"),
        ("commercial = true", "comercial = true", "lacks commercial"),
        ("patch = 32", "patch = 32\npach = 3", "unknown key 'pach'"),
        ('keys = "efficientnet_lite0"', 'keys = "b7"', "keys = 'b7'"),
        ("package =", "pakage =", "weights.pakage"),
        ("[efficientnet-lite0]", "[efficientnet-lite0", "cannot be read"),
    ],
)
def test_wrong_catalogue_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(ModelError, match=message) as error:
        read_catalog(path)
    assert str(path) in str(error.value)


def test_fact_that_the_network_contradicts(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("params = 3371008", "params = 5"), "utf-8")
    (entry,) = read_catalog(path)
    with pytest.raises(ModelError, match=r"params = 5, but timm's tf_efficientnet_lite0 has 3371"):
        build(entry, meta=True)


def test_architecture_that_timm_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("tf_efficientnet_lite0", "vit_enormous"), "utf-8")
    (entry,) = read_catalog(path)
    with pytest.raises(ModelError, match="cannot build 'vit_enormous'"):
        build(entry, meta=True)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of an installed package that must not be imported and brings a catalogue."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    points = "[napari_pathfm.catalogs]\ntheirs = stranger:models.toml\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_catalogue_of_a_plugin_is_read_without_importing_it(plugin: Path) -> None:
    (plugin / "models.toml").write_text(GOOD.replace("efficientnet-lite0]", "their-net]"), "utf-8")
    assert "their-net" in encoders().names()
    assert encoder_specs()["their-net"].dim == 1280
    assert "stranger" not in sys.modules


def test_loader_of_a_plugin_that_is_not_there(plugin: Path) -> None:
    theirs = GOOD.replace("efficientnet-lite0]", "their-net]")
    theirs = theirs.replace('loader = "timm"', 'loader = "nowhere.nets:load"')
    (plugin / "models.toml").write_text(theirs, "utf-8")
    with pytest.raises(ModelError, match=r"nowhere\.nets:load.*cannot be imported"):
        get_encoder("their-net")


def test_broken_catalogue_of_a_plugin_fails_alone(plugin: Path) -> None:
    (plugin / "models.toml").write_text("[net]\ndim = 3\n")
    assert {"theirs", "efficientnet-lite0"} <= set(encoders().names())
    with pytest.raises(ModelError, match="'net' lacks"):
        get_encoder("theirs")
    with pytest.warns(UserWarning, match="'net' lacks"):
        assert "efficientnet-lite0" in encoder_specs()


def test_catalogue_with_a_name_that_is_ours(plugin: Path) -> None:
    (plugin / "models.toml").write_text(GOOD, "utf-8")
    with pytest.raises(RegistryError, match="Two encoders are named 'efficientnet-lite0'") as error:
        get_encoder("efficientnet-lite0")
    assert "stranger" in str(error.value)
    assert "napari-pathfm" in str(error.value)
