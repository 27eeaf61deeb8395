"""Importing is quick, and nothing below the window needs one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "napari_pathfm"

MEASURE = """
import time
start = time.perf_counter()
import napari_pathfm
seconds = time.perf_counter() - start
import sys
heavy = {"torch", "timm", "napari", "qtpy", "PyQt6", "numpy", "zarr", "skimage", "sklearn"}
print(seconds, *sorted(heavy & set(sys.modules)))
"""

BLOCK = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {"qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "napari", "superqt", "magicgui",
                   "pyqtgraph"}:
            raise ImportError(f"{name} is refused")
        return None

sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def python(code: str, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_the_package_is_imported_at_once() -> None:
    outputs = [python(MEASURE).split() for _ in range(3)]
    assert min(float(seconds) for seconds, *_ in outputs) < 0.2
    assert outputs[0][1:] == []


def test_help_needs_no_torch() -> None:
    shown = python(
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from napari_pathfm.__main__ import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print(*sorted({'torch', 'timm', 'napari', 'qtpy', 'sklearn', 'zarr'} & set(sys.modules)))"
    )
    assert shown.split() == []


def test_everything_below_the_window_is_importable_without_qt() -> None:
    modules = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if "gui" not in parts and path.name not in ("__init__.py", "__main__.py"):
            modules.append(".".join(parts))
    assert "napari_pathfm.cli.main" in modules
    python(BLOCK, *modules)


def test_the_verbs_are_found_by_name() -> None:
    import napari_pathfm
    from napari_pathfm import api

    assert set(napari_pathfm.__all__) <= set(dir(napari_pathfm))
    for name in napari_pathfm.__all__:
        assert getattr(napari_pathfm, name) is getattr(api, name)
