from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_pathfm.core.embeddings import Embeddings
from napari_pathfm.gui.embed_panel import EmbedPanel
from napari_pathfm.gui.explore_panel import ExplorePanel
from napari_pathfm.gui.runner import Runner
from napari_pathfm.session import Session

from ..worded import Apart, clip, clip_file
from .explored import PlainSlide, explored

Wait = Callable[..., None]
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def runner(qtbot: Any) -> Generator[Runner, None, None]:
    made = Runner()
    yield made
    made.shutdown()


def panel_of(qtbot: Any, session: Session, runner: Runner, *loader: Any) -> ExplorePanel:
    made = ExplorePanel(session, runner, *loader)
    qtbot.addWidget(made)
    made.resize(340, 700)
    made.show()
    return made


def test_says_what_is_missing(qtbot: Any, runner: Runner) -> None:
    session = Session()
    panel = panel_of(qtbot, session, runner)
    assert panel.blocked() == "open a slide first"
    assert not panel.map_button.isEnabled()
    ready = panel_of(qtbot, explored()[0], runner)
    assert ready.blocked() == ""
    assert ready.map_button.isEnabled()
    assert not ready.similar_button.isEnabled()


def test_the_map_is_a_pca_at_once_and_then_a_umap(qtbot: Any, runner: Runner, wait: Wait) -> None:
    session, _ = explored()
    panel = panel_of(qtbot, session, runner)
    seen: list[str] = []
    session.events.coordinates.connect(lambda found: seen.append(found.method))
    qtbot.mouseClick(panel.map_button, LEFT)
    wait(lambda: seen == ["PCA", "UMAP"], seconds=180)  # UMAP is compiled first
    assert panel.map_state.text() == "UMAP of 100 tiles"


def test_a_map_of_another_slide_is_dropped(qtbot: Any, runner: Runner, wait: Wait) -> None:
    session, _ = explored()
    panel = panel_of(qtbot, session, runner)
    panel.maps.make()
    session.set_embeddings(None)
    wait(lambda: not runner.running)
    assert session.coordinates is None


def test_clusters(qtbot: Any, runner: Runner, wait: Wait) -> None:
    session, group = explored(k=4)
    panel = panel_of(qtbot, session, runner)
    panel.clusters.setValue(4)
    qtbot.mouseClick(panel.cluster_button, LEFT)
    wait(lambda: session.clusters is not None)
    assert session.clusters is not None
    assert len(set(zip(session.clusters.tolist(), group.tolist(), strict=True))) == 4


def test_similar_tiles_are_scored_shown_and_jumped_to(
    qtbot: Any, runner: Runner, wait: Wait
) -> None:
    session, group = explored()
    panel = panel_of(qtbot, session, runner)
    session.select(np.array([2, 6]))
    assert panel.selected.text() == "<b>2</b> tiles selected"
    qtbot.mouseClick(panel.similar_button, LEFT)
    wait(lambda: session.scores is not None and panel.gallery.count() > 0)
    shown = panel.gallery.tiles()
    assert not {2, 6} & set(shown)
    assert (group[shown[:20]] == group[2]).all()
    assert "similar to 2 tiles" in panel.hits.text()
    with qtbot.waitSignal(panel.jump) as caught:
        panel.gallery.itemClicked.emit(panel.gallery.item(0))
    assert caught.args == [shown[0]]
    qtbot.mouseClick(panel.forget_button, LEFT)
    assert session.scores is None
    assert panel.gallery.count() == 0
    assert not panel.gallery.isVisible()


def worded(encoder: Any) -> Session:
    """A session whose slide is embedded with an encoder of texts."""
    session, _ = explored()
    assert session.grid is not None
    vectors = np.random.default_rng(0).normal(size=(len(session.grid), encoder.spec.dim))
    tiles = np.arange(len(session.grid))
    session.set_embeddings(
        Embeddings(encoder.key, session.grid.hash, tiles, vectors.astype(np.float32))
    )
    return session


