"""Embedding in a window: it follows the view, uses the store, and asks when a card is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis import embed as embedding
from napari_pathfm.analysis.search import search
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.gui.commands import open_map
from napari_pathfm.gui.embedding import SLOT
from napari_pathfm.models import catalog
from napari_pathfm.models.base import DeviceLost

from .window import Window


class SlowEncoder:
    """Embeds a tile as its mean colours, slowly; its card goes after so many tiles."""

    def __init__(self, device: str = "cpu", pause: float = 0.01, weights: str = "ab12") -> None:
        self.device, self.pause = device, pause
        self.spec = replace(catalog.encoder_specs()["efficientnet-lite0"], dim=6)
        self.key = FeatureKey("efficientnet-lite0", "avg", weights, "colours")
        self.tiles = 0
        self.lasts = 10**9

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.tiles + len(tiles) > self.lasts:
            raise DeviceLost(f"{self.device} does not answer any more")
        self.tiles += len(tiles)
        time.sleep(self.pause * len(tiles))
        pixels = tiles.reshape(len(tiles), -1, 3).astype(np.float32)
        return np.concatenate([pixels.mean(1), pixels.std(1) + 1], 1)

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise NotImplementedError


Load = Callable[[SlowEncoder], None]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Have this encoder loaded, on whatever device it is asked for."""
    monkeypatch.setattr(embedding, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(embedding, "WATCH_SHARE", 1.0)

    def use(encoder: SlowEncoder) -> None:
        def get(name: str, weights: Any = None, device: str | None = None) -> SlowEncoder:
            encoder.device = device or encoder.device
            return encoder

        monkeypatch.setattr(catalog, "get_encoder", get)

    return use


@pytest.fixture
def tiled(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    """A slide, cut into 200 to 700 tiles."""
    window.open(synthetic, tmp_path / "project")
    window.find_tiles(0.5)
    assert window.session.grid is not None
    return window


def grow(window: Window, count: int) -> None:
    """Embed, and wait for so many tiles."""
    session = window.session
    if not window.place.embedding.busy:
        window.dock.embed.embed_button.click()
    window.driver.wait(
        lambda: session.embeddings is not None and len(session.embeddings) >= count, "tiles", 60
    )


def test_what_is_looked_at_comes_first_and_panning_changes_that(tiled: Window, load: Load) -> None:
    load(SlowEncoder(pause=0.02))
    session, place, grid = tiled.session, tiled.place, tiled.session.grid

    def away(tile: int) -> NDArray[np.float64]:
        """How far from a tile those embedded so far lie, in tiles."""
        centers = grid.centers[session.embeddings.tiles]
        return np.abs(centers - grid.centers[tile]).max(1) / grid.side

    last, middle = len(grid) - 1, len(grid) // 2
    place.jump_to_tile(last)
    tiled.driver.idle(0.3)
    grow(tiled, 3)
    assert away(last)[:3].max() < 4
    assert away(middle)[:3].min() > 4
    place.jump_to_tile(middle)
    tiled.driver.idle(0.3)
    seen = len(session.embeddings)
    grow(tiled, seen + 8)
    assert away(middle)[seen + 4 : seen + 8].max() < 4
    place.runner.cancel(SLOT)
    tiled.rest()


def test_the_list_of_slides_says_how_far_it_is(tiled: Window, load: Load) -> None:
    load(SlowEncoder(pause=0.005))
    listed, count = tiled.dock.embed.slides.list, len(tiled.session.grid)

    def shown() -> list[str]:
        return [listed.topLevelItem(0).text(column) for column in (1, 2)]

    grow(tiled, 8)
    tiled.place.runner.cancel(SLOT)
    tiled.rest()
    assert shown() == ["waiting", f"{len(tiled.session.embeddings):,} of {count:,}"]
    grow(tiled, count)
    tiled.rest()
    assert shown() == ["done", f"{count:,}"]


def test_map_and_heatmap_grow_with_the_embeddings(tiled: Window, load: Load) -> None:
    load(SlowEncoder(pause=0.03))
    session, explore, count = tiled.session, tiled.dock.explore, len(tiled.session.grid)
    shown_map = open_map(tiled.viewer)
    assert explore.blocked()
    grow(tiled, 4)
    assert not explore.blocked()
    asked = session.embeddings.tiles[:1]
    session.select(asked)
    explore.similar_button.click()
    tiled.driver.wait(lambda: session.scores is not None, "the heatmap", 30)
    layer = tiled.viewer.layers["similarity"]
    layer.opacity = 0.3
    few = np.isfinite(layer.data).sum()
    tiled.driver.wait(lambda: session.coordinates is not None, "the map", 30)
    first, before = session.coordinates, len(session.scores)
    assert 50 <= len(first) < count
    assert "PCA of" in explore.map_state.text()
    tiled.driver.idle(0.1)
    shown_map.view.box.scaleBy((0.5, 0.5))
    shown_map.view.moved = True
    seen = shown_map.view.box.viewRange()
    tiled.driver.wait(lambda: len(session.coordinates) > len(first), "a larger map", 30)
    tiled.driver.wait(lambda: len(session.scores) > before, "more scores", 30)
    assert tiled.place.embedding.busy
    tiled.embedded()
    tiled.rest()
    tiled.driver.idle(0.1)
    assert len(session.coordinates) == len(session.scores) == session.embedded == count
    np.testing.assert_array_equal(session.selection.tiles, asked)
    again = session.coordinates.xy[: len(first)]
    assert ((again * first.xy).sum(1) > 0).mean() > 0.9  # neither mirrored nor turned
    assert tiled.viewer.layers["similarity"] is layer
    assert layer.opacity == 0.3
    assert np.isfinite(layer.data).sum() == count > few
    assert shown_map.view.box.viewRange() == seen
    np.testing.assert_allclose(
        session.scores.values, search(session.embeddings, asked).values, atol=1e-6
    )
    explore.searching.forget()
    assert "similarity" not in tiled.viewer.layers


def test_a_window_says_from_the_store(tiled: Window, load: Load) -> None:
    encoder = SlowEncoder(pause=0.001)
    load(encoder)
    panel, count = tiled.dock.embed, len(tiled.session.grid)
    tiled.rest()
    assert panel.stored.text() == ""
    grow(tiled, 20)
    panel.cancel_button.click()
    tiled.rest()
    kept = len(tiled.session.embeddings)
    assert 20 <= kept < count
    assert "Stopped" in panel.state.text()
    encoder.tiles = 0
    panel.embed_button.click()
    tiled.embedded()
    assert f"{count} tiles, {kept} of them from the store" in panel.state.text()
    assert encoder.tiles == count - kept

    tiled.find_tiles(0.6)
    tiled.driver.wait(lambda: "other tiles (224 px at 0.5 µm/px" in panel.stored.text(), "why not")
    tiled.session.set_grid(None)
    tiled.find_tiles(0.5)
    tiled.driver.wait(lambda: panel.stored.text() == f"{count} tiles are in the store", "the store")
    panel.embed_button.click()
    tiled.embedded()
    assert f"{count} tiles, from the store" in panel.state.text()
    assert encoder.tiles == count - kept
    assert panel.stored.text() == ""


def test_other_weights_are_told_by_name(tiled: Window, load: Load) -> None:
    load(SlowEncoder(pause=0))
    tiled.dock.embed.embed_button.click()
    tiled.embedded()
    tiled.place.embedding.encoders.start_anew(None)
    load(SlowEncoder(pause=0, weights="cd34"))
    tiled.dock.embed.embed_button.click()
    tiled.embedded()
    assert "embedded before with other weights (ab12; now cd34)" in tiled.dock.embed.state.text()
    assert "from the store" not in tiled.dock.embed.state.text()


def test_a_card_that_goes_is_a_choice(tiled: Window, load: Load) -> None:
    encoder = SlowEncoder("cuda:0", pause=0.001)
    encoder.lasts = 40
    load(encoder)
    panel, count = tiled.dock.embed, len(tiled.session.grid)
    tiled.dock.steps.open(panel)
    for button in (panel.embed_button, panel.device.again):
        button.click()
        tiled.driver.wait(panel.device.isVisible, "the choice", 60)
        tiled.rest()
        assert "does not answer" in panel.device.text.text()
        assert 0 < len(tiled.session.embeddings) == encoder.tiles <= 40
        assert encoder.device == "cuda:0"
    encoder.lasts = 10**9
    panel.device.processor.click()
    assert not panel.device.isVisible()
    tiled.embedded()
    assert encoder.device == "cpu"
    assert len(tiled.session.embeddings) == encoder.tiles == count
    assert not tiled.messages
