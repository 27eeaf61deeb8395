"""An object is saved as an example, and what looks like it is found in the view: one edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from napari_pathfm.gui import example_box, notify
from napari_pathfm.gui.example_box import ExampleBox
from napari_pathfm.gui.segment_panel import SegmentPanel
from napari_pathfm.io.examples import example_names, load_examples

from .segmenting import segment_panel
from .stage import DISCS, Stage

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def panel(stage: Stage, qtbot: object) -> Iterator[SegmentPanel]:
    made, prompting = segment_panel(stage, qtbot)
    made.tabs.setCurrentIndex(1)
    yield made
    prompting.clear()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(notify, "tell", said.append)
    monkeypatch.setattr(notify, "fail", lambda what, error: said.append(f"{what}: {error}"))
    return said


def disc(number: int) -> np.ndarray:
    y, x, radius = DISCS[number]
    rows, cols = np.arange(2500) + 0.5, np.arange(4000) + 0.5
    return (rows[:, None] - y) ** 2 + (cols[None] - x) ** 2 < radius**2


def mark(stage: Stage) -> int:
    """The first disc, as if by hand; it is the chosen one."""
    number = stage.store.new_id()
    mask = disc(0)
    ids = np.full(mask.shape, number, np.uint32)
    stage.store.commit(stage.store.paint_edit(0, 0, ids, mask, "mark"))
    stage.edits.refill()
    stage.edits.choose_object(number)
    return number


def test_from_a_chosen_object_to_what_looks_like_it(
    stage: Stage, panel: SegmentPanel, told: list[str], wait: Wait
) -> None:
    box: ExampleBox = panel.examples
    number = mark(stage)
    assert not box.segment_button.isEnabled()
    assert "choose it" in box.state.text()
    box.line.setText("disc")
    box.save_button.click()
    wait(lambda: box.segment_button.isEnabled())
    assert "1 example of “disc”" in box.state.text()
    (example,) = load_examples(stage.project, "disc")
    assert (example.slide, example.mpp) == ("discs", 0.5)
    stage.look(600, 1400, 0.5)
    box.segment_button.click()
    wait(lambda: "like “disc”" in box.state.text() or bool(told))
    assert not told
    found = stage.store.read(0, 0, 0, *stage.store.shape)
    np.testing.assert_array_equal(found == number, disc(0))
    other = found[disc(1)]
    ids = np.bincount(other[other > 0])
    truth, ours = disc(1), found == ids.argmax()
    assert (truth & ours).sum() / (truth | ours).sum() > 0.8
    assert not found[disc(2)].any(), "it lies outside the view"
    wait(lambda: "segment by example" in stage.edits.history.undo_text())
    stage.press("Control+Z")
    wait(lambda: list(stage.store.objects) == [number])


def test_all_that_are_selected_become_examples(
    stage: Stage, panel: SegmentPanel, told: list[str], wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, table = panel.examples, panel.table
    mark(stage)
    second = stage.store.new_id()
    ids = np.full(disc(1).shape, second, np.uint32)
    stage.store.commit(stage.store.paint_edit(0, 0, ids, disc(1), "mark"))
    wait(lambda: "2 objects" in table.count.text())
    table.view.selectAll()
    box.line.setText("disc")
    box.save_button.click()
    wait(lambda: "2 examples of “disc”" in box.state.text())
    table.view.selectRow(0)
    stage.edits.refill()
    stage.edits.choose_object(second)
    box.save_button.click()
    wait(lambda: "3 examples of “disc”" in box.state.text())
    assert not told
    monkeypatch.setattr(example_box, "MOST", 1)
    table.view.selectAll()
    box.save_button.click()
    assert "2 objects are selected" in told[-1]


def test_what_is_missing_is_said(stage: Stage, panel: SegmentPanel, told: list[str]) -> None:
    box = panel.examples
    box.save_button.click()
    box.line.setText("disc")
    box.save_button.click()
    assert [said.split(":")[0] for said in told] == [
        "Type a name for the example first.",
        "Choose an object first",
    ]


def test_names_are_those_of_the_project_and_can_be_forgotten(
    stage: Stage, panel: SegmentPanel, told: list[str], wait: Wait
) -> None:
    box = panel.examples
    mark(stage)
    for name in ("disc", "disc", "../disc"):
        box.line.setText(name)
        box.save_button.click()
        wait(lambda: not stage.runner.running)
    wait(lambda: bool(told))
    assert "cannot be the name of an example" in told[0]
    box.line.setText("disc")
    assert "2 examples" in box.state.text()
    project, stage.session.project = stage.session.project, None
    assert box.names.count() == 0
    stage.session.project = project
    assert box.name == "disc"
    box.forget_button.click()
    assert example_names(stage.project) == []
    assert not box.forget_button.isEnabled()


def test_it_fits_into_the_dock(panel: SegmentPanel) -> None:
    assert panel.minimumSizeHint().width() <= 334, "what the dock leaves of its width"
