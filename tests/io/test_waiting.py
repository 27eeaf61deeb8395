"""Strokes that take long to write survive a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.io import waiting
from napari_pathfm.io.masks import AnnotationLayer, HandStroke
from napari_pathfm.io.painting import Paint
from napari_pathfm.io.project import Project

SHAPE = (60_000, 60_000)
KILLS = max(2, int(os.environ.get("PATHFM_KILLS", "10")) // 10)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "p", author="ann") as project:
        yield project


def opened(project: Project) -> AnnotationLayer:
    return AnnotationLayer.open(project, "ab", "regions", SHAPE)


def far_stroke(number: int = 3, side: int = 300) -> HandStroke:
    """A disc that covers `side` pixels of a level whose pixels are 64 of level 0."""
    rows, cols = np.ogrid[:side, :side]
    mask = (rows - side / 2) ** 2 + (cols - side / 2) ** 2 < side**2 / 4
    ids = np.full((side, side), number, np.uint32)
    return HandStroke(Paint.of(100, 200, ids, mask, 64), "paint", 2)


@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(0, 9), st.sampled_from([1, 16]),
    st.integers(-50, 50),
)  # fmt: skip
def test_a_stroke_comes_back_whole(
    height: int, width: int, seed: int, factor: int, corner: int
) -> None:
    random = np.random.default_rng(seed)
    ids = random.integers(0, 1 << 32, (height, width), np.uint32)
    mask = random.random((height, width)) < 0.5
    stroke = HandStroke(Paint.of(corner, -corner, ids, mask, factor), "erase", 7)
    back = waiting._unpack(waiting._pack(stroke))
    assert (back.text, back.class_id, back.paint.factor) == ("erase", 7, factor)
    assert (back.paint.y, back.paint.x) == (corner, -corner)
    np.testing.assert_array_equal(back.paint.mask, mask)
    np.testing.assert_array_equal(back.paint.ids[mask], ids[mask])


def test_a_stroke_becomes_one_edit_and_is_forgotten(project: Project) -> None:
    layer = opened(project)
    stroke = far_stroke(side=40)
    assert layer.is_large(stroke)
    assert not layer.is_large(HandStroke(Paint.of(9, 9, np.ones((40, 40), int), None, 1), "paint"))
    number = layer.keep_stroke(stroke)
    for _ in layer.stroke_job(stroke, number):
        pass
    assert [step.text for step in layer.history()] == ["paint"]
    assert (layer.objects[3].class_id, layer.objects[3].how) == (2, "brush")
    assert layer.objects[3].area == stroke.paint.mask.sum() * 64**2
    assert not layer._strokes.all()


def test_a_stroke_that_changes_nothing_or_was_taken_back_is_forgotten(project: Project) -> None:
    layer = opened(project)
    empty = HandStroke(Paint.of(0, 0, np.zeros((40, 40), int), None, 64), "erase")
    for _ in layer.stroke_job(empty, layer.keep_stroke(empty)):
        pass
    layer.drop_stroke(layer.keep_stroke(far_stroke()))
    assert not layer._strokes.all()
    assert not layer.history()


def test_cancelling_leaves_it_waiting(project: Project) -> None:
    layer = opened(project)
    stroke = far_stroke()
    job = layer.stroke_job(stroke, layer.keep_stroke(stroke))
    for _ in range(40):
        next(job)
    job.close()
    assert not layer.objects
    assert len(layer._strokes.all()) == 1


def paint_far_out(folder: str) -> None:
    """What the child does: tell when a stroke is safe, then work it out."""
    with Project.open(folder) as project:
        layer = opened(project)
        number = max(layer.objects, default=0) + 1
        stroke = far_stroke(number)
        kept = layer.keep_stroke(stroke)
        print("kept", flush=True)
        for _ in layer.stroke_job(stroke, kept):
            pass
        print("written", flush=True)
        time.sleep(60)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9 on Windows")
def test_a_kill_loses_no_stroke_that_was_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    expected = far_stroke().paint.mask.sum() * 64**2
    for kill in range(1, KILLS + 1):
        command = [sys.executable, __file__, str(tmp_path / "p")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "kept\n"
            time.sleep(random.uniform(0, 1.5))
            child.send_signal(signal.SIGKILL)
        with Project.open(tmp_path / "p") as project:
            layer = opened(project)
            assert list(layer.objects) == [kill]
            assert layer.objects[kill].area == expected
            assert [step.text for step in layer.history()] == ["paint"] * kill
            assert not layer._strokes.all()
            coarse = layer.read(6, 0, 0, *layer.levels[6])
            assert (coarse == kill).sum() == far_stroke().paint.mask.sum()
            finer = layer.read(5, 0, 0, *layer.levels[5])
            np.testing.assert_array_equal(coarse, finer[::2, ::2])


if __name__ == "__main__":
    paint_far_out(sys.argv[1])
