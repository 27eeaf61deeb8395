from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.core.edits import ChunkChange, Edit, ObjectRow
from napari_pathfm.core.jobs import run
from napari_pathfm.core.objects import ObjectArray
from napari_pathfm.io import mask_pyramid, masks
from napari_pathfm.io.layer_names import layer_names, masks_folder, rename
from napari_pathfm.io.mask_pyramid import ChunkPyramid, Staged
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.painting import Paint
from napari_pathfm.io.project import Project, ProjectError

SHAPE = (1301, 2103)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "p", author="ann") as project:
        yield project


@pytest.fixture
def layer(project: Project) -> AnnotationLayer:
    return AnnotationLayer.open(project, "ab", "regions", SHAPE)


def reopened(project: Project) -> AnnotationLayer:
    """The layer as another process would find it, whoever still holds the old object."""
    masks._layers.pop(project, None)
    return AnnotationLayer.open(project, "ab", "regions", SHAPE)


def square(
    layer: AnnotationLayer, y: int, x: int, side: int, number: int, **options: object
) -> Edit:
    ids = np.full((side, side), number, np.uint32)
    return layer.paint_edit(y, x, ids, None, "brush", **options)  # type: ignore[arg-type]


def whole(layer: AnnotationLayer, level: int = 0) -> NDArray[np.uint32]:
    return layer.read(level, 0, 0, *layer.levels[level])


def chunk_files(project: Project) -> list[Path]:
    return [p for p in project.slide_store("ab").glob("masks/*/*/c/*/*") if p.is_file()]


def check(layer: AnnotationLayer, model: NDArray[np.uint32]) -> None:
    np.testing.assert_array_equal(whole(layer), model)
    for level in range(1, len(layer.levels)):
        np.testing.assert_array_equal(whole(layer, level), whole(layer, level - 1)[::2, ::2])
    numbers, areas = np.unique(model[model > 0], return_counts=True)
    assert {n: row.area for n, row in layer.objects.items()} == dict(
        zip(numbers.tolist(), areas.tolist(), strict=True)
    )
    for number, row in layer.objects.items():
        ys, xs = np.nonzero(model == number)
        y0, x0, y1, x1 = row.box
        assert y0 <= ys.min()
        assert x0 <= xs.min()
        assert y1 > ys.max()
        assert x1 > xs.max()


