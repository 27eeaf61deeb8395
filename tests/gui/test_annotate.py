from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtTest import QTest

from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.gui.label_codes import (
    class_colormap,
    code_of,
    decode,
    encode,
    object_of,
    objects_in,
    with_room_for,
)
from napari_pathfm.gui.strokes import lay_over, stroke_of
from napari_pathfm.gui.view import CLOSEST
from napari_pathfm.io.errors import ProjectError
from napari_pathfm.io.painting import Paint

Wait = Callable[[Callable[[], bool]], None]


# -- codes ----------------------------------------------------------------------------------------


numbers = st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1))


@given(st.lists(numbers, min_size=4, max_size=4), st.integers(0, 254))
def test_codes_keep_the_object(numbers: list[int], class_id: int) -> None:
    ids = np.array(numbers, np.uint32).reshape(2, 2)
    codes = encode(ids, lambda some: (some.astype(np.int64) + class_id) % 255)
    expected = [code_of(n, (n + class_id) % 255) for n in numbers]
    assert codes.ravel().tolist() == expected
    assert (decode(codes) == ids).all()
    assert objects_in(ids).tolist() == sorted(set(numbers) - {0})
    assert all(object_of(code_of(n, class_id)) == n for n in numbers)


def test_a_large_picture_is_coded_like_a_small_one() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 9, (300, 11)).astype(np.uint32).repeat(30, 0).repeat(40, 1)
    ids[:3000] = 7  # a run that is longer than what is written at once
    codes = encode(ids, lambda some: some % 3)
    np.testing.assert_array_equal(codes, ids * 1000 + ids % 3)


@given(st.integers(1, 2**32 - 1))
def test_codes_take_half_the_memory_where_that_is_enough(number: int) -> None:
    codes = encode(np.array([[0, number]], np.uint32), lambda some: some % 255)
    assert codes.dtype == (np.uint32 if code_of(number, number % 255) < 2**32 else np.int64)
    small = encode(np.zeros((1, 2), np.uint32), lambda some: some)
    roomy = with_room_for(code_of(number, 254), small)
    roomy[0, 1] = code_of(number, 254)
    assert decode(roomy).tolist() == [[0, number]]


def test_objects_have_the_colour_of_their_class() -> None:
    colors = class_colormap(
        [AnnotationClass(1, "a", "#ff0000"), AnnotationClass(254, "b", "#00ff00")]
    )
    codes = np.array([0, code_of(7, 1), code_of(123456, 1), code_of(9, 254), code_of(9, 0)])
    drawn = colors.map(codes)
    assert drawn[0, 3] == 0
    assert drawn[1].tolist() == drawn[2].tolist() == [1, 0, 0, 1]
    assert drawn[3].tolist() == [0, 1, 0, 1]
    assert drawn[4, 0] == drawn[4, 1] == drawn[4, 2] > 0


# -- strokes --------------------------------------------------------------------------------------


def test_a_stroke_gathers_its_stamps() -> None:
    from napari.layers import Labels

    layer = Labels(np.zeros((50, 60), np.int64))
    said: list[Any] = []
    layer.events.paint.connect(lambda event: said.append(event.value))
    layer.brush_size = 6
    with layer.block_history():
        layer.paint((10, 10), 5001)
        layer.paint((20, 30), 5001)
    layer.data_setitem((np.array([40, 41]), np.array([2, 3])), 5001)
    stroke = stroke_of(said[0], 2, 100, 200)
    assert stroke is not None
    assert (stroke.factor, stroke.y, stroke.x) == (4, 107, 207)
    drawn = np.zeros((50, 60), bool)
    height, width = stroke.mask.shape
    drawn[7 : 7 + height, 7 : 7 + width] = stroke.mask
    drawn[40, 2] = drawn[41, 3] = True
    assert (drawn == (layer.data == 5001)).all()
    assert (stroke.ids[stroke.mask] == 5).all()
    assert stroke.ids.strides == (0, 0), "one number is kept once"
    other = stroke_of(said[1], 0, 0, 0)
    assert other is not None
    assert (other.y, other.x, other.mask.sum()) == (40, 2, 2)


