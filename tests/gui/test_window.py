"""The main job in a real window, by mouse and keys; and what windows go through besides."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication

from napari_pathfm.core.jobs import run
from napari_pathfm.gui.commands import annotate, open_dock, open_map, show_map
from napari_pathfm.gui.dock import PathFMDock
from napari_pathfm.gui.layers import slide_of
from napari_pathfm.gui.sharpen import keep_sharp
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide
from napari_pathfm.io.synthetic import draw

from .window import Window

CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


def test_the_main_job_from_slide_to_training_data(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    dock, place, session, driver = window.dock, window.place, window.session, window.driver
    assert dock.embed.blocked()
    assert dock.segment.blocked()
    assert dock.export.blocked()
    window.open(synthetic, tmp_path / "project")
    window.find_tiles()
    assert session.grid is not None
    assert 5 <= len(session.grid) <= 40

    dock.embed.embed_button.click()
    window.embedded()
    assert len(session.embeddings) == len(session.grid)

    open_map(window.viewer)
    dock.explore.map_button.click()
    driver.wait(lambda: session.coordinates is not None, "the map", 60)
    place.runner.cancel("map")  # the PCA is enough here
    assert len(session.coordinates) == len(session.grid)

    window.viewer.layers.selection.active = place.layers.layer(session.slide)
    y, x = session.grid.centers[3] * session.slide.mpp
    driver.drag((y, x), (y, x))
    assert session.selection.tiles.tolist() == [3]
    dock.explore.similar_button.click()
    driver.wait(lambda: session.scores is not None, "the scores", 60)
    assert session.scores.values[list(session.scores.tiles).index(3)] > 0.99
    assert "similarity" in window.viewer.layers

    dock.steps.open(dock.segment)
    store, scale = session.annotations, session.slide.mpp
    place.jump(1000, 1000, 150)
    driver.press_key("B")
    driver.drag((950 * scale, 950 * scale), (1050 * scale, 1050 * scale))
    driver.wait(lambda: place.prompting.work.candidate is not None, "the mask", 120)
    driver.press_key("2")
    driver.press_key("C")
    driver.wait(lambda: len(store.objects) == 1, "the object", 30)
    (first,) = store.objects.values()
    assert first.class_id == 2
    assert first.how == "prompt"
    assert first.area > 0
    y0, x0, y1, x1 = first.box
    assert 800 < y0 < y1 < 1200
    assert 800 < x0 < x1 < 1200

    history = place.edit_window.history
    driver.press_key("D")
    driver.drag((1150 * scale, 900 * scale), (1150 * scale, 1100 * scale))
    driver.wait(lambda: len(store.objects) == 2 and not history.busy, "the stroke", 30)
    painted = next(o for o in store.objects.values() if o.how == "brush")
    assert store.read(0, 1150, 1000, 1, 1)[0, 0] == painted.id
    driver.press_key("Z", CTRL)
    driver.wait(lambda: len(store.objects) == 1 and not history.busy, "undo", 30)
    assert store.read(0, 1150, 1000, 1, 1)[0, 0] == 0
    driver.press_key("Z", CTRL | SHIFT)
    driver.wait(lambda: len(store.objects) == 2 and not history.busy, "redo", 30)
    assert store.read(0, 1150, 1000, 1, 1)[0, 0] == painted.id

    assert not dock.export.blocked()
    dock.steps.open(dock.export)
    dock.export.export(tmp_path / "dataset")
    driver.wait(lambda: dock.export.report is not None, "the export", 60)
    dataset = json.loads((tmp_path / "dataset" / "dataset.json").read_text())
    parts = dataset["data"]
    assert sum(len(part) for part in parts.values()) == sum(dock.export.report.patches.values()) > 0
    assert not [said for said in window.messages if "failed" in said]


def test_entries_open_one_dock_and_a_closed_one_comes_back(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    viewer, session = window.viewer, window.session
    annotate(viewer)  # there is no slide yet: the user is told
    window.heard("Segment", "open a slide first")
    window.open(synthetic, tmp_path / "project")
    annotate(viewer)
    assert viewer.layers.selection.active.name == "annotations"
    assert str(viewer.layers.selection.active.mode) == "paint"
    show_map(viewer)
    show_map(viewer)
    assert sorted(viewer.window.dock_widgets) == ["PathFM (PathFM)", "PathFM map (PathFM)"]
    assert open_dock(viewer) is window.dock

    viewer.window.remove_dock_widget(window.dock)
    window.dock = None
    gc.collect()
    session.select(np.zeros(0, np.int64))
    session.set_tissue(None)
    again = open_dock(viewer)
    assert again.place is window.place
    assert session.slide is not None
    assert again.slide.facts.text().startswith("<b>synthetic")
    assert isinstance(again, PathFMDock)


def test_closing_the_window_stops_its_jobs_and_frees_the_project(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    window.find_tiles(0.5)
    window.dock.embed.embed_button.click()
    runner = window.place.runner
    window.driver.wait(
        lambda: any(job.progress.done for job in runner.running), "the first tiles", 120
    )
    threads = [job.thread for job in runner.running]
    window.viewer.close()
    window.driver.wait(lambda: window.session.project is None, "the end", 20)
    # Closing waits a few seconds for them; a loaded machine may need more.
    window.driver.wait(lambda: not any(one.is_alive() for one in threads), "the threads' end", 60)
    Project.open(tmp_path / "project").close()


def test_a_slide_that_napari_opens_is_sharp_without_the_dock_and_is_adopted_by_it(
    make_napari_viewer: Any, synthetic: Path, tmp_path: Path, wait: Any
) -> None:
    path = shutil.copy(synthetic, tmp_path / "slide.tif")
    viewer = make_napari_viewer(show=True)
    (layer,) = viewer.open(str(path), plugin="napari-pathfm")
    slide = slide_of(layer)
    viewer.scene.camera.zoom *= 8
    expected = slide.read(0, 2000, 2000, 50, 50)
    wait(lambda: np.array_equal(layer.data[0][2000:2050, 2000:2050], expected))
    focus = layer.metadata["pathfm"]["loader"]
    wait(lambda: focus.focus is not None)  # it was refreshed
    dock = open_dock(viewer)
    assert dock.place.session.slide is slide
    assert dock.place.sharpener is keep_sharp(viewer)
    dock.place.close()


def test_each_of_two_slides_is_shown_alone_and_keeps_its_own(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    place, session, layers = window.place, window.session, window.viewer.layers
    other = tmp_path / "other.tif"
    run(draw(other, (1500, 1600), seed=5))
    window.open(synthetic, tmp_path / "project")
    first = session.slide
    edit = session.annotations.paint_edit(100, 100, np.full((9, 9), 1, np.uint32), None, "one")
    session.annotations.commit(edit)
    place.open(other)
    window.driver.wait(
        lambda: session.slide is not first and session.annotations is not None, "the other", 60
    )
    second = session.slide
    window.rest()
    assert not session.annotations.objects
    window.driver.wait(lambda: not place.layers.layer(first).visible, "the first hidden", 10)
    assert place.layers.layer(second).visible

    layers.selection.active = place.layers.layer(first)
    window.driver.wait(lambda: session.annotations is not None, "the first", 30)
    assert session.slide is first
    assert len(session.annotations.objects) == 1
    window.driver.wait(lambda: not place.layers.layer(second).visible, "the other hidden", 10)
    assert place.layers.layer(first).visible

    window.viewer.open(str(other), plugin="napari-pathfm")  # a second time
    window.heard("is open already")
    assert len(session.slides) == 2

    layers.remove(place.layers.layer(first))
    window.driver.wait(lambda: session.annotations is not None, "the other", 30)
    assert session.slide is second
    window.driver.wait(lambda: place.layers.layer(second).visible, "the other shown", 10)
    layers.remove(place.layers.layer(second))
    assert session.slide is None
    assert session.annotations is None


def test_layers_of_ours_come_back_when_the_user_removes_them(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    layers, prompting = window.viewer.layers, window.place.prompting
    layers.remove(layers["annotations"])
    window.driver.wait(lambda: "annotations" in layers, "the annotations", 10)
    window.dock.segment.brush_button.click()
    assert layers.selection.active.name == "annotations"
    for name in ("prompts: points", "prompts: box", "object in work"):
        assert name not in layers, "made when first used"
        window.dock.segment.prompts.box.click()
        assert layers.selection.active.name == "prompts: box"
        layers.remove(layers[name])
        window.driver.wait(lambda: prompting.work.layers is None, "the others to go, too", 10)


def test_mpp_is_asked_for_once_and_kept(window: Window, synthetic: Path, tmp_path: Path) -> None:
    import tifffile

    rgb = open_slide(synthetic).read(0, 1000, 1000, 1024, 1024)
    path = tmp_path / "nompp.tif"
    tifffile.imwrite(path, rgb, tile=(256, 256), photometric="rgb", compression="jpeg")
    window.open(path, tmp_path / "project")
    panel = window.dock.slide
    assert window.session.slide.mpp is None
    assert not panel.ask_mpp.isHidden()
    panel.tiles_button.click()
    window.driver.wait(lambda: window.session.grid is not None, "tiles in pixels", 60)
    assert window.session.grid.side == 224
    panel.mpp.setValue(0.005)  # no size of a pixel
    window.heard("Pixel size", "between")
    panel.mpp.setValue(0.25)
    window.driver.wait(lambda: window.session.annotations is not None, "the slide anew", 30)
    assert window.session.slide.mpp == 0.25
    assert panel.ask_mpp.isHidden()
    (layer,) = [one for one in window.viewer.layers if slide_of(one)]
    assert layer.scale[0] == 0.25
    window.viewer.layers.remove(layer)
    window.open(path, tmp_path / "project")
    assert window.session.slide.mpp == 0.25


def test_an_absurd_mpp_is_asked_for_and_a_wrong_one_can_be_changed_for_good(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    import tifffile

    rgb = open_slide(synthetic).read(0, 1000, 1000, 512, 512)
    project, absurd, wrong = tmp_path / "project", tmp_path / "dpi.tif", tmp_path / "wrong.tif"
    facts = {"tile": (256, 256), "photometric": "rgb"}
    tifffile.imwrite(absurd, rgb, resolution=(72, 72), resolutionunit="inch", **facts)
    tifffile.imwrite(wrong, 255 - rgb, resolution=(1e4, 1e4), resolutionunit="centimeter", **facts)
    window.open(absurd, project)
    assert window.session.slide.mpp is None
    assert not window.dock.slide.ask_mpp.isHidden()
    window.place.open(wrong)
    window.driver.wait(lambda: window.session.slide.name == "wrong", "the other slide", 30)
    assert window.session.slide.mpp == 1
    assert window.dock.slide.ask_mpp.isHidden()
    window.dock.slide.mpp.setValue(0.5)
    window.driver.wait(lambda: window.session.annotations is not None, "the slide anew", 30)
    window.viewer.layers.remove(window.place.layers.layer(window.session.slide))
    window.place.open(wrong)
    window.driver.wait(lambda: window.session.slide.name == "wrong", "the slide again", 30)
    window.driver.wait(lambda: window.session.slide.mpp == 0.5, "what the user said", 30)


def test_a_pixel_size_is_kept_however_soon_it_is_given(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    window.rest()
    project, slide = window.session.project, window.session.slide
    with project.database.transaction("as long as the slide is being added") as database:
        database.execute("DELETE FROM slides WHERE id = ?", (slide.id,))
    window.dock.slide.mpp.setValue(0.7)
    assert project.mpp(slide.id) == 0.7
    assert window.session.slide.mpp == 0.7
    window.rest()


def test_a_region_is_drawn_on_one_layer_however_often_it_is_asked_for(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    for _ in range(2):
        window.dock.explore.lasso_button.click()
    names = [layer.name for layer in window.viewer.layers]
    assert [name for name in names if name.startswith("select tiles")] == ["select tiles"]


def test_slides_are_dropped_onto_the_dock(window: Window, synthetic: Path, tmp_path: Path) -> None:
    window.place.open_project(tmp_path / "project")
    other, broken = tmp_path / "other.tif", tmp_path / "broken.svs"
    run(draw(other, (1500, 1600), seed=5))
    broken.write_text("no slide")
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(path)) for path in (synthetic, broken, other)])
    copy, left, plain = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, SHIFT & CTRL
    place = window.dock.rect().center()
    entering = QDragEnterEvent(place, copy, dropped, left, plain)
    QApplication.sendEvent(window.dock, entering)
    assert entering.isAccepted()
    QApplication.sendEvent(window.dock, QDropEvent(QPointF(place), copy, dropped, left, plain))
    window.heard("broken.svs", "not a slide")
    window.driver.wait(lambda: len(window.session.slides) == 2, "both slides", 30)


def test_what_napari_cannot_open_with_us_is_said_without_a_traceback(
    window: Window, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_text("no slide")
    assert window.viewer.open(str(broken), plugin="napari-pathfm") == []
    window.heard("broken.svs", "not a slide")


def test_a_region_that_is_not_wanted_after_all_goes_with_escape(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    layers = window.viewer.layers
    window.dock.explore.lasso_button.click()
    assert layers.selection.active.name == "select tiles"
    window.driver.press_key(Qt.Key.Key_Escape)
    assert "select tiles" not in layers
    assert slide_of(layers.selection.active) is window.session.slide


def test_a_click_picks_a_tile_through_its_outline(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    window.find_tiles()
    window.viewer.layers.selection.active = window.viewer.layers["tiles"]
    y, x = window.session.grid.centers[2] * window.session.slide.mpp
    window.driver.drag((y, x), (y, x))
    assert window.session.selection.tiles.tolist() == [2]


def test_removing_a_slide_stops_its_embedding_and_keeps_what_is_done(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    window.find_tiles(0.5)
    panel, place = window.dock.embed, window.place
    panel.embed_button.click()
    window.driver.wait(
        lambda: any(job.progress.done for job in place.runner.running), "the first tiles", 120
    )
    window.viewer.layers.remove(place.layers.layer(window.session.slide))
    window.rest()
    assert "Stopped" in panel.state.text()
    assert not [said for said in window.messages if "closed" in said]


def test_the_open_project_chosen_again_stays_as_it_is(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    before = window.session.project
    window.place.open_project(tmp_path / "other" / ".." / "project")
    assert window.session.project is before
    assert not before.read_only
    assert window.session.annotations is not None


def test_another_project_brings_its_own_labels(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "one")
    window.find_tiles()
    session = window.session
    session.select(np.array([1, 2]))
    window.dock.explore.labels.label_selection()
    window.place.open_project(tmp_path / "two")
    assert not session.labels.any()
    assert session.project.classes() == session.classes
    window.place.open_project(tmp_path / "one")
    assert np.flatnonzero(session.labels).tolist() == [1, 2]