strokes = st.tuples(
    st.just("paint"),
    st.integers(-200, SHAPE[0] + 50),
    st.integers(-200, SHAPE[1] + 50),
    st.integers(1, 700),
    st.integers(0, 4),
    st.integers(0, 2),
)
actions = st.one_of(
    strokes, st.tuples(st.just("delete")), st.tuples(st.just("undo")), st.tuples(st.just("redo")),
    st.tuples(st.just("reopen")),
)  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(actions, max_size=12))
def test_any_sequence_of_edits_agrees_with_a_plain_array(
    tmp_path_factory: pytest.TempPathFactory, sequence: list[tuple[object, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("p")
    project = Project.open(folder)
    layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
    states, at = [np.zeros(SHAPE, np.uint32)], 0
    for action, *values in sequence:
        new = states[at].copy()
        if action == "undo":
            assert (layer.undo() is not None) == (at > 0)
            at = max(0, at - 1)
            continue
        if action == "redo":
            assert (layer.redo() is not None) == (at < len(states) - 1)
            at = min(at + 1, len(states) - 1)
            continue
        if action == "reopen":
            del layer
            project.close()
            project = Project.open(folder)
            layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
            continue
        if action == "delete":
            if not layer.objects:
                continue
            number = min(layer.objects)
            edit = layer.delete_edit([number])
            new[new == number] = 0
        else:
            y, x, side, number, level = values  # type: ignore[misc]
            f = 2**level
            y, x, side = y // f, x // f, -(-side // f)
            mask = np.add.outer(np.arange(side), np.arange(side)) % 3 > 0
            edit = layer.paint_edit(
                y, x, np.full((side, side), number, np.uint32), mask, "brush", level=level
            )
            big = np.zeros((SHAPE[0] + 2000, SHAPE[1] + 2000), bool)
            top, left = y * f + 1000, x * f + 1000
            big[top : top + side * f, left : left + side * f] = mask.repeat(f, 0).repeat(f, 1)
            new[big[1000 : 1000 + SHAPE[0], 1000 : 1000 + SHAPE[1]]] = number
        layer.commit(edit)
        if edit:
            states[at + 1 :] = [new]
            at += 1
    check(layer, states[at])
    assert [step.done for step in layer.history()] == [n < at for n in range(len(states) - 1)]
    while layer.undo():
        pass
    assert not chunk_files(project)
    assert not layer.objects
    project.close()


def test_any_zarr_reader_reads_it(project: Project, layer: AnnotationLayer) -> None:
    layer.commit(square(layer, 500, 500, 600, 7))
    group = zarr.open_group(project.slide_store("ab") / "masks" / "regions", mode="r")
    for level, shape in enumerate(layer.levels):
        array = group[str(level)]
        assert array.shape == shape
        np.testing.assert_array_equal(array[:], whole(layer, level))
    ome = group.attrs["ome"]
    assert [d["path"] for d in ome["multiscales"][0]["datasets"]] == ["0", "1", "2"]


def test_reading_reaches_over_the_edges(layer: AnnotationLayer) -> None:
    layer.commit(square(layer, 0, 0, 3, 9))
    region = layer.read(0, -2, -2, 4, 4)
    assert region[2:, 2:].all()
    assert region.sum() == 4 * 9
    assert not layer.read(0, 5000, 5000, 3, 4).any()
    assert layer.read(0, 5000, 5000, 3, 4).shape == (3, 4)


def test_rows_tell_how_objects_were_made(layer: AnnotationLayer) -> None:
    number = layer.new_id()
    row = ObjectRow(number, class_id=2, how="prompt", model="sam", score=0.9)
    layer.commit(square(layer, 10, 20, 10, number, rows={number: row}))
    assert layer.objects[number] == row.with_(area=100, box=(10, 20, 20, 30), author="ann")
    layer.commit(square(layer, 18, 20, 4, 0))
    assert not layer.objects[number].corrected
    layer.commit(square(layer, 18, 28, 4, 0, by_hand=True))
    assert layer.objects[number].corrected
    assert layer.objects[number].area == 100 - 8 - 4
    layer.commit(square(layer, 100, 100, 2, 77, by_hand=True))
    assert layer.objects[77].how == "brush"
    assert not layer.objects[77].corrected
    assert layer.new_id() == 78
    layer.commit(layer.class_edit([number, 77], 5))
    assert {row.class_id for row in layer.objects.values()} == {5}
    layer.undo()
    assert layer.objects[number].class_id == 2


def test_the_table_survives_reopening(project: Project, layer: AnnotationLayer) -> None:
    layer.commit(square(layer, 10, 20, 10, 3))
    layer.commit(square(layer, 300, 20, 900, 4))
    layer.undo()
    again = reopened(project)
    assert again.objects == layer.objects
    assert again.new_id() == 5
    assert layer_names(project, "ab") == ["regions"]


def test_layers_are_independent(project: Project, layer: AnnotationLayer) -> None:
    nuclei = AnnotationLayer.open(project, "ab", "nuclei", SHAPE)
    assert AnnotationLayer.open(project, "ab", "nuclei", SHAPE) is nuclei
    layer.commit(square(layer, 0, 0, 10, 1))
    nuclei.commit(square(nuclei, 0, 0, 10, 1))
    layer.undo()
    assert not whole(layer).any()
    assert whole(nuclei).any()
    assert layer.undo() is None


def test_signals_say_where(layer: AnnotationLayer) -> None:
    boxes: list[tuple[int, ...]] = []
    tables: list[None] = []
    layer.changed.connect(boxes.append)
    layer.table_changed.connect(lambda: tables.append(None))
    layer.commit(square(layer, 1290, 1000, 5, 1))
    assert boxes == [(1024, 512, 1301, 1024)]
    layer.commit(layer.class_edit([1], 3))
    assert (len(boxes), len(tables)) == (1, 2)
    layer.undo()
    layer.undo()
    assert (len(boxes), len(tables)) == (2, 4)


def test_what_cannot_be_is_refused(project: Project, layer: AnnotationLayer) -> None:
    with pytest.raises(ValueError, match="no object 5"):
        layer.delete_edit([5])
    with pytest.raises(ValueError, match="class id"):
        layer.class_edit([], 300)
    with pytest.raises(ValueError, match="level"):
        square(layer, 0, 0, 1, 1, level=9)
    with pytest.raises(ValueError, match="mask must be"):
        layer.paint_edit(0, 0, np.ones((2, 2), int), np.ones((2, 3), bool), "x")
    with pytest.raises(ValueError, match="between 0"):
        layer.paint_edit(0, 0, np.full((2, 2), -1), None, "x")
    with pytest.raises(ValueError, match="belongs to the layer"):
        layer.commit(Edit("other", "x", (ChunkChange(0, 0, None, None),)))
    with pytest.raises(ValueError, match=r"must be \(512, 512\)"):
        layer.commit(Edit("regions", "x", (ChunkChange(0, 0, None, np.ones((3, 3), np.uint32)),)))
    with pytest.raises(ProjectError, match="another slide"):
        AnnotationLayer.open(project, "ab", "regions", (5, 5))
    with pytest.raises(ProjectError, match="cannot be the name"):
        AnnotationLayer.open(project, "ab", "a/b", SHAPE)
    assert not layer.history()


def test_an_edit_made_before_another_one_is_refused(layer: AnnotationLayer) -> None:
    first, second = square(layer, 0, 0, 10, 1), square(layer, 5, 5, 10, 2)
    layer.commit(first)
    with pytest.raises(ValueError, match="has changed since"):
        layer.commit(second)
    layer.commit(square(layer, 5, 5, 10, 2))
    check(layer, whole(layer))


def test_a_full_disk_changes_nothing_and_the_edit_can_be_tried_again(
    project: Project, layer: AnnotationLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.commit(square(layer, 0, 0, 600, 1))
    before, files = whole(layer), chunk_files(project)
    edit = square(layer, 300, 300, 700, 2)
    written = []
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            real(path, data[:10])
            raise OSError(28, "No space left on device")
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ProjectError, match="no space left"):
            layer.commit(edit)
    assert not list((project.folder / "slides" / "ab.staging" / "regions").iterdir())
    check(layer, before)
    assert chunk_files(project) == files
    ((pages,),) = project.database.rows("PRAGMA page_count")
    project.database.rows(f"PRAGMA max_page_count = {pages}")
    edit_with_text = Edit(edit.layer, "x" * 100_000, edit.chunks, edit.objects)
    with pytest.raises(ProjectError, match="no space left"):
        layer.commit(edit_with_text)
    check(layer, before)
    assert len(layer.history()) == 1
    project.database.rows("PRAGMA max_page_count = 1000000")
    layer.commit(edit)
    before[300:1000, 300:1000] = 2
    check(layer, before)


def test_pixels_that_cannot_take_their_place_follow_later(
    project: Project, layer: AnnotationLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.commit(square(layer, 0, 0, 600, 1))

    def refused(path: Path, target: Path) -> Path:
        raise PermissionError(13, "in use by another program")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.warns(UserWarning, match="safe in the journal"):
            layer.commit(square(layer, 300, 300, 700, 2))
    model = np.zeros(SHAPE, np.uint32)
    model[:600, :600] = 1
    model[300:1000, 300:1000] = 2
    check(layer, model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.commit(square(layer, 0, 0, 10, 3))
    model[:10, :10] = 3
    check(layer, model)
    check(reopened(project), model)


@pytest.mark.parametrize("moment", ["_update_table", "publish"])
def test_an_interrupt_after_the_journal_loses_nothing(
    project: Project, layer: AnnotationLayer, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    edit = square(layer, 0, 0, 600, 1)
    with monkeypatch.context() as patch:
        patch.setattr(layer._pyramid if moment == "publish" else layer, moment, ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            layer.commit(edit)
    layer.commit(square(layer, 1100, 1100, 100, 2))
    model = np.zeros(SHAPE, np.uint32)
    model[:600, :600] = 1
    model[1100:1200, 1100:1200] = 2
    check(layer, model)
    check(reopened(project), model)


def test_cancelling_a_commit_leaves_everything_as_before(layer: AnnotationLayer) -> None:
    layer.commit(square(layer, 0, 0, 600, 1))
    before = whole(layer)
    job = layer.commit_job(square(layer, 300, 300, 700, 2))
    next(job)
    next(job)
    job.close()
    check(layer, before)
    assert len(layer.history()) == 1


def interrupted(layer: AnnotationLayer, edit: Edit, settled: int) -> None:
    """Commit, but stop as a kill would when `settled` chunks have taken their places."""
    count = [0]
    real = mask_pyramid.ChunkPyramid._settle

    def settle(self: mask_pyramid.ChunkPyramid, place: object, blob: bytes | None) -> None:
        count[0] += 1
        if count[0] > settled:
            raise KeyboardInterrupt
        real(self, place, blob)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_pyramid.ChunkPyramid, "_settle", settle)
        with pytest.raises(KeyboardInterrupt):
            layer.commit(edit)


def test_a_coarse_chunk_that_was_just_being_replaced_is_drawn_whole(project: Project) -> None:
    layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
    layer.commit(square(layer, 0, 0, 1100, 1))
    interrupted(layer, square(layer, 0, 0, 100, 2), 1)
    model = np.zeros(SHAPE, np.uint32)
    model[:1100, :1100] = 1
    model[:100, :100] = 2
    (project.slide_store("ab") / "masks" / "regions" / "1" / "c" / "0" / "0").unlink()
    check(reopened(project), model)


@pytest.mark.parametrize("settled", [0, 1, 2, 4, 5])
def test_opening_finishes_what_was_interrupted(project: Project, settled: int) -> None:
    layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
    layer.commit(square(layer, 0, 0, 600, 1))
    interrupted(layer, square(layer, 300, 300, 500, 2), settled)
    model = np.zeros(SHAPE, np.uint32)
    model[:600, :600] = 1
    model[300:800, 300:800] = 2
    with Project.open(project.folder, read_only=True) as reader:
        check(AnnotationLayer.open(reader, "ab", "regions", SHAPE), model)
    again = reopened(project)
    check(again, model)
    again.undo()
    again.undo()
    assert not chunk_files(project)


def test_torn_and_lost_files_come_back_from_the_journal(
    project: Project, layer: AnnotationLayer
) -> None:
    layer.commit(square(layer, 0, 0, 600, 1))
    layer.commit(square(layer, 300, 300, 700, 2))
    model = whole(layer)
    for number, file in enumerate(sorted(chunk_files(project))):
        file.write_bytes(b"" if number % 2 else file.read_bytes()[:20])
    again = reopened(project)
    check(again, model)
    again.commit(square(again, 0, 0, 1300, 3))
    model[:1300, :1300] = 3
    check(again, model)
    shutil.rmtree(project.slide_store("ab"))
    check(reopened(project), model)


def test_a_lost_folder_comes_back_even_if_that_is_interrupted(
    project: Project, layer: AnnotationLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 5):
        layer.commit(square(layer, 100 * number, 0, 600, number))
    layer.undo()
    model = whole(layer)
    shutil.rmtree(project.slide_store("ab"))
    publish, published = ChunkPyramid.publish, []

    def killed(pyramid: ChunkPyramid, staged: Staged) -> None:
        published.append(staged)
        if len(published) == 3:
            raise KeyboardInterrupt
        publish(pyramid, staged)

    with monkeypatch.context() as patch:
        patch.setattr(ChunkPyramid, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            reopened(project)
    check(reopened(project), model)


def test_who_reads_while_chunks_are_replaced_sees_what_is_there_then(
    layer: AnnotationLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.commit(square(layer, 0, 0, 600, 1))
    edit = square(layer, 0, 0, 600, 2)
    layer._pyramid._cache.clear()

    def overtaken(*place: int) -> None:
        """Find no file, for the old one has just been taken away."""
        monkeypatch.undo()
        layer.commit(edit)

    monkeypatch.setattr(layer._pyramid, "blob", overtaken)
    assert (layer.read(1, 0, 0, 300, 300) == 2).all()


def test_the_table_can_be_walked_over_while_it_changes(layer: AnnotationLayer) -> None:
    layer.commit(square(layer, 0, 0, 10, 1))
    for row in layer.objects.values():
        layer.commit(square(layer, 20, 20, 10, row.id + 1))
    assert list(layer.objects) == [1, 2]


def test_what_comes_next_is_known_while_an_edit_is_written(layer: AnnotationLayer) -> None:
    assert (layer.last_done, layer.first_undone) == (None, None)
    layer.commit(layer.paint_edit(0, 0, np.ones((9, 9), int), None, "one"))
    layer.commit(layer.paint_edit(0, 0, np.full((9, 9), 2), None, "two"))
    layer.undo()
    assert layer.last_done is not None
    assert layer.first_undone is not None
    assert (layer.last_done.text, layer.first_undone.text) == ("one", "two")
    assert [layer.last_done, layer.first_undone] == layer.history()


def test_for_reading_only_nothing_can_be_edited(project: Project, layer: AnnotationLayer) -> None:
    layer.commit(square(layer, 0, 0, 60, 1))
    with Project.open(project.folder, read_only=True) as reader:
        view = AnnotationLayer.open(reader, "ab", "regions", SHAPE)
        check(view, whole(layer))
        with pytest.raises(ProjectError, match="reading only"):
            view.commit(square(view, 100, 100, 60, 1))
        with pytest.raises(ProjectError, match="reading only"):
            view.undo()
        with pytest.raises(ProjectError, match="does not exist yet"):
            AnnotationLayer.open(reader, "ab", "new", SHAPE)


def test_an_edit_of_many_paints_is_drawn_one_chunk_after_the_other(layer: AnnotationLayer) -> None:
    ids = np.array(layer.new_ids(6))
    drawn = np.zeros(layer.shape, np.uint32)
    drawn[40:60, 500:530] = ids[0]  # lies in two chunks
    for number, place in zip(ids[1:], np.ndindex(1, 5), strict=True):
        drawn[1100 + 20 * place[0] :, 100 * place[1] :][:9, :9] = number
    shapes = (layer.shape[0] // 512 + 1, layer.shape[1] // 512 + 1)
    paints = [
        Paint.of(512 * row, 512 * col, part, part > 0, 1)
        for row, col in np.ndindex(shapes)
        for part in [drawn[512 * row :, 512 * col :][:512, :512]]
    ]
    rows = ObjectArray.new(ids, class_id=[1, 2, 3, 4, 5, 6], how="import")
    edit = run(layer.edit_job(paints, "import", rows, total=len(paints)))
    layer.commit(edit)
    check(layer, drawn)
    assert layer.objects[int(ids[0])] == ObjectRow(
        int(ids[0]), 1, "import", author="ann", area=600, box=(40, 500, 60, 530)
    )
    assert layer.new_id() == ids[-1] + 1
    layer.undo()
    check(layer, np.zeros_like(drawn))
    with pytest.raises(ValueError, match="same chunk"):
        run(layer.edit_job([paints[0], paints[0]], "twice"))


def test_large_numbers_are_deleted_too(layer: AnnotationLayer) -> None:
    layer.commit(square(layer, 0, 0, 20, 2**32 - 1))
    layer.commit(square(layer, 0, 0, 10, 1 << 28))
    layer.commit(layer.delete_edit([2**32 - 1]))
    assert list(layer.objects) == [1 << 28]
    assert whole(layer).any()


def test_a_huge_layer_opens_at_once_and_paints_far_out(project: Project) -> None:
    import zarr.codecs  # noqa: F401 - importing it is not what is measured

    start = time.perf_counter()
    layer = AnnotationLayer.open(project, "ab", "huge", (100_000, 100_000))
    assert time.perf_counter() - start < 2
    assert len(layer.levels) == 8
    assert max(layer.levels[-1]) <= 1024
    ids = np.full((20, 300), 5, np.uint32)
    edit = layer.paint_edit(700, 100, ids, None, "brush", level=7)
    layer.commit(edit)
    assert layer.objects[5].box == (89600, 12800, 92160, 51200)
    assert layer.objects[5].area == 2560 * 38400
    assert (layer.read(7, 700, 100, 20, 300) == 5).all()
    assert (layer.read(0, 89600 - 1, 12800 - 1, 2, 2) == [[0, 0], [0, 5]]).all()
    assert sum(len(c.after_blob) for c in edit.chunks[32:]) < 1 << 20  # type: ignore[attr-defined]
    layer.undo()
    assert not chunk_files(project)


def test_a_hundred_thousand_objects(project: Project) -> None:
    layer = AnnotationLayer.open(project, "ab", "nuclei", (4000, 4000))
    ids = np.zeros((4000, 4000), np.uint32)
    small = np.arange(1, 100_001, dtype=np.uint32).reshape(250, 400)
    ids[:3500, :3600] = small.repeat(14, 0).repeat(9, 1)
    start = time.perf_counter()
    layer.commit(layer.paint_edit(0, 0, ids, ids > 0, "import"))
    assert len(layer.objects) == 100_000
    assert layer.objects[402] == ObjectRow(402, author="ann", area=14 * 9, box=(14, 9, 28, 18))
    layer.commit(layer.class_edit(range(1, 100_001), 3))
    del layer
    again = AnnotationLayer.open(project, "ab", "nuclei", (4000, 4000))
    assert len(again.objects) == 100_000
    assert again.objects[402].class_id == 3
    assert time.perf_counter() - start < 60


def test_a_renamed_layer_keeps_its_pixels_and_its_history(project: Project) -> None:
    layer = AnnotationLayer.open(project, "s", "regions", SHAPE)
    square = np.full((60, 60), 1, np.uint32)
    layer.commit(layer.paint_edit(500, 500, square, None, "first"))
    layer.commit(layer.paint_edit(520, 500, square * 2, None, "second"))
    project.set_last_layer("s", "regions")
    layer.rename("glands")
    assert layer_names(project, "s") == ["glands"]
    assert AnnotationLayer.open(project, "s", "glands", SHAPE) is layer
    layer.undo()
    layer.commit(layer.paint_edit(500, 500, square * 3, None, "third"))
    assert [step.text for step in layer.history()] == ["first", "third"]
    del layer
    again = AnnotationLayer.open(project, "s", "glands", SHAPE)
    assert (again.read(0, 500, 500, 60, 60) == 3).all()
    assert list(again.objects) == [3]
    fresh = AnnotationLayer.open(project, "s", "regions", SHAPE)
    assert not fresh.read(0, 500, 500, 60, 60).any()
    with pytest.raises(ProjectError, match="already"):
        fresh.rename("glands")
    with pytest.raises(ProjectError, match="cannot be the name"):
        fresh.rename("a/b")
    assert fresh.name == "regions"


def test_a_kill_while_a_layer_is_renamed(project: Project) -> None:
    layer = AnnotationLayer.open(project, "s", "regions", SHAPE)
    square = np.full((60, 60), 1, np.uint32)
    layer.commit(layer.paint_edit(500, 500, square, None, "first"))
    del layer
    rename(project, "s", "regions", "glands")  # and its folder is never moved
    again = AnnotationLayer.open(project, "s", "glands", SHAPE)
    assert (again.read(0, 500, 500, 60, 60) == 1).all()
    assert again.read(1, 250, 250, 30, 30).all()
    fresh = AnnotationLayer.open(project, "s", "regions", SHAPE)
    assert not fresh.read(0, 500, 500, 60, 60).any()
    left = masks_folder(project, "s", "regions").with_name("regions.left-over-1")
    assert left.is_dir(), "nothing is thrown away"
