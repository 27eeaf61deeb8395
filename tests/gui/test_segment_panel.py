from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.gui.annotate import EditWindow
from napari_pathfm.gui.annotation_layers import AnnotationLayers
from napari_pathfm.gui.beside import Beside
from napari_pathfm.gui.importing import Importing
from napari_pathfm.gui.more import More
from napari_pathfm.gui.prompting import Prompting
from napari_pathfm.gui.runner import Runner
from napari_pathfm.gui.segment_panel import SegmentPanel
from napari_pathfm.session import Session

from .segmenting import draw_box, segment_panel
from .stage import DISCS, Stage

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def panel(stage: Stage, qtbot: object) -> Iterator[SegmentPanel]:
    made, prompting = segment_panel(stage, qtbot)
    yield made
    prompting.clear()


def test_it_says_why_it_cannot_work_yet(stage: Stage, panel: SegmentPanel) -> None:
    assert panel.blocked() == ""
    stage.session.annotations = None
    assert "project" in panel.blocked()
    stage.session.show_slide(None)
    assert "slide" in panel.blocked()


def test_litemedsam_from_box_to_object_with_the_buttons(
    stage: Stage, panel: SegmentPanel, wait: Wait
) -> None:
    panel.segmenter.setCurrentText("litemedsam")
    panel.prompts.box.click()
    draw_box(stage)
    wait(lambda: panel.prompts.commit.isEnabled())
    assert "score" in panel.prompts.state.text()
    assert not panel.prompts.point.isEnabled(), "litemedsam does not answer points alone"
    assert "pathfm-click" in panel.prompts.point.toolTip()
    panel.prompts.commit.click()
    wait(lambda: len(stage.store.objects) == 1)
    (row,) = stage.store.objects.values()
    assert row.area == pytest.approx(3.1416 * DISCS[0][2] ** 2, rel=0.15)
    wait(lambda: "commit" in panel.undo_button.text())
    assert panel.undo_button.isEnabled()
    panel.undo_button.click()
    wait(lambda: panel.redo_button.isEnabled())
    assert not stage.store.objects
    panel.redo_button.click()
    wait(lambda: len(stage.store.objects) == 1)


def test_classes_are_added_renamed_recoloured_and_chosen(
    stage: Stage, panel: SegmentPanel, wait: Wait
) -> None:
    classes, session = panel.classes, stage.session
    assert [classes.list.item(i).text() for i in range(2)] == ["tumor", "stroma"]
    classes.add("fat", "#e69f00")
    wait(lambda: session.classes[-1] == AnnotationClass(3, "fat", "#e69f00"))
    wait(lambda: stage.edits.active.id == 3)
    classes.rename(3, "adipose")
    wait(lambda: session.classes[-1].name == "adipose")
    classes.rename(3, "tumor")
    stage.settle()
    assert session.classes[-1].name == "adipose", "names stay apart"
    classes.recolor(3, "#112233")
    wait(lambda: session.classes[-1].color == "#112233")
    stage.press("1")
    assert classes.list.currentRow() == 0
    classes.list.setCurrentRow(1)
    assert stage.edits.active.id == 2
    texts = [step.text for step in stage.store.history()]
    assert texts == ["add class fat", "rename class fat to adipose", "colour of class adipose"]
    stage.press("Control+Z")
    wait(lambda: session.classes[-1].color == "#e69f00")
    stage.press("Control+Z")
    wait(lambda: session.classes[-1].name == "fat")


def test_keys_stand_on_the_buttons(panel: SegmentPanel) -> None:
    texts = [
        button.text()
        for button in (panel.prompts.segment, panel.prompts.commit, panel.prompts.clear)
    ]
    assert texts == ["Segment [S]", "Commit [C]", "Clear [Shift+C]"]
    assert panel.prompts.next.text() == "Next [N]"
    assert "[T]" in panel.prompts.sign.text()


def test_a_window_without_a_slide_has_no_layers_of_ours(
    make_napari_viewer: Callable[[], object], qtbot: object
) -> None:
    viewer, session, runner = make_napari_viewer(), Session(), Runner()
    edits = EditWindow(viewer, session, runner)
    prompting = Prompting(viewer, session, runner, edits)
    importing = Importing(viewer, session, runner, edits.history, edits.active)
    layers = AnnotationLayers(session, runner, Beside(viewer, session))
    more = More(viewer, session, runner, edits, prompting)
    panel = SegmentPanel(session, runner, prompting, edits, importing, layers, more)
    qtbot.addWidget(panel)  # type: ignore[attr-defined]
    assert panel.blocked()
    for button in (panel.prompts.box, panel.prompts.segment, panel.brush_button, panel.new_button):
        button.click()
    assert not viewer.layers


def test_nothing_of_the_panel_is_cut_off_beside_the_scroll_bar(panel: SegmentPanel) -> None:
    assert panel.minimumSizeHint().width() <= 334, "what the dock leaves of its width"
