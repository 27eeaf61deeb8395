from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.edits import ObjectRow
from napari_pathfm.gui.label_codes import code_of
from napari_pathfm.gui.layer_switch import LayerSwitch
from napari_pathfm.io.layer_names import unfinished
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide

from .stage import Stage
from .window import Window

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def switch(stage: Stage, qtbot: object) -> Iterator[LayerSwitch]:
    made = LayerSwitch(stage.session, stage.masks)
    qtbot.addWidget(made)  # type: ignore[attr-defined]
    stage.masks._on_annotations()
    yield made
    stage.settle()


def square(layer: AnnotationLayer, number: int, class_id: int) -> None:
    ids = np.full((80, 80), number, np.uint32)
    rows = {number: ObjectRow(number, class_id)}
    layer.commit(layer.paint_edit(600, 800, ids, None, "brush", rows=rows))


def test_a_new_layer_is_painted_on_and_has_its_own_undo(
    stage: Stage, switch: LayerSwitch, wait: Wait
) -> None:
    stage.look(640, 840)
    square(stage.store, 1, 1)
    switch.add("nuclei")
    wait(lambda: stage.masks.active == "nuclei")
    assert [switch.box.itemText(i) for i in range(switch.box.count())] == ["regions", "nuclei"]
    assert switch.box.currentText() == "nuclei"
    stage.look(640, 840)
    stage.edits.paint()
    stage.drag([(700, 900), (700, 950)])
    nuclei = stage.session.annotations
    assert nuclei is not None
    assert len(nuclei.objects) == len(stage.store.objects) == 1
    stage.press("Control+Z")
    wait(lambda: not nuclei.objects)
    assert len(stage.store.objects) == 1, "the other layer's edits are its own"
    switch.box.textActivated.emit("regions")
    wait(lambda: stage.session.annotations is stage.store)
    assert stage.edits.history.undo_text() == "brush"


def test_a_layer_gets_another_name_and_is_painted_on(
    stage: Stage, switch: LayerSwitch, wait: Wait
) -> None:
    stage.look(640, 840)
    square(stage.store, 1, 1)
    stage.masks.rename("glands")
    wait(lambda: switch.box.currentText() == "glands")
    stage.edits.paint()
    stage.drag([(700, 900), (700, 950)])
    wait(lambda: stage.store.objects[1].area > 6400)
    stage.press("Control+Z")
    wait(lambda: stage.store.objects[1].area == 6400)
    assert [switch.box.itemText(i) for i in range(switch.box.count())] == ["glands"]


def test_another_layer_is_seen_as_outlines_and_follows(
    stage: Stage, switch: LayerSwitch, wait: Wait
) -> None:
    stage.look(640, 840)
    square(stage.store, 1, 1)
    switch.add("nuclei")
    wait(lambda: stage.masks.active == "nuclei")
    _, _, action = switch.menu.actions()  # after “Rename…” and a heading
    assert (action.text(), action.isChecked()) == ("regions", False)
    action.trigger()
    wait(lambda: stage.masks.beside == ("regions",))
    outlines = stage.viewer.layers["regions (beside)"]
    assert outlines.contour > 0
    assert not outlines.editable
    wait(lambda: (outlines.data == code_of(1, 1)).any())
    for (y, x), inside in (((610, 810), True), ((670, 870), True), ((590, 810), False)):
        value = outlines.get_value(tuple((np.array((y, x)) - 0.5) * stage.scale), world=True)
        assert bool(value) is inside
    layers = stage.viewer.layers
    assert layers.selection.active is not outlines
    stage.store.commit(stage.store.class_edit([1], 2))
    wait(lambda: (outlines.data == code_of(1, 2)).any())
    stage.viewer.scene.camera.center = (0, 2000 * stage.scale, 3000 * stage.scale)
    wait(lambda: not outlines.data.any())
    switch.box.textActivated.emit("regions")
    wait(lambda: outlines not in layers)  # it is the one that is edited now
    assert stage.masks.beside == ()
    switch.box.textActivated.emit("nuclei")
    wait(lambda: stage.masks.beside == ("regions",))
    layers.remove("regions (beside)")
    assert stage.masks.beside == ()
    assert not switch.menu.actions()[2].isChecked()


def test_the_layer_of_a_slide_is_remembered(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    switch, place = window.dock.segment.layers, window.place
    assert switch.box.currentText() == "regions"
    switch.add("nuclei")
    window.driver.wait(lambda: place.masks.active == "nuclei", "the new layer", 20)
    switch.add("no/name")
    window.heard("cannot be the name")
    place.open_project(tmp_path / "other")
    assert place.masks.active == "regions"
    place.open_project(tmp_path / "project")
    assert place.masks.active == "nuclei"
    assert switch.box.currentText() == "nuclei"
    assert switch.box.count() == 2


def test_what_a_kill_has_interrupted_is_finished_beside_the_window(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    with Project.open(tmp_path / "project") as project, open_slide(synthetic) as slide:
        project.add_slide(slide)
        layer = AnnotationLayer.open(project, slide.id, "regions", slide.levels[0].shape)
        square(layer, 1, 1)
        square(layer, 2, 1)
        # As after a kill between the journal and the chunks.
        layer._journal.mark_applied(0)
        for file in (project.slide_store(slide.id) / "masks").rglob("c/*/*"):
            file.unlink()
        assert unfinished(project, slide.id, "regions")
    titles: list[str] = []
    window.place.runner.started.connect(lambda running: titles.append(running.title))
    window.open(synthetic, tmp_path / "project")
    assert "Opening the layer regions" in titles
    opened = window.session.annotations
    assert opened is not None
    assert set(opened.objects) == {2}
    assert (opened.read(0, 600, 800, 80, 80) == 2).all()
    assert opened.read(1, 300, 400, 40, 40).all()
