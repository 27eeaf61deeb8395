from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from napari_pathfm.gui.candidate_queue import NAME
from napari_pathfm.gui.more import EVERYTHING, More
from napari_pathfm.gui.more_box import MoreBox
from napari_pathfm.gui.prompting import Prompting
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.models import catalog

from ..exact_segmenter import ExactSegmenter
from .stage import DISCS, Stage

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[More]:
    monkeypatch.setattr(catalog, "get_segmenter", lambda name, weights=None: ExactSegmenter())
    prompting = Prompting(stage.viewer, stage.session, stage.runner, stage.edits)
    made = More(stage.viewer, stage.session, stage.runner, stage.edits, prompting)
    stage.look(1000, 1500, 4.0)
    yield made
    made.queue.stop()
    prompting.clear()


def draw(stage: Stage, disc: int, class_id: int = 2) -> int:
    """Make a disc an object."""
    from napari_pathfm.core.edits import ObjectRow

    y, x, radius = DISCS[disc]
    number, side = stage.store.new_id(), int(2 * radius)
    rows = np.arange(side)[:, None] + 0.5 - radius
    inside = rows**2 + rows.T**2 < radius**2
    edit = stage.store.paint_edit(
        int(y - radius),
        int(x - radius),
        np.full(inside.shape, number),
        inside,
        "an example",
        rows={number: ObjectRow(number, class_id)},
    )
    stage.store.commit(edit)
    return number


def areas(stage: Stage) -> list[int]:
    return sorted(row.area for row in stage.store.objects.values())


def disc_area(disc: int) -> float:
    return float(np.pi * DISCS[disc][2] ** 2)


def test_more_like_an_object_is_accepted_and_rejected_by_keys(
    stage: Stage, more: More, wait: Wait, qtbot: object
) -> None:
    box = MoreBox(more, stage.session)
    qtbot.addWidget(box)  # type: ignore[attr-defined]
    box.show()
    assert not box.asking.isVisible()
    draw(stage, 0)
    stage.press("L")
    wait(lambda: more.queue.shown is not None)
    assert len(more.queue) == 2
    assert box.asking.isVisible()
    assert box.state.text().startswith("1 of 2 · likeness")
    assert stage.edits.active.id == 2, "the class of the example"
    first = more.queue.shown
    assert first is not None
    assert first.candidate.box is not None
    y0, x0, y1, x1 = first.candidate.box
    scale = stage.scale
    assert np.allclose(
        stage.viewer.scene.camera.center[-2:],
        [(y0 + y1) / 2 * scale, (x0 + x1) / 2 * scale],
        atol=1,
    )
    layer = stage.viewer.layers[NAME]
    assert layer.get_value(((y0 + y1) / 2 * scale, (x0 + x1) / 2 * scale), world=True) == 1
    stage.press("R")
    assert box.state.text().startswith("2 of 2")
    assert len(stage.store.objects) == 1, "what is rejected is no object"
    stage.press("1")
    stage.press("Y")
    wait(lambda: len(stage.store.objects) == 2)
    made = stage.store.objects[stage.store.objects.largest_id]
    assert (made.class_id, made.how, made.model) == (1, "prompt", "exact")
    assert more.queue.shown is None
    assert not box.asking.isVisible()
    assert NAME not in stage.viewer.layers
    stage.press("Control+Z")
    wait(lambda: len(stage.store.objects) == 1)


def test_all_are_accepted_at_once_by_one_edit(stage: Stage, more: More, wait: Wait) -> None:
    draw(stage, 0)
    stage.press("L")
    wait(lambda: more.queue.shown is not None)
    stage.press("Shift+Y")
    wait(lambda: len(stage.store.objects) == 3)
    assert areas(stage) == pytest.approx(sorted(map(disc_area, range(3))), rel=0.03)
    assert [step.text for step in stage.store.history()] == ["an example", "accept 2 objects"]
    stage.press("L")
    wait(lambda: not stage.runner.running)
    assert more.queue.shown is None, "nothing is found twice"
    stage.press("Control+Z")
    wait(lambda: len(stage.store.objects) == 1)


def test_everything_in_view_is_one_edit(stage: Stage, more: More, wait: Wait) -> None:
    draw(stage, 0)
    stage.press("1")
    stage.press("W")
    wait(lambda: len(stage.store.objects) == 3)
    assert areas(stage) == pytest.approx(sorted(map(disc_area, range(3))), rel=0.03)
    stage.press("Control+Z")
    wait(lambda: len(stage.store.objects) == 1)


def test_everything_needs_a_size_and_looks_where_it_is_told(
    stage: Stage, more: More, wait: Wait, qtbot: object
) -> None:
    box = MoreBox(more, stage.session)
    qtbot.addWidget(box)  # type: ignore[attr-defined]
    box.everything_button.click()
    assert not stage.runner.busy(EVERYTHING)
    assert box.size_box.suffix() == " µm"
    box.size_box.setValue(240 * stage.scale)
    assert more.size == pytest.approx(240)
    stage.look(600, 800, 0.5)
    box.everything_button.click()
    wait(lambda: len(stage.store.objects) == 1)
    wait(lambda: not stage.runner.running)
    box.where.setCurrentIndex(1)
    box.everything_button.click()
    wait(lambda: len(stage.store.objects) == 3)
    assert areas(stage) == pytest.approx(sorted(map(disc_area, range(3))), rel=0.03)


def test_what_was_started_on_another_layer_is_dropped(stage: Stage, more: More, wait: Wait) -> None:
    draw(stage, 0)
    stage.press("L")
    wait(lambda: more.queue.shown is not None)
    more.everything()
    other = AnnotationLayer.open(
        stage.project, stage.slide.id, "nuclei", stage.slide.levels[0].shape
    )
    stage.session.annotations = other
    assert more.queue.shown is None
    assert NAME not in stage.viewer.layers
    wait(lambda: not stage.runner.running)
    stage.settle()
    assert not other.objects
    assert len(stage.store.objects) == 1


def test_keys_stand_on_the_buttons(stage: Stage, more: More, qtbot: object) -> None:
    box = MoreBox(more, stage.session)
    qtbot.addWidget(box)  # type: ignore[attr-defined]
    buttons = (
        box.everything_button,
        box.like_button,
        box.accept_button,
        box.reject_button,
        box.all_button,
        box.stop_button,
    )
    shown = [button.text().split("[")[1].rstrip("]") for button in buttons]
    assert shown == ["W", "L", "Y", "R", "Shift+Y", "Shift+R"]
    assert len({**more.keys, **more.queue.keys}) == len(buttons)
    taken = {**stage.edits.keys, **more.keys, **more.queue.keys}
    assert all(taken[key] is action for key, action in more.keys.items())
