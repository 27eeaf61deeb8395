from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from napari_pathfm.gui.polygon import PolygonEdit

from .stage import Stage

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def polygon(stage: Stage, wait: Wait) -> Iterator[PolygonEdit]:
    ids = np.full((200, 200), 1, np.uint32)
    edit = stage.store.paint_edit(500, 1000, ids, None, "paint")
    stage.edits.history.commit("paint", lambda layer: edit)
    wait(lambda: len(stage.store.objects) == 1)
    made = PolygonEdit(stage.viewer, stage.session, stage.runner, stage.edits.history)
    stage.look(650, 1100, 1.5)
    made.start(1)
    wait(lambda: made.layer is not None)
    yield made
    made.cancel()


def test_a_corner_is_dragged_and_enter_keeps_it(
    stage: Stage, polygon: PolygonEdit, wait: Wait
) -> None:
    layer = polygon.layer
    assert layer is not None
    assert len(layer.data) == 1
    stage.click(600, 1100)  # selects the polygon, so that its corners can be taken
    stage.drag([(700, 1200), (730, 1230), (800, 1300)])
    moved = np.asarray(layer.data[0])[:, -2:].max(0)
    np.testing.assert_allclose(moved, [799.5, 1299.5], atol=4)
    stage.press("Enter")
    wait(lambda: stage.store.objects[1].area > 45_000)
    assert polygon.layer is None
    assert layer not in stage.viewer.layers
    row = stage.store.objects[1]
    assert row.area == pytest.approx(60_000, rel=0.03)
    stage.press("Control+Z")
    wait(lambda: stage.store.objects[1].area == 40_000)


def test_escape_keeps_the_old_shape(stage: Stage, polygon: PolygonEdit, wait: Wait) -> None:
    stage.click(600, 1100)
    stage.drag([(700, 1200), (730, 1230), (800, 1300)])
    layer = polygon.layer
    stage.press("Escape")
    assert polygon.layer is None
    assert layer not in stage.viewer.layers
    stage.settle()
    assert stage.store.objects[1].area == 40_000


def test_the_polygon_goes_with_the_layer_it_belongs_to(stage: Stage, polygon: PolygonEdit) -> None:
    before = stage.session.annotations
    stage.session.annotations = None
    assert polygon.layer is None
    stage.session.annotations = before
