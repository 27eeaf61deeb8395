from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from napari_pathfm.analysis.again import prompts_of
from napari_pathfm.gui import notify
from napari_pathfm.gui.candidate_queue import NAME
from napari_pathfm.gui.more import EACH, EVERYTHING, More
from napari_pathfm.gui.more_box import MoreBox
from napari_pathfm.gui.prompting import Prompting
from napari_pathfm.gui.view import to_data
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


def boxes_round(discs: Sequence[tuple[float, float, float]]) -> list[Any]:
    """Corners of rectangles round discs, level-0 pixels."""
    return [
        np.array([[y - r, x - r], [y - r, x + r], [y + r, x + r], [y + r, x - r]])
        for y, x, r in discs
    ]


@pytest.fixture
def answering(stage: Stage, more: More, monkeypatch: pytest.MonkeyPatch) -> ExactSegmenter:
    """What answers boxes, too."""
    segmenter = ExactSegmenter(answers=("points", "box"))
    monkeypatch.setattr(catalog, "get_segmenter", lambda name, weights=None: segmenter)
    return segmenter


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user is told."""
    told: list[str] = []
    monkeypatch.setattr(notify, "tell", told.append)
    return told


def test_each_box_of_a_layer_by_the_key(
    stage: Stage, more: More, wait: Wait, answering: ExactSegmenter, heard: list[str]
) -> None:
    # As from another program: pixels of a level of its own, moved and scaled.
    factor, shift = 3.0, 40.0
    corners = [
        (to_data(ring) - shift) / factor
        for ring in boxes_round([*DISCS, (-500, 400, 90), (2000, 600, 90)])
    ]
    shapes = stage.viewer.add_shapes(
        [*corners[:2], *corners[3:]],
        shape_type="rectangle",
        scale=(factor * stage.scale,) * 2,
        translate=(shift * stage.scale,) * 2,
    )
    shapes.add_polygons(corners[2])
    shapes.add_lines(np.array([[10, 10], [10, 60.0]]))
    stage.viewer.layers.selection.active = shapes
    stage.press("1")
    stage.press("U")
    wait(lambda: len(stage.store.objects) == 3)
    stage.settle()
    assert areas(stage) == pytest.approx(sorted(map(disc_area, range(3))), rel=0.03)
    assert {(row.class_id, row.how, row.model) for row in stage.store.objects.values()} == {
        (1, "prompt", "exact")
    }
    wait(lambda: bool(heard))
    assert heard == [
        "3 new objects; Ctrl+Z takes everything of it back. Left out: 1 lines and open paths; "
        "1 outside the slide; 1 where nothing was found."
    ]
    assert [step.text for step in stage.store.history()] == ["segment each (3 objects)"]
    y, x, _ = DISCS[0]
    number = int(stage.store.read(0, int(y), int(x), 1, 1)[0, 0])
    box = prompts_of(stage.store, number).box
    assert box is not None
    assert np.allclose(box, [y - 120, x - 120, y + 120, x + 120], atol=0.01)
    stage.press("Control+Z")
    wait(lambda: not stage.store.objects)
    assert not stage.store.read(0, 0, 0, 2500, 4000).any()


def test_each_point_of_a_layer_by_the_button(
    stage: Stage,
    more: More,
    wait: Wait,
    answering: ExactSegmenter,
    heard: list[str],
    qtbot: object,
) -> None:
    box = MoreBox(more, stage.session)
    qtbot.addWidget(box)  # type: ignore[attr-defined]
    places = np.array([(y + 20, x - 20) for y, x, _ in DISCS])
    points = stage.viewer.add_points(to_data(places), scale=(stage.scale,) * 2)
    points.shown = [True, False, True]
    stage.viewer.layers.selection.active = points
    box.each_button.click()
    wait(lambda: len(stage.store.objects) == 2)
    stage.settle()
    assert areas(stage) == pytest.approx([disc_area(0), disc_area(2)], rel=0.03)
    # Once more, with all of them: neighbours are kept, or give way.
    points.shown = True
    more._prompting.work.overwrite = False
    box.each_button.click()
    wait(lambda: len(stage.store.objects) == 3)
    wait(lambda: len(heard) == 2)
    assert "2 on objects that are there already" in heard[-1]
    assert len(stage.store.history()) == 2


def test_each_is_cancelled_and_what_no_layer_can_is_said(
    stage: Stage, more: More, wait: Wait, answering: ExactSegmenter, heard: list[str]
) -> None:
    more.each()
    assert "Choose a layer of boxes or points" in heard[-1]
    empty = stage.viewer.add_points(ndim=2, name="cells")
    stage.viewer.layers.selection.active = empty
    stage.press("U")
    assert "“cells” has neither a box nor a point" in heard[-1]
    more._prompting.point_mode()
    stage.press("U")
    assert "Choose a layer of boxes or points" in heard[-1], "prompts of one object"
    places = np.random.default_rng(0).uniform(0, 2000, (400, 2))
    stage.viewer.layers.selection.active = stage.viewer.add_points(places)
    stage.press("U")
    wait(lambda: stage.runner.busy(EACH))
    (job,) = [job for job in stage.runner.running if job.slot == EACH]
    assert job.title == "Segmenting each", "shown, with a way to stop it"
    job.cancel()
    wait(lambda: not stage.runner.running)
    stage.settle()
    assert not stage.store.objects
    assert not stage.store.history()


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
        box.each_button,
        box.accept_button,
        box.reject_button,
        box.all_button,
        box.stop_button,
    )
    shown = [button.text().split("[")[1].rstrip("]") for button in buttons]
    assert shown == ["W", "L", "U", "Y", "R", "Shift+Y", "Shift+R"]
    assert len({**more.keys, **more.queue.keys}) == len(buttons)
    taken = {**stage.edits.keys, **more.keys, **more.queue.keys}
    assert all(taken[key] is action for key, action in more.keys.items())
