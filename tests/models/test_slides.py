"""Models of slides without weights, and how models of slides are found."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.registry import resolve
from napari_pathfm.models.base import ModelError, SlideModel
from napari_pathfm.models.catalog import encoders, entries, get_slide_model, slide_models

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def test_pooling() -> None:
    points = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]
    made = {name: resolve(at)() for name, at in points["napari_pathfm.slide_models"].items()}
    assert sorted(made) == ["max", "mean"]
    rng = np.random.default_rng(0)
    vectors, centres = rng.normal(size=(50, 7)).astype(np.float32), rng.uniform(size=(50, 2))
    for name, model in made.items():
        assert isinstance(model, SlideModel)
        assert model.spec.name == name
        found = model.embed_slide(vectors, centres, 224.0)
        assert found.dtype == np.float32
        expected = [getattr(np, name)(vectors[:, column]) for column in range(7)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
        assert model.attention(vectors, centres, 224.0) is None
        with pytest.raises(ValueError, match="as many centres"):
            model.embed_slide(vectors, centres[1:], 224.0)
        with pytest.raises(ValueError, match="at least 1"):
            model.embed_slide(vectors[:0], centres[:0], 224.0)


def test_catalogue_entries_are_where_they_belong() -> None:
    for name, entry in entries().items():
        assert (name in slide_models().names()) == (entry.spec.kind == "slide")
        assert not (entry.spec.kind == "slide" and name in encoders().names())
    with pytest.raises(ModelError, match="uni is an encoder, no slide model"):
        get_slide_model("uni")
