"""The manifest is valid, and it is in the wheel, in the wheel of the sdist and in an editable."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from npe2 import PluginManifest

from napari_pathfm import __file__ as package_file

ROOT = Path(package_file).resolve().parents[1]
MANIFEST = "napari_pathfm/napari.yaml"

FIND = """
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
(point,) = [p for p in distribution("napari-pathfm").entry_points if p.group == "napari.manifest"]
package, _, file = point.value.partition(":")
print(Path(find_spec(package).origin).parent / file)
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a checkout holds, so that building leaves nothing in it."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "napari.yaml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy / name)
    if not (copy / "README.md").exists():
        pytest.skip("not a checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("napari_pathfm", "sample_data", "plugins"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    return copy


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build a wheel, and a wheel from an sdist."""
    out = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    run(*build, out / "direct", "--wheel", source)
    run(*build, out / "sdist", source)  # the sdist, and the wheel from it
    (direct,) = (out / "direct").glob("*.whl")
    (indirect,) = (out / "sdist").glob("*.whl")
    return {"wheel": direct, "sdist": indirect}


def check(manifest: Path) -> None:
    found = PluginManifest.from_file(manifest)
    assert found.name == "napari-pathfm"
    contributions = found.contributions
    assert contributions.readers
    assert contributions.writers
    assert contributions.widgets
    assert contributions.sample_data


def test_the_manifest_is_valid_and_its_commands_exist() -> None:
    check(ROOT / MANIFEST)
    manifest = PluginManifest.from_file(ROOT / MANIFEST)
    for command in manifest.contributions.commands or ():
        module, _, name = str(command.python_name).partition(":")
        path = ROOT.joinpath(*module.split("."))
        assert name in names(path.with_suffix(".py")), command.python_name


def names(file: Path) -> set[str]:
    """What a module has at its top, without importing it: it may need Qt."""
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names)
    return found


def test_the_manifest_at_the_top_is_the_one_in_the_package() -> None:
    if not (ROOT / "napari.yaml").exists():
        pytest.skip("not a checkout")
    if (ROOT / "napari.yaml").is_symlink():  # Windows may check out a text file instead
        assert (ROOT / "napari.yaml").resolve() == ROOT / MANIFEST


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_built(built: dict[str, Path], kind: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(built[kind]) as wheel:
        wheel.extractall(tmp_path)
        names = wheel.namelist()
    check(tmp_path / MANIFEST)
    assert "napari_pathfm/models/catalog.toml" in names
    assert not [name for name in names if name.startswith(("tests/", "plugins/", "benchmarks/"))]
    (points,) = tmp_path.glob("*.dist-info/entry_points.txt")
    assert "napari-pathfm = napari_pathfm:napari.yaml" in points.read_text()


def test_editable(source: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", system_site_packages=True, symlinks=True)
    scripts = sysconfig.get_path("scripts", "venv", {"base": str(tmp_path / "venv")})
    python = Path(scripts) / ("python.exe" if sys.platform == "win32" else "python")
    # The tools that build are those of this environment: nothing is downloaded.
    site = Path(pytest.__file__).resolve().parents[1]
    (library,) = {path.resolve() for path in tmp_path.glob("venv/[Ll]ib*/**/site-packages")}
    (library / "zz_outer.pth").write_text(str(site))
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--force-reinstall")
    run(sys.executable, "-m", "pip", f"--python={python}", "install", *options, "-e", source)
    place = Path(run(python, "-P", "-c", FIND).strip())
    assert place == source / MANIFEST
    check(place)