def test_a_stroke_of_several_objects_keeps_all_their_numbers() -> None:
    earlier = ((np.array([4, 4]), np.array([8, 9])), None, np.array([5001, 7002]))
    later = ((np.array([5, 4]), np.array([8, 9])), None, 9001)
    stroke = stroke_of([earlier, later], 0, 100, 200)
    assert stroke is not None
    assert (stroke.y, stroke.x) == (104, 208)
    assert stroke.mask.tolist() == [[True, True], [True, False]]
    assert stroke.ids.tolist() == [[5, 9], [9, 0]]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_waiting_stroke_shows_at_every_level_as_it_will_be(level: int) -> None:
    mask = np.zeros((6, 5), bool)
    mask[1:5, 2:4] = True
    stroke = Paint(7, 9, np.full((6, 5), 3, np.uint32), mask, 2)
    whole = np.zeros((64, 64), np.uint32)
    rows, cols = np.nonzero(mask)
    for row, col in zip((rows + 7) * 2, (cols + 9) * 2, strict=True):
        whole[row : row + 2, col : col + 2] = 3
    shown = np.zeros((20, 20), np.uint32)
    lay_over(shown, stroke, level, 2, 3)
    step = 2**level
    expected = whole[::step, ::step][2:22, 3:23]
    assert (shown[: expected.shape[0], : expected.shape[1]] == expected).all()


# -- the window -----------------------------------------------------------------------------------


def shown(stage: Any) -> tuple[Any, Any]:
    assert stage.edits.layer is not None
    assert stage.edits.place is not None
    return stage.edits.layer, stage.edits.place


def test_a_brush_stroke_is_one_edit_at_the_right_place(stage: Any, wait: Wait) -> None:
    stage.look(600, 800, 1.0)
    stage.edits.paint()
    stage.edits.layer.brush_size = 30
    stage.drag([(600, 700), (600, 800), (600, 900)])
    assert [step.text for step in stage.store.history()] == ["paint"]
    (row,) = stage.store.objects.values()
    assert (row.class_id, row.how) == (1, "brush")
    y0, x0, y1, x1 = row.box
    assert (y0, x0, y1, x1) == pytest.approx((585, 685, 615, 915), abs=3)
    assert stage.store.read(0, 600, 750, 1, 1)[0, 0] == row.id
    layer, _ = shown(stage)
    assert not layer._undo_history, "napari's own history must stay empty"
    stage.press("Control+Z")
    wait(lambda: not stage.store.objects)
    wait(lambda: not layer.data.any())
    stage.press("Control+Shift+Z")
    wait(lambda: bool(stage.store.objects))
    wait(lambda: bool(layer.data.any()))


def test_the_window_lies_on_the_slide_at_every_zoom(stage: Any) -> None:
    ids = np.full((240, 240), 7, np.uint32)
    stage.store.commit(stage.store.paint_edit(480, 680, ids, None, "square"))
    for downsample in (0.5, 1.0, 2.7, 5.0):
        stage.look(600, 800, downsample)
        layer, place = shown(stage)
        assert 2.0**place.level == pytest.approx(max(downsample, 1), rel=0.5)
        for y, x, inside in ((490, 690, True), (710, 910, True), (470, 690, False)):
            world = (np.array((y, x)) - 0.5) * stage.scale
            value = layer.get_value(tuple(world), world=True) or 0
            assert object_of(value) == (7 if inside else 0)


def test_painting_far_out_is_written_behind_and_lies_right(stage: Any, wait: Wait) -> None:
    stage.look(1250, 2000, 4.0)
    stage.edits.paint()
    _, place = shown(stage)
    assert place.level > 0
    stage.edits.layer.brush_size = 40
    stage.drag([(1000, 800), (1000, 2000), (1000, 3200)])
    wait(lambda: bool(stage.store.objects))
    (row,) = stage.store.objects.values()
    assert row.box[1] == pytest.approx(800 - 80, abs=20)
    assert row.box[3] == pytest.approx(3200 + 80, abs=20)
    assert stage.store.read(0, 1000, 2500, 1, 1)[0, 0] == row.id


def test_the_window_follows_the_camera_when_it_rests(stage: Any, wait: Wait) -> None:
    stage.look(600, 800, 1.0)
    stage.edits.paint()
    ids = np.full((100, 100), 9, np.uint32)
    stage.store.commit(stage.store.paint_edit(2200, 3500, ids, None, "far"))
    layer, place = shown(stage)
    assert not (decode(layer.data) == 9).any()
    stage.viewer.scene.camera.center = (0, 2250 * stage.scale, 3550 * stage.scale)
    wait(lambda: bool((decode(layer.data) == 9).any()))
    assert stage.edits.place != place


