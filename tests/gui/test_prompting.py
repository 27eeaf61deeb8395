from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pathfm.analysis import crop_store
from napari_pathfm.core.edits import Edit
from napari_pathfm.core.prompts import Prompts
from napari_pathfm.gui.prompting import Prompting
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.models import catalog
from napari_pathfm.models.base import ImageEmbedding, ModelError, Segmentation

from .stage import DISCS, Stage

Wait = Callable[[Callable[[], bool]], None]


class DarkSegmenter:
    """Answers with the dark disc under the prompts, exactly."""

    name, device, input_px = "dark", "cpu", 256
    encoded = 0  # by all of them
    answers = frozenset({"points", "box"})
    weights_id = ""

    def encode(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        DarkSegmenter.encoded += 1
        return ImageEmbedding(self.name, rgb.shape[:2], rgb)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        from scipy.ndimage import label

        parts, _ = label(embedding.features[..., 0] < 150)
        asked = prompts[0]
        if asked.box is not None:
            place = asked.box.reshape(2, 2).mean(0)
        else:
            place = asked.points[asked.positive][0]
        number = parts[int(place[0]), int(place[1])]
        mask = (parts == number) & (number > 0)
        for point in asked.points[~asked.positive]:
            mask[: int(point[0])] = False
        return Segmentation(
            np.stack([mask, ~mask, mask])[None],
            np.array([[0.9, 0.5, 0.1]], np.float32),
            np.zeros((1, 3, 256, 256), np.float32),
        )


@pytest.fixture
def prompting(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prompting]:
    monkeypatch.setattr(catalog, "get_segmenter", lambda name, weights=None: DarkSegmenter())
    made = Prompting(stage.viewer, stage.session, stage.runner, stage.edits)
    stage.look(600, 1100, 1.5)
    yield made
    made.clear()


def disc_iou(stage: Stage, number: int, disc: tuple[float, float, float]) -> float:
    cy, cx, radius = disc
    drawn = stage.store.read(0, 0, 0, 2500, 4000) == number
    rows, cols = np.arange(2500) + 0.5, np.arange(4000) + 0.5
    truth = (rows[:, None] - cy) ** 2 + (cols[None] - cx) ** 2 < radius**2
    return float((drawn & truth).sum() / (drawn | truth).sum())


def draw_box(stage: Stage, disc: tuple[float, float, float]) -> None:
    y, x, radius = disc
    reach = radius + 20
    stage.drag([(y - reach, x - reach), (y, x), (y + reach, x + reach)])


def test_a_box_is_answered_at_once_and_committed_by_its_key(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    prompting.box_mode()
    assert prompting.work.layers is not None
    draw_box(stage, DISCS[0])
    wait(lambda: prompting.work.candidate is not None)
    assert prompting.work.layers.scratch.visible
    assert not stage.store.objects, "the object in work is not yet one of the layer"
    y, x, radius = DISCS[0]
    seen = prompting.work.layers.scratch
    assert seen.get_value((y * stage.scale, x * stage.scale), world=True) == 1
    assert not seen.get_value((y * stage.scale, (x + radius + 9) * stage.scale), world=True)
    stage.press("2")
    stage.press("C")
    wait(lambda: len(stage.store.objects) == 1)
    (row,) = stage.store.objects.values()
    assert (row.class_id, row.how, row.model, row.author) == (2, "prompt", "dark", "ada")
    assert disc_iou(stage, row.id, DISCS[0]) > 0.95
    layers = prompting.work.layers
    assert prompting.work.candidate is None
    assert not len(layers.boxes.data)
    wait(lambda: not layers.scratch.visible)
    assert str(prompting.work.layers.boxes.mode) == "add_rectangle", "the next box at once"
    draw_box(stage, DISCS[1])
    wait(lambda: prompting.work.candidate is not None)
    stage.press("N")
    wait(lambda: len(stage.store.objects) == 2)
    stage.press("Control+Z")
    wait(lambda: len(stage.store.objects) == 1)


def test_the_first_answer_is_shown_while_a_closer_one_is_made_and_can_be_kept(
    stage: Stage, prompting: Prompting, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    closer = threading.Event()
    encode = DarkSegmenter.encode

    def patient(self: DarkSegmenter, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        if DarkSegmenter.encoded > before:  # the second look
            assert closer.wait(60)
        return encode(self, rgb)

    before = DarkSegmenter.encoded
    monkeypatch.setattr(DarkSegmenter, "encode", patient)
    stage.look(*DISCS[0][:2], 8.0)  # from so far that it is tiny
    prompting.point_mode()
    y, x, _ = DISCS[0]
    stage.click(y, x)
    wait(lambda: prompting.work.candidate is not None)
    assert stage.runner.busy("segment")
    rough = prompting.work.candidate
    layers = prompting.work.layers
    assert rough is not None
    assert layers is not None
    stage.edits.history.hold(True)
    stage.press("C")
    closer.set()
    wait(lambda: not stage.runner.running)
    assert layers.scratch.visible, "until it is written"
    stage.edits.history.hold(False)
    wait(lambda: len(stage.store.objects) == 1)
    (row,) = stage.store.objects.values()
    assert row.area == rough.level0_mask()[2].sum(), "what was seen is kept"
    wait(lambda: not layers.scratch.visible)
    stage.press("Control+Z")
    wait(lambda: not stage.store.objects)
    stage.click(y, x)
    wait(lambda: prompting.work.candidate is not None and not stage.runner.busy("segment"))
    assert prompting.work.candidate is not None
    assert prompting.work.candidate.downsample < rough.downsample


def test_the_next_click_is_of_the_next_object_though_the_last_is_not_written_yet(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    prompting.point_mode()
    stage.click(*DISCS[0][:2])
    wait(lambda: prompting.work.candidate is not None)
    stage.edits.history.hold(True)
    stage.press("N")
    stage.click(*DISCS[1][:2])
    wait(lambda: prompting.work.candidate is not None)
    assert prompting.work.candidate is not None
    assert len(prompting.work.candidate.prompts.points) == 1
    stage.edits.history.hold(False)
    wait(lambda: len(stage.store.objects) == 1 and not stage.edits.history.busy)
    assert prompting.work.layers is not None
    assert prompting.work.layers.scratch.visible, "what is in work now"
    stage.press("N")
    wait(lambda: len(stage.store.objects) == 2)
    for number, disc in zip(stage.store.objects, DISCS[:2], strict=True):
        assert disc_iou(stage, number, disc) > 0.95


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """What the user is told while nothing can be written, and a way to end that."""

    def full(self: AnnotationLayer, edit: Edit) -> None:
        raise OSError("No space left on device: free some.")

    told: list[str] = []
    monkeypatch.setattr("napari_pathfm.gui.notify.fail", lambda what, e: told.append(str(e)))
    with monkeypatch.context() as patch:
        patch.setattr(AnnotationLayer, "commit_job", full)
        yield told, patch.undo


def test_what_could_not_be_written_is_in_work_again(
    stage: Stage, prompting: Prompting, wait: Wait, full_disk: tuple[list[str], Callable[[], None]]
) -> None:
    told, freed = full_disk
    prompting.box_mode()
    draw_box(stage, DISCS[0])
    wait(lambda: prompting.work.candidate is not None)
    answered = prompting.work.candidate
    stage.press("C")
    wait(lambda: len(told) == 1)
    assert prompting.work.candidate is answered
    assert prompting.work.layers is not None
    assert prompting.work.layers.prompts().box is not None
    assert prompting.work.layers.scratch.visible
    assert str(prompting.work.layers.boxes.mode) == "add_rectangle", "the tool is as it was"
    freed()
    stage.press("C")
    wait(lambda: len(stage.store.objects) == 1)


def test_what_could_not_be_written_comes_back_after_what_was_begun_meanwhile(
    stage: Stage, prompting: Prompting, wait: Wait, full_disk: tuple[list[str], Callable[[], None]]
) -> None:
    told, freed = full_disk
    prompting.point_mode()
    stage.click(*DISCS[0][:2])
    wait(lambda: prompting.work.candidate is not None)
    first = prompting.work.candidate
    stage.edits.history.hold(True)
    stage.press("N")
    stage.click(*DISCS[1][:2])
    wait(lambda: prompting.work.candidate is not None)
    second = prompting.work.candidate
    stage.edits.history.hold(False)
    wait(lambda: len(told) == 1)
    assert prompting.work.candidate is second
    freed()
    prompting.clear()
    assert prompting.work.candidate is first
    stage.press("C")
    wait(lambda: len(stage.store.objects) == 1)
    assert disc_iou(stage, next(iter(stage.store.objects)), DISCS[0]) > 0.95
    prompting.clear()
    assert prompting.work.candidate is None


def test_while_a_stroke_cannot_be_written_the_object_stays_in_work(
    stage: Stage, prompting: Prompting, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari_pathfm.gui.notify.warn", told.append)
    prompting.point_mode()
    stage.click(*DISCS[0][:2])
    wait(lambda: prompting.work.candidate is not None)
    answered = prompting.work.candidate
    stage.edits.history.trouble = "No space left on device"
    stage.press("N")
    assert prompting.work.candidate is answered
    assert "No space left on device" in told[0]
    stage.edits.history.trouble = ""
    stage.press("N")
    wait(lambda: len(stage.store.objects) == 1)


def test_points_have_signs_that_differ_in_shape_and_colour(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    y, x, _ = DISCS[1]
    prompting.point_mode()
    assert prompting.work.layers is not None
    stage.click(y, x)
    wait(lambda: prompting.work.candidate is not None)
    assert prompting.work.candidate is not None
    whole = prompting.work.candidate.mask.sum() * prompting.work.candidate.downsample**2
    stage.press("T")
    assert not prompting.positive
    stage.click(y, x + 30)
    wait(lambda: len(prompting.work.candidate.prompts.points) == 2)  # type: ignore[union-attr]
    assert prompting.work.candidate.prompts.positive.tolist() == [True, False]
    assert (
        prompting.work.candidate.mask.sum() * prompting.work.candidate.downsample**2 < 0.7 * whole
    )
    np.testing.assert_allclose(
        prompting.work.candidate.prompts.points, [[y, x], [y, x + 30]], atol=2
    )
    points = prompting.work.layers.points
    assert [str(symbol) for symbol in points.symbol] == ["disc", "x"]
    assert points.border_color[0].tolist() == [0, 1, 0, 1]
    assert points.border_color[1].tolist() == [1, 0, 0, 1]
    assert points.face_color[:, 3].tolist() == [0, 0]
    stage.press("Shift+C")
    assert prompting.work.candidate is None
    assert not len(points.data)
    assert not stage.store.objects


def test_keys_of_ours_win_on_every_layer_of_ours(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    stage.viewer.layers.selection.active = stage.image
    stage.press("B")
    layers = prompting.work.layers
    assert layers is not None
    for layer in (stage.edits.layer, layers.boxes, layers.points, layers.scratch):
        stage.viewer.layers.selection.active = layer
        before = prompting.positive
        stage.press("T")
        assert prompting.positive != before
        stage.press("B")
        assert stage.viewer.layers.selection.active is layers.boxes
        assert str(layers.boxes.mode) == "add_rectangle"
    stage.viewer.layers.selection.active = stage.image
    stage.press("P")
    assert stage.viewer.layers.selection.active is layers.points


def test_a_new_box_supersedes_and_a_click_without_drag_is_no_box(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    prompting.box_mode()
    assert prompting.work.layers is not None
    draw_box(stage, DISCS[0])
    draw_box(stage, DISCS[1])
    wait(
        lambda: (
            prompting.work.candidate is not None
            and prompting.work.candidate.prompts.extent[1] > 1200
        )
    )
    assert len(prompting.work.layers.boxes.data) == 1
    prompting.clear()
    stage.click(300, 1000)
    layers = prompting.work.layers
    wait(lambda: not layers.prompts())


def test_a_model_that_cannot_be_loaded_is_told_and_the_prompts_stay(
    stage: Stage, prompting: Prompting, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def missing(name: str, weights: Any = None) -> None:
        raise ModelError("There are no weights: download them.")

    monkeypatch.setattr(catalog, "get_segmenter", missing)
    monkeypatch.setattr(
        "napari_pathfm.gui.notify.fail", lambda what, error: told.append(str(error))
    )
    prompting.box_mode()
    draw_box(stage, DISCS[0])
    wait(lambda: len(told) >= 1)
    assert set(told) == {"There are no weights: download them."}
    assert prompting.work.layers is not None
    assert prompting.work.layers.prompts()


def test_leaving_the_slide_takes_the_layers_away(stage: Stage, prompting: Prompting) -> None:
    prompting.box_mode()
    assert prompting.work.layers is not None
    stage.session.show_slide(None)
    assert [layer.name for layer in stage.viewer.layers] == [stage.image.name]
    prompting.segment()
    prompting.commit()
    assert prompting.work.layers is None


def test_the_mask_under_the_pointer_is_shown_before_the_click(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    prompting.point_mode()
    layers = prompting.work.layers
    assert layers is not None
    wait(lambda: not stage.runner.running)  # the segmenter is there
    y, x, radius = DISCS[0]
    stage.hover(y, x)
    wait(lambda: layers.scratch.visible)
    assert prompting.work.candidate is None, "nothing is in work yet"
    assert prompting.encoded_here
    assert not len(layers.points.data)
    assert layers.scratch.get_value((y * stage.scale, x * stage.scale), world=True) == 1
    faint = layers.scratch.opacity
    stage.press("C")
    assert not stage.store.objects, "what is not in work is not committed"
    stage.hover(y, x + radius + 40)  # beside it
    wait(lambda: not layers.scratch.get_value((y * stage.scale, x * stage.scale), world=True))
    stage.click(y, x)
    wait(lambda: prompting.work.candidate is not None)
    assert layers.scratch.opacity > faint
    stage.hover(y, x + radius + 40)
    wait(lambda: layers.scratch.opacity == faint)
    stage.press("B")  # no point any more: what is in work is shown again
    wait(lambda: layers.scratch.opacity > faint)
    assert not prompting.encoded_here
    assert layers.scratch.get_value((y * stage.scale, x * stage.scale), world=True) == 1


def test_a_key_shows_the_next_best_answer(stage: Stage, prompting: Prompting, wait: Wait) -> None:
    prompting.box_mode()
    draw_box(stage, DISCS[0])
    wait(lambda: prompting.work.candidate is not None)
    assert prompting.work.candidate is not None
    first = prompting.work.candidate.mask
    stage.press("O")
    assert prompting.work.candidate.choice == 1
    assert (prompting.work.candidate.mask != first).any()
    stage.press("O")
    stage.press("O")
    assert prompting.work.candidate.choice == 0


def test_what_is_in_work_is_added_to_an_object_and_taken_from_it(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    y, x, radius = DISCS[0]
    prompting.box_mode()
    draw_box(stage, DISCS[0])
    wait(lambda: prompting.work.candidate is not None)
    stage.press("A")
    wait(lambda: not stage.edits.history.busy)
    assert prompting.work.candidate is not None, "there is no object below"
    top, left = int(y - radius), int(x)
    half = np.full((int(2 * radius), int(radius) + 60), 7, np.uint32)
    stage.store.commit(stage.store.paint_edit(top, left, half, None, "half of it and more"))
    before = int((stage.store.read(0, 0, 0, 2500, 4000) == 7).sum())
    stage.press("A")
    wait(lambda: not stage.edits.history.busy)
    after = int((stage.store.read(0, 0, 0, 2500, 4000) == 7).sum())
    assert after - before == pytest.approx(np.pi * radius**2 / 2, rel=0.05)
    assert prompting.work.size is None, "a piece says nothing of how large objects are"
    stage.edits.choose_object(7)
    stage.look(600, 1100, 1.5)
    prompting.box_mode()
    draw_box(stage, DISCS[0])
    wait(lambda: prompting.work.candidate is not None)
    stage.press("X")
    wait(lambda: not stage.edits.history.busy)
    left_over = stage.store.read(0, 0, 0, 2500, 4000) == 7
    assert not left_over[int(y) - 5 : int(y) + 5, int(x - radius / 2) : int(x + radius / 2)].any()
    assert left_over.any()
    assert stage.store.objects[7].area == left_over.sum()


def test_a_scribble_is_points_along_it(stage: Stage, prompting: Prompting, wait: Wait) -> None:
    y, x, radius = DISCS[0]
    prompting.scribble_mode()
    assert prompting.work.layers is not None
    stage.drag([(y, x - 90 + 20 * step) for step in range(10)])
    wait(lambda: prompting.work.candidate is not None)
    assert prompting.work.candidate is not None
    points = prompting.work.candidate.prompts.points
    assert 2 <= len(points) <= 4
    assert prompting.work.candidate.prompts.positive.all()
    assert prompting.work.candidate.prompts.box is None
    np.testing.assert_allclose(points[:, 0], y, atol=4)
    assert x - 95 < points[:, 1].min() < points[:, 1].max() < x + 95
    assert not len(prompting.work.layers.boxes.data), "the line has become points"
    stage.press("T")
    stage.drag([(y - radius, x - 60 + 20 * step) for step in range(7)])
    wait(lambda: not prompting.work.candidate.prompts.positive.all())  # type: ignore[union-attr]


def test_every_click_is_an_object_at_once(stage: Stage, prompting: Prompting, wait: Wait) -> None:
    prompting.point_mode()
    stage.press("Q")
    assert prompting.at_once
    for y, x, _ in DISCS[:2]:
        stage.click(y, x)
    wait(lambda: len(stage.store.objects) == 2)
    for disc in DISCS[:2]:  # in either order
        assert max(disc_iou(stage, number, disc) for number in stage.store.objects) > 0.95
    assert prompting.work.layers is not None
    assert not len(prompting.work.layers.points.data)
    stage.press("Control+Z")
    wait(lambda: len(stage.store.objects) == 1)
    stage.press("Q")
    stage.click(*DISCS[1][:2])
    wait(lambda: prompting.work.candidate is not None)
    assert len(stage.store.objects) == 1, "one more key again"


def test_clicks_that_the_window_gets_all_at_once_are_objects_of_their_own(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    prompting.point_mode()
    stage.press("Q")
    wait(lambda: not stage.runner.running)
    for y, x, _ in DISCS[:2]:  # as after something that kept it busy
        QTest.mouseClick(
            stage.canvas,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
            stage.pixel(y, x),
        )
    wait(lambda: len(stage.store.objects) == 2)
    for disc in DISCS[:2]:
        assert max(disc_iou(stage, number, disc) for number in stage.store.objects) > 0.95


def test_clicks_while_a_segmenter_is_loaded_are_objects_of_their_own(
    stage: Stage, prompting: Prompting, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly(name: str, weights: object = None) -> DarkSegmenter:
        assert go_on.wait(60)
        return DarkSegmenter()

    monkeypatch.setattr(catalog, "get_segmenter", slowly)
    prompting.point_mode()
    stage.press("Q")
    for y, x, _ in DISCS[:2]:
        stage.click(y, x)
    wait(lambda: not prompting.work.prompts())
    assert prompting.segmenter.busy
    stage.press("Escape")
    go_on.set()
    wait(lambda: not stage.runner.running)
    assert not stage.store.objects, "what was asked for has been taken back"
    go_on.clear()
    for y, x, _ in DISCS[:2]:
        stage.click(y, x)
    wait(lambda: not prompting.work.prompts())
    stage.press("Shift+C")  # nothing is in work
    go_on.set()
    wait(lambda: len(stage.store.objects) == 2)
    for disc in DISCS[:2]:
        assert max(disc_iou(stage, number, disc) for number in stage.store.objects) > 0.95


def test_what_another_layer_was_asked_for_is_not_kept(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    prompting.point_mode()
    stage.press("Q")
    stage.click(*DISCS[0][:2])
    before = stage.session.annotations
    stage.session.annotations = None
    wait(lambda: not stage.runner.running)
    stage.session.annotations = before
    assert not stage.store.objects


def test_an_object_is_segmented_again_in_its_place(
    stage: Stage, prompting: Prompting, wait: Wait
) -> None:
    y, x, _ = DISCS[0]
    number = stage.store.new_id()
    ids = np.full((200, 200), number, np.uint32)
    edit = stage.store.paint_edit(int(y) - 100, int(x) - 100, ids, None, "paint")
    stage.edits.history.commit("paint", lambda layer: edit)
    wait(lambda: len(stage.store.objects) == 1)
    stage.press("G")
    assert prompting.work.candidate is None, "no object is chosen"
    stage.edits.choose_object(number)
    stage.press("G")
    wait(lambda: prompting.work.candidate is not None)
    assert prompting.work.candidate is not None
    said = prompting.work.candidate.prompts
    assert said.box is not None
    np.testing.assert_allclose(said.box, [y - 100, x - 100, y + 100, x + 100], atol=1)
    assert said.mask is not None
    stage.press("C")
    wait(lambda: stage.store.objects[number].how == "prompt")
    assert len(stage.store.objects) == 1
    assert disc_iou(stage, number, DISCS[0]) > 0.95
    stage.press("Control+Z")
    wait(lambda: stage.store.objects[number].how == "brush")
    assert stage.store.objects[number].area == 40_000


def test_neighbours_are_kept_or_taken_from(stage: Stage, prompting: Prompting, wait: Wait) -> None:
    y, x, radius = DISCS[0]
    number = stage.store.new_id()
    ids = np.full((60, 60), number, np.uint32)
    edit = stage.store.paint_edit(int(y) - 30, int(x) - 30, ids, None, "paint")
    stage.edits.history.commit("paint", lambda layer: edit)
    wait(lambda: len(stage.store.objects) == 1)
    stage.press("V")
    assert not prompting.work.overwrite
    prompting.box_mode()
    draw_box(stage, DISCS[0])
    wait(lambda: prompting.work.candidate is not None)
    stage.press("C")
    wait(lambda: len(stage.store.objects) == 2)
    assert stage.store.objects[number].area == 3600
    stage.press("Control+Z")
    wait(lambda: len(stage.store.objects) == 1)
    stage.press("V")
    draw_box(stage, DISCS[0])
    wait(lambda: prompting.work.candidate is not None)
    stage.press("C")
    wait(lambda: number not in dict(stage.store.objects.items()))
    assert np.pi * radius**2 * 0.95 < max(row.area for row in stage.store.objects.values())


def test_what_was_encoded_in_an_earlier_session_is_not_encoded_again(
    stage: Stage, prompting: Prompting, wait: Wait, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(crop_store, "folder", lambda: tmp_path / "crops")
    monkeypatch.delenv(crop_store.OFF)
    y, x, radius = DISCS[0]

    def session() -> tuple[Prompting, int]:
        """Choose points in a new window's stead, rest on a disc, click on it and take it back."""
        made = Prompting(stage.viewer, stage.session, stage.runner, stage.edits)
        made.point_mode()
        wait(lambda: made.segmenter.ready is not None and not stage.runner.running)
        before = DarkSegmenter.encoded
        stage.hover(y, x)
        wait(lambda: made.encoded_here and not stage.runner.running)
        assert made.work.layers is not None
        assert made.work.layers.scratch.visible
        stage.click(y, x + radius / 4)
        wait(lambda: made.work.candidate is not None)
        made.cancel()
        encoded = DarkSegmenter.encoded - before
        stage.session.annotations = None  # its layers go
        stage.session.annotations = stage.store
        return made, encoded

    first, encoded = session()
    assert encoded == 1
    store = first._cache._store
    assert store is not None
    store.settle()
    _, encoded = session()
    assert not encoded