def test_a_text_is_searched_where_the_encoder_knows_words(
    qtbot: Any, runner: Runner, wait: Wait
) -> None:
    encoder = clip()
    session = worded(encoder)
    panel = panel_of(qtbot, session, runner, lambda name: lambda: {"clip": encoder}[name])
    assert panel.text.line.isEnabled()
    assert not panel.text.button.isEnabled()
    qtbot.keyClicks(panel.text.line, "lymphocytes <H&E>")
    qtbot.mouseClick(panel.text.button, LEFT)
    wait(lambda: session.scores is not None and panel.gallery.count() > 0)
    assert session.scores is not None
    assert session.embeddings is not None
    (query,) = encoder.embed_text(["lymphocytes <H&E>"])
    vectors = session.embeddings.vectors
    values = vectors @ query / np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(session.scores.values, values, atol=1e-5)
    assert panel.gallery.tiles()[:3] == np.argsort(-values)[:3].tolist()
    assert "Most similar to “lymphocytes <H&E>”" in panel.hits.text()


def test_tiles_are_embedded_for_texts_where_that_is_needed(
    qtbot: Any, runner: Runner, wait: Wait
) -> None:
    class Readable(PlainSlide):
        def tiles(self, grid: Any, order: Any = None, batch: int = 8) -> Any:
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                yield part, np.stack([self.tile(grid, number) for number in part])

    encoder = Apart()
    session = worded(encoder)
    stored = session.embeddings
    assert stored is not None
    few = Embeddings(stored.key, stored.grid_hash, stored.tiles[:6], stored.vectors[:6])
    session.slide = Readable()  # type: ignore[assignment]
    session.set_embeddings(few)
    panel = panel_of(qtbot, session, runner, lambda name: lambda: encoder)
    qtbot.keyClicks(panel.text.line, "stroma")
    qtbot.keyClick(panel.text.line, Qt.Key.Key_Return)
    wait(lambda: session.scores is not None)
    assert session.scores is not None
    assert session.scores.tiles.tolist() == [0, 1, 2, 3, 4, 5]
    assert encoder.embedded == 6
    assert session.embeddings is few  # the map stays what it was


def test_an_encoder_is_loaded_once_from_the_file_that_was_chosen(
    qtbot: Any, runner: Runner
) -> None:
    panel = EmbedPanel(Session(), runner)
    qtbot.addWidget(panel)
    panel.encoder.setCurrentText("clip")
    panel.model.weights_file(clip_file())
    loaded = panel.loader("clip")()
    assert loaded.key == clip().key
    panel.encoder.setCurrentText("efficientnet-lite0")  # forgets the file
    assert panel.loader("clip")() is loaded


def test_encoders_of_images_are_not_asked_in_words(qtbot: Any, runner: Runner) -> None:
    panel = panel_of(qtbot, explored()[0], runner)
    assert not panel.text.line.isEnabled()
    assert not panel.text.button.isEnabled()
    assert "plip" in panel.text.line.toolTip()


def test_asks_for_a_region(qtbot: Any, runner: Runner) -> None:
    panel = panel_of(qtbot, explored()[0], runner)
    with qtbot.waitSignal(panel.lasso_requested):
        qtbot.mouseClick(panel.lasso_button, LEFT)


def test_clearing_the_selection(qtbot: Any, runner: Runner) -> None:
    session, _ = explored()
    panel = panel_of(qtbot, session, runner)
    session.select(np.array([1]))
    qtbot.mouseClick(panel.clear_button, LEFT)
    assert len(session.selection) == 0
    assert not panel.similar_button.isEnabled()


def test_nothing_is_clipped_in_a_narrow_dock(qtbot: Any, runner: Runner) -> None:
    panel = panel_of(qtbot, explored()[0], runner)
    assert panel.minimumSizeHint().width() <= 340


def test_a_closed_panel_leaves_nothing_behind(qtbot: Any, runner: Runner) -> None:
    session, _ = explored()
    panel = ExplorePanel(session, runner)
    gone = weakref.ref(panel)
    panel.deleteLater()
    QApplication.sendPostedEvents(None, 52)  # QEvent.DeferredDelete
    session.select(np.array([1]))
    session.set_grid(None)
    del panel
    gc.collect()
    assert gone() is None
