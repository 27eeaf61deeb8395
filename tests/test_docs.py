"""What the documentation shows is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_example_of_the_readme_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    tiles, *_ = done.stdout.split()
    assert int(tiles) > 0


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(ROOT / "docs" / "explore.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        startup_timeout=600,  # a minute otherwise, which a busy machine may need
        resources={"metadata": {"path": str(ROOT / "docs")}},
    )
    client.execute(env=dict(os.environ))
    outputs = [str(out) for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("IoU with the true nucleus" in out for out in outputs)
    assert any("dataset.json" in out for out in outputs)


def test_links_and_pictures_of_the_readme_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_the_readme_names_every_model_where_it_belongs() -> None:
    from napari_pathfm.models.catalog import entries

    rows = re.findall(r"^\| (.*?) \| (.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = {
        name: ("terms" in weights, "a file that" in weights, "with text" in weights)
        for weights, models in rows
        if re.match(r"in the box|download|a file|\*\*with", weights)
        for name in re.findall(r"`([^` ]+)`", models)
    }
    known = entries()
    for name, (terms, file, text) in named.items():
        spec = known[name].spec
        assert spec.status == ("gated" if terms else "closed" if file else "open"), name
        assert getattr(spec, "text", False) == text, name
    kinds = ("encoder", "slide")
    usable = {n for n, e in known.items() if e.spec.kind in kinds and e.loader}
    assert usable <= set(named)


def test_the_models_of_the_page_on_own_models_work(tmp_path: Path) -> None:
    import numpy as np

    from napari_pathfm.models.base import Encoder
    from napari_pathfm.models.catalog import build, read_catalog

    page = (ROOT / "docs" / "your-own-model.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    encoder = made["load"]()
    assert isinstance(encoder, Encoder)
    tiles = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_allclose(encoder.embed(tiles), tiles.mean((1, 2)), rtol=1e-5)
    assert encoder.embed(tiles).shape == (2, encoder.spec.dim)
    table = next(t for t in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "arch" in t)
    (tmp_path / "models.toml").write_text(table)
    (entry,) = read_catalog(tmp_path / "models.toml")
    build(entry, meta=True)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_links_of_the_docs_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert not [at for at in links if "://" not in at and not (page.parent / at).exists()]