def test_the_mask_goes_along_with_a_pan_that_does_not_rest(stage: Any) -> None:
    stage.look(600, 800, 0.5)
    stage.edits.paint()
    ids = np.full((200, 3000), 9, np.uint32)
    stage.store.commit(stage.store.paint_edit(500, 500, ids, None, "stripe"))
    _, place = shown(stage)
    stage.edits._timer.setInterval(60_000)  # the camera never rests
    column, end = 800.0, time.monotonic() + 20
    while stage.edits.place == place and time.monotonic() < end:
        column = min(column + 20, 3000)
        stage.viewer.scene.camera.center = (0, 600 * stage.scale, column * stage.scale)
        QTest.qWait(10)
        column += 0.01  # a camera that is told the same place again has not moved
    assert stage.edits.place != place
    layer, place = shown(stage)
    assert (decode(layer.data) == 9).any()


def test_a_stroke_made_while_the_window_is_read_stays_on_screen(
    stage: Any, monkeypatch: pytest.MonkeyPatch, wait: Wait
) -> None:
    stage.look(600, 800, 1.0)
    stage.edits.paint()
    layer, _ = shown(stage)
    go_on, read = threading.Event(), type(stage.store).read

    def slow(*arguments: Any) -> Any:
        found = read(*arguments)
        if threading.current_thread().name.startswith("edit-window"):
            go_on.wait(20)
        return found

    monkeypatch.setattr(type(stage.store), "read", slow)
    stage.edits._refill_behind()
    stage.drag([(600, 700), (600, 900)])
    assert layer.data.any()
    go_on.set()
    for _ in range(20):
        QTest.qWait(20)
        assert layer.data.any()
    wait(lambda: not stage.edits._filler.busy)
    assert layer.data.any()


def test_an_empty_layer_is_not_drawn_until_it_is_taken_in_hand(stage: Any, wait: Wait) -> None:
    assert not stage.edits.layer.visible
    stage.viewer.layers.selection.active = stage.edits.layer
    assert stage.edits.layer.visible
    assert stage.edits.place is not None


def test_the_eraser_and_a_second_stroke_keep_to_their_object(stage: Any) -> None:
    stage.look(600, 800, 1.0)
    stage.edits.paint()
    stage.edits.layer.brush_size = 40
    stage.drag([(600, 700), (600, 900)])
    stage.drag([(700, 700), (700, 900)])
    (row,) = stage.store.objects.values()
    area = row.area
    stage.press("M")
    stage.drag([(500, 700), (500, 900)])
    assert len(stage.store.objects) == 2
    stage.edits.erase()
    stage.drag([(600, 790), (600, 810)])
    assert stage.store.objects[row.id].area < area
    assert stage.store.read(0, 600, 800, 1, 1)[0, 0] == 0


def test_digits_choose_the_class_of_the_next_object(stage: Any) -> None:
    stage.look(600, 800, 1.0)
    stage.edits.paint()
    stage.press("2")
    assert str(stage.edits.layer.mode) == "paint", "napari's own digits must not take over"
    stage.drag([(600, 700), (600, 900)])
    (row,) = stage.store.objects.values()
    assert row.class_id == 2


def test_a_polygon_survives_a_change_elsewhere(stage: Any, qtbot: Any) -> None:
    stage.look(600, 800, 1.0)
    stage.edits._mode("polygon")
    for place in ((500, 700), (500, 900), (700, 900), (700, 700)):
        stage.click(*place)
    stage.viewer.scene.camera.center = (0, 620 * stage.scale, 830 * stage.scale)
    qtbot.wait(300)
    stage.press("Return")
    assert stage.store.objects
    (row,) = stage.store.objects.values()
    assert row.box == pytest.approx((500, 700, 700, 900), abs=4)
    assert [step.text for step in stage.store.history()] == ["polygon"]


def test_filling_and_picking(stage: Any) -> None:
    stage.look(600, 800, 1.0)
    stage.store.commit(
        stage.store.paint_edit(550, 750, np.full((100, 100), 5, np.uint32), None, "square")
    )
    stage.edits.refill()
    stage.edits._mode("pick")
    stage.click(600, 800)
    assert stage.edits.object_id == 5
    stage.press("M")
    new = stage.edits.object_id
    assert new not in (0, 5)
    stage.edits._mode("fill")
    stage.click(600, 800)
    assert set(stage.store.objects) >= {new}
    assert stage.store.objects[new].area == 100 * 100


