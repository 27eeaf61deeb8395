"""What cannot work, in the window: a message with a remedy, nothing lost, the panels go on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QApplication

from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.gui import unsaved
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide

from .window import Window

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

HOLDER = """
import sys
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide
with Project.open(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def no_traceback(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever a user gives us, no traceback is printed."""
    yield
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if not AS_ROOT or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root on Linux")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A folder, and what makes it a medium that nobody can write to, root neither."""
    disk = tmp_path / "medium"
    disk.mkdir()
    bind = ["mount", "--bind", str(disk), str(disk)]
    if not AS_ROOT or subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("mounting a read-only folder needs root on Linux")

    def lock() -> Path:
        remount = ["mount", "-o", "remount,ro,bind", str(disk)]
        subprocess.run(remount, capture_output=True, check=True)
        return disk

    yield lock
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Leave some bytes of a disk free."""
    file = disk / "filler"
    file.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - leave)))
    return file


def test_what_is_no_slide_is_named_and_the_next_one_opens(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.svs"
    text.write_text("no slide")
    half = tmp_path / "half.tif"
    half.write_bytes(synthetic.read_bytes()[: synthetic.stat().st_size // 2])
    for path in (text, half, tmp_path / "gone.svs"):
        window.place.open(path)
        window.heard(path.name)
        assert window.session.slide is None
    window.open(synthetic, tmp_path / "project")


def test_missing_and_wrong_weights(
    window: Window, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    window.open(synthetic, tmp_path / "project")
    window.find_tiles()
    panel, prompting = window.dock.embed, window.place.prompting
    panel.encoder.setCurrentText("uni")
    panel.embed_button.click()
    window.heard("Embedding", "uni", "PATHFM_MODELS")
    window.rest()

    panel.encoder.setCurrentText("efficientnet-lite0")
    for name, words in (("other.pth", "other.pth"), ("garbage.pth", "garbage.pth")):
        weights = tmp_path / name
        if name == "other.pth":
            torch.save({"conv.weight": torch.zeros(3)}, weights)
        else:
            weights.write_bytes(b"no weights at all")
        panel.model.weights_file(weights)
        panel.embed_button.click()
        window.heard("Embedding", words)
        window.rest()
        assert panel.embed_button.isEnabled()
    assert window.session.embeddings is None

    prompting.set_segmenter("litemedsam", weights)
    prompting.box_mode()
    window.heard("litemedsam", "garbage.pth")
    window.rest()
    kept = window.session.project.models / "litemedsam.pth"
    kept.write_bytes(b"neither")
    prompting.set_segmenter("litemedsam")
    window.heard("litemedsam", str(kept))
    window.rest()
    kept.unlink()
    prompting.set_segmenter("litemedsam")


def test_a_project_that_cannot_be_opened_leaves_a_way_on(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    slide = Path(shutil.copy(synthetic, tmp_path / "slide.tif"))
    beside = tmp_path / "slide.pathfm"  # the project that a slide gets by itself
    beside.write_text("a file, where a folder should be")
    window.place.open(slide)
    window.heard("slide.pathfm", "choose another")
    panel = window.dock.slide
    assert window.session.project is None
    assert "nothing is kept" in panel.project.text()
    assert not panel.project_button.isHidden()
    assert "project" in window.dock.segment.blocked()
    window.find_tiles()  # what needs no project goes on

    newer = tmp_path / "newer"
    Project.open(newer).close()
    with sqlite3.connect(newer / "project.sqlite") as database:
        database.execute("UPDATE meta SET value = '999' WHERE key = 'schema'")
    database.close()
    window.place.open_project(newer)
    window.heard("Opening the project", "newer")

    taken = tmp_path / "taken"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(taken)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        window.place.open_project(taken)
        window.heard("taken", "not kept", "being written")
    assert window.session.project.read_only

    window.place.open_project(tmp_path / "good")
    assert window.session.annotations is not None
    assert not window.dock.segment.blocked()


def test_a_full_disk_loses_no_stroke_and_no_tile(
    window: Window, synthetic: Path, tiny_disk: Path
) -> None:
    window.open(synthetic, tiny_disk / "project")
    window.find_tiles()
    driver, session = window.driver, window.session
    filler = fill(tiny_disk)

    session.classes = (*session.classes, AnnotationClass(9, "necrosis", "#cc79a7"))
    window.heard("classes", "space")

    window.dock.segment.brush_button.click()
    scale = session.slide.mpp
    window.place.jump(1000, 1000, 150)
    driver.drag((1000 * scale, 950 * scale), (1000 * scale, 1050 * scale))
    window.heard("paint", "space")
    assert not session.annotations.objects

    window.dock.embed.embed_button.click()
    window.heard("Embedding", "space")
    window.rest()
    assert window.dock.embed.embed_button.isEnabled()

    filler.unlink()
    driver.drag((1100 * scale, 950 * scale), (1100 * scale, 1050 * scale))
    driver.wait(lambda: not window.place.edit_window.history.busy, "both strokes", 30)
    driver.wait(lambda: len(session.annotations.objects) == 1, "the object", 30)
    ids = session.annotations.read(0, 990, 990, 120, 1)
    assert ids[10, 0]
    assert ids[110, 0] == ids[10, 0]
    window.dock.embed.embed_button.click()
    window.embedded()


def paint_on_a_full_disk(window: Window) -> None:
    """Two strokes that cannot be written."""
    window.dock.segment.brush_button.click()
    scale = window.session.slide.mpp
    window.place.jump(1000, 1000, 150)
    for x in (950, 1030):
        window.driver.drag((1000 * scale, x * scale), (1000 * scale, (x + 40) * scale))
    bar = window.dock.unsaved
    window.driver.wait(lambda: bar.count == 2, "two unsaved strokes", 30)
    assert "2 strokes are not saved" in bar.label.text()
    assert "space" in bar.label.text()


def test_what_cannot_be_saved_is_saved_elsewhere(
    window: Window, synthetic: Path, tiny_disk: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tiny_disk / "project")
    store, session = window.session.annotations, window.session
    store.commit(store.paint_edit(0, 0, np.full((90, 90), 77, np.uint32), None, "one"))
    bar = window.dock.unsaved
    assert not bar.isVisible()
    fill(tiny_disk)
    paint_on_a_full_disk(window)
    assert not bar.isHidden()
    window.place.open_project(tmp_path / "other")
    window.heard("not saved yet")
    assert session.annotations is store
    bar.save_to(tmp_path / "safe")
    window.heard("Saved in", "safe")
    window.driver.wait(lambda: session.annotations is not store, "the copy", 30)
    assert session.project.folder == tmp_path / "safe"
    assert len(session.annotations.objects) == 2
    assert [step.text for step in session.annotations.history()] == ["one", "paint", "paint"]
    assert bar.isHidden()
    window.place.edit_window.refill()
    assert window.place.edit_window.layer.data.any()


def test_closing_with_something_unsaved_asks(
    window: Window, synthetic: Path, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.open(synthetic, tiny_disk / "project")
    fill(tiny_disk)
    paint_on_a_full_disk(window)
    answers, asked = ["stay", "lose"], []
    monkeypatch.setattr(
        unsaved, "ask_at_the_end", lambda _, count: asked.append(count) or answers.pop(0)
    )
    main = window.viewer.window._qt_window
    event = QCloseEvent()
    QApplication.sendEvent(main, event)
    assert not event.isAccepted()
    assert window.dock.unsaved.count == 2
    assert not window.dock.unsaved._guard.eventFilter(main, QCloseEvent()), "it may close now"
    assert asked == [2, 2]
    assert window.dock.unsaved.count == 0


def test_a_project_is_written_again_when_its_disk_has_space_again(
    window: Window, synthetic: Path, tiny_disk: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tiny_disk / "project")
    window.place.open_project(tmp_path / "other")
    filler = fill(tiny_disk)
    window.place.reopening._timer.setInterval(200)
    window.place.open_project(tiny_disk / "project")
    window.heard("not kept", "disk")
    session, panel = window.session, window.dock.segment
    assert session.project.read_only
    assert not panel.brush_button.isEnabled()
    assert "reading only" in panel.brush_button.toolTip()
    assert not panel.classes.add_button.isEnabled()
    assert window.place.edit_window.layer.mode == "pan_zoom"
    window.driver.press_key("D")
    window.heard("Nothing can be painted", "reading only")
    assert not window.place.edit_window.layer.editable
    window.driver.idle(0.5)
    assert session.project.read_only
    filler.unlink()
    window.heard("can be written again")
    assert not session.project.read_only
    assert panel.brush_button.isEnabled()
    window.driver.press_key("D")
    assert window.place.edit_window.layer.mode == "paint"
    assert not window.place.reopening._timer.isActive()


def test_annotations_are_opened_when_the_disk_has_space_again(
    window: Window, synthetic: Path, tiny_disk: Path
) -> None:
    window.place.open_project(tiny_disk / "project")
    filler = fill(tiny_disk)
    window.place.reopening._timer.setInterval(200)
    window.place.open(synthetic)
    window.heard("Opening the annotations", "space")
    assert window.session.annotations is None
    filler.unlink()
    window.driver.wait(lambda: window.session.annotations is not None, "the annotations", 30)
    assert not window.place.reopening._timer.isActive()


def test_a_slide_on_a_read_only_medium_is_looked_at_and_labelled(
    window: Window, synthetic: Path, tmp_path: Path, read_only: Callable[[], Path]
) -> None:
    shutil.copy(synthetic, tmp_path / "medium" / "slide.tif")
    window.place.open(read_only() / "slide.tif")
    window.heard("Nothing is kept", "cannot be written")
    session = window.session
    window.find_tiles()
    window.dock.embed.embed_button.click()
    window.embedded()
    window.place.prompting.box_mode()
    window.heard("Choose a project folder")
    window.dock.segment.classes.add("necrosis")
    session.select(np.array([1, 2]))
    window.dock.explore.labels.label_selection()
    window.heard("not kept")

    window.place.open_project(tmp_path / "elsewhere")  # a new one takes over what there is
    assert session.classes[-1].name == "necrosis"
    assert session.project.classes() == session.classes
    kept = session.project.labels(session.slide.id, session.grid.hash)
    assert sorted(kept) == np.flatnonzero(session.labels).tolist() == [1, 2]
    assert not window.dock.segment.blocked()


def test_a_project_on_a_read_only_medium_is_shown(
    window: Window, synthetic: Path, tmp_path: Path, read_only: Callable[[], Path]
) -> None:
    slide = open_slide(shutil.copy(synthetic, tmp_path / "medium" / "slide.tif"))
    with Project.open(tmp_path / "medium" / "slide.pathfm") as project:
        project.add_slide(slide)
        project.set_classes([AnnotationClass(1, "gland", "#d55e00")])
        layer = AnnotationLayer.open(project, slide.id, "regions", slide.levels[0].shape)
        layer.commit(layer.paint_edit(900, 900, np.full((90, 90), 1, np.uint32), None, "one"))
    slide.close()
    session = window.session
    window.place.open(read_only() / "slide.tif")
    window.heard("not kept", "read only")
    window.driver.wait(lambda: session.annotations is not None, "its masks", 30)
    assert len(session.annotations.objects) == 1
    assert session.classes[0].name == "gland"
    assert "read only" in window.dock.slide.project.text()
    window.place.edit_window.history.undo()
    window.heard("Undo", "reading only")
    window.rest()
    assert len(session.annotations.objects) == 1