def test_what_cannot_be_written_stays_on_screen_and_is_tried_again(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(
        "napari_pathfm.gui.notify.fail", lambda what, error: told.append(str(error))
    )
    stage.look(600, 800, 1.0)
    stage.edits.paint()
    stage.edits.layer.brush_size = 40

    def full(*_: object) -> None:
        raise ProjectError("The disk is full: free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(type(stage.store), "commit_job", full)
        stage.drag([(600, 700), (600, 900)])
    assert told == ["The disk is full: free some space."]
    assert not stage.store.objects
    stage.look(650, 850, 1.0)
    layer, _ = shown(stage)
    assert layer.data.any(), "the stroke must survive a refill"
    stage.drag([(700, 700), (700, 900)])
    assert len(stage.store.history()) == 2
    assert stage.store.read(0, 600, 800, 1, 1)[0, 0]


def test_undo_takes_back_a_stroke_that_was_never_written(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_pathfm.gui.notify.fail", lambda *_: None)
    stage.look(600, 800, 1.0)
    stage.edits.paint()

    def full(*_: object) -> None:
        raise ProjectError("The disk is full: free some space.")

    monkeypatch.setattr(type(stage.store), "commit_job", full)
    stage.drag([(600, 700), (600, 900)])
    layer, _ = shown(stage)
    assert layer.data.any()
    assert stage.edits.history.undo_text()
    stage.press("Control+Z")
    assert not layer.data.any()
    assert not stage.edits.history.undo_text()


def test_another_object_is_shown_and_pointed_out(stage: Any) -> None:
    stage.store.commit(
        stage.store.paint_edit(2000, 3000, np.full((60, 60), 4, np.uint32), None, "square")
    )
    stage.edits.show_object(4)
    layer, _ = shown(stage)
    assert (layer.data == code_of(4, 999)).any()
    assert stage.edits.object_id == 4
    center = np.array(stage.viewer.scene.camera.center[-2:]) / stage.scale
    assert center == pytest.approx((2030, 3030), abs=2)
    assert stage.viewer.scene.camera.zoom * stage.scale < CLOSEST


def test_a_small_object_is_not_gone_to_closer_than_its_pixels_are_worth(stage: Any) -> None:
    stage.store.commit(
        stage.store.paint_edit(2000, 3000, np.full((8, 8), 4, np.uint32), None, "speck")
    )
    stage.edits.show_object(4)
    assert stage.viewer.scene.camera.zoom * stage.scale == pytest.approx(CLOSEST)


def test_a_far_stroke_is_kept_before_it_is_written_and_forgotten_with_it(
    stage: Any, monkeypatch: pytest.MonkeyPatch, wait: Wait
) -> None:
    monkeypatch.setattr("napari_pathfm.gui.notify.fail", lambda *_: None)
    stage.look(1250, 2000, 4.0)
    stage.edits.paint()
    stage.edits.layer.brush_size = 500

    def full(*_: object) -> None:
        raise ProjectError("The disk is full: free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(type(stage.store), "commit_job", full)
        stage.drag([(1000, 800), (1000, 2000), (1000, 3200)])
    ((_, kept),) = stage.store._strokes.all()
    assert kept.paint.factor == 2**stage.edits.place.level
    assert kept.class_id == 1
    stage.press("Control+Z")
    wait(lambda: not stage.store._strokes.all())
    stage.drag([(1000, 800), (1000, 2000), (1000, 3200)])
    assert len(stage.store.history()) == 1
    assert not stage.store._strokes.all()


def test_a_stroke_that_waits_for_another_is_kept_meanwhile(
    stage: Any, monkeypatch: pytest.MonkeyPatch, wait: Wait
) -> None:
    stage.look(600, 800, 1.0)
    stage.edits.paint()
    go_on, commit = threading.Event(), type(stage.store).commit_job

    def slow(*arguments: Any) -> Any:
        go_on.wait(20)
        yield from commit(*arguments)

    monkeypatch.setattr(type(stage.store), "commit_job", slow)
    stage.settle = lambda: None
    stage.drag([(600, 700), (600, 900)])
    stage.drag([(700, 700), (700, 900)])
    wait(lambda: len(stage.store._strokes.all()) == 1)
    go_on.set()
    wait(lambda: len(stage.store.history()) == 2 and not stage.edits.history.busy)
    assert not stage.store._strokes.all()
