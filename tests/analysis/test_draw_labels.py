"""Label images drawn chunk by chunk: values as objects, and as classes whose parts are objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from napari_pathfm.analysis import draw_labels
from napari_pathfm.analysis.draw_labels import LabelDrawing, Meaning, read_labels
from napari_pathfm.core.edits import CHUNK
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.core.slide import Level
from napari_pathfm.io.interop.label_image import LabelFacts

SHAPE = (1100, 1900)
LEVELS = (Level(SHAPE, 1.0, (256, 256)),)


def drawn(drawing: LabelDrawing, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint32]:
    rows, cols = -(-shape[0] // CHUNK), -(-shape[1] // CHUNK)
    whole = np.zeros((rows * CHUNK, cols * CHUNK), np.uint32)
    seen = set()
    for row, col, numbers in drawing.chunks():
        assert (row, col) not in seen, "each chunk once"
        seen.add((row, col))
        whole[row * CHUNK : (row + 1) * CHUNK, col * CHUNK : (col + 1) * CHUNK] = numbers
    assert len(seen) == drawing.total
    drawing.close()
    return whole[: shape[0], : shape[1]]


def read(
    values: NDArray[np.integer],
    folder: Path,
    meaning: Meaning = "objects",
    levels: Sequence[Level] = LEVELS,
) -> LabelDrawing:
    np.save(folder / "a.npy", values)
    return run(read_labels(folder / "a.npy", levels, meaning))


def same_partition(one: NDArray[np.integer], other: NDArray[np.integer]) -> bool:
    """Whether two images are the same but for the names of their values; 0 is 0 in both."""
    pairs = np.unique(one.astype(np.uint64) << np.uint64(32) | other.astype(np.uint64))
    names = pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)
    once = all(len(np.unique(each)) == len(pairs) for each in names)
    return once and bool(((names[0] == 0) == (names[1] == 0)).all())


@pytest.mark.parametrize("largest", [200, 60_000, (1 << 32) - 1])
def test_values_are_objects_of_any_number(tmp_path: Path, largest: int) -> None:
    rng = np.random.default_rng(0)
    values = np.kron(
        rng.integers(0, 2, (11, 19)) * rng.integers(1, largest, (11, 19)), np.ones((100, 100), int)
    )
    values[900:, 1000:] = 0
    drawing = read(values.astype(np.uint32), tmp_path)
    found = drawn(drawing)
    assert same_partition(found, values)
    ids, counts = np.unique(values[values > 0], return_counts=True)
    assert len(drawing.objects) == len(ids)
    assert drawing.objects.areas.tolist() == counts.tolist()
    assert (drawing.objects.classes == -1).all()


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
    st.floats(0.05, 0.7),
    st.integers(1, 13),
)
@settings(max_examples=60)
def test_parts_of_classes_are_objects_across_tiles(
    height: int, width: int, seed: int, filled: float, tile: int
) -> None:
    import tempfile

    rng = np.random.default_rng(seed)
    values = (rng.random((height, width)) < filled) * rng.integers(1, 3, (height, width))
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(draw_labels, "TILE", tile)
    levels = (Level((height, width), 1.0, (256, 256)),)
    with tempfile.TemporaryDirectory() as folder:
        drawing = read(values, Path(folder), "classes", levels)
        found = drawn(drawing, (height, width))
    monkeypatch.undo()
    wanted = np.zeros_like(values)
    for value in (1, 2):
        parts, _ = label(values == value, np.ones((3, 3)))
        wanted[parts > 0] = parts[parts > 0] + 10_000 * value
    assert same_partition(found, wanted)
    objects = drawing.objects
    assert (
        objects.areas.tolist()
        == np.bincount(found.ravel(), minlength=len(objects) + 1)[1:].tolist()
    )
    for number, class_number in enumerate(objects.classes):
        name = objects.class_names[class_number][0]
        assert set(values[found == number + 1]) == {int(name.removeprefix("class "))}


@pytest.mark.parametrize("ratio", [2, 3, 4.5, 32])
def test_smaller_images_are_enlarged(tmp_path: Path, ratio: float) -> None:
    small = (round(SHAPE[0] / ratio), round(SHAPE[1] / ratio))
    values = np.arange(1, small[0] * small[1] + 1).reshape(small)
    levels = (*LEVELS, Level(small, ratio, (256, 256)))
    drawing = read(values, tmp_path, "objects", levels)
    assert f"1/{ratio:g}" in drawing.objects.notes[0]
    found = drawn(drawing)
    rows = np.floor((np.arange(SHAPE[0]) + 0.5) / ratio).astype(int)
    cols = np.floor((np.arange(SHAPE[1]) + 0.5) / ratio).astype(int)
    beyond = (rows >= small[0])[:, None] | (cols >= small[1])
    wanted = values[rows.clip(max=small[0] - 1)][:, cols.clip(max=small[1] - 1)]
    assert (found == np.where(beyond, 0, wanted)).all()


def test_empty_parts_are_not_drawn(tmp_path: Path) -> None:
    values = np.zeros((5000, 5000), np.uint8)
    values[4000:4010, 4000:4010] = 7
    levels = (Level((5000, 5000), 1.0, (256, 256)),)
    drawing = read(values, tmp_path, "objects", levels)
    assert drawing.total == 4
    assert drawn(drawing, (5000, 5000)).sum() == 100
    empty = read(np.zeros((5000, 5000), np.uint8), tmp_path, "classes", levels)
    assert (len(empty.objects), empty.total) == (0, 0)


def test_colours_and_names_of_the_file(tmp_path: Path) -> None:
    image = Image.fromarray(np.kron(np.eye(2, dtype=np.uint8), np.ones((550, 950), np.uint8)))
    image = image.convert("P")
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.save(tmp_path / "a.png")
    drawing = run(read_labels(tmp_path / "a.png", LEVELS, "classes"))
    assert drawing.objects.class_names == [("class 1", "#c80000")]
    assert len(drawing.objects) == 1, "parts that touch at a corner are one object"


def test_progress_and_tiff(tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.uint16)
    values[100:900, 100:1500] = 500
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(256, 256), compression="zlib")
    seen: list[Progress] = []
    drawing = run(read_labels(tmp_path / "a.tif", LEVELS, "objects"), seen.append)
    assert [each.done for each in seen] == list(range(4))
    assert seen[0].total == 4
    assert (drawn(drawing) == (values > 0)).all()


def test_classes_of_objects_come_from_the_file() -> None:
    from napari_pathfm.analysis.label_numbers import ObjectValues
    from napari_pathfm.io.interop.label_image import LabelArray

    values = np.array([[0, 3, 5], [9, 9, 3]])
    facts = {
        3: LabelFacts("a", "Tumor", "#c80000"),
        5: LabelFacts("b", "Tumor", "#000000"),
        8: LabelFacts("c", "Stroma", ""),
        9: LabelFacts("d"),
    }
    numbering = ObjectValues()
    numbering.take((0, 0), 0, 0, values)
    objects = numbering.finish(LabelArray("a", values, facts), 2.0)
    assert objects.class_names == [("Tumor", "#c80000"), ("Stroma", "")]
    assert objects.classes.tolist() == [0, 0, -1]
    assert objects.areas.tolist() == [8, 4, 8]


@pytest.mark.parametrize(
    ("values", "meaning", "words"),
    [
        (np.full(SHAPE, -1, np.int32), "objects", "value -1"),
        (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 300, "classes", "254 classes"),
        (np.zeros((1900, 1100), np.uint8), "objects", "this whole slide"),
    ],
)
def test_what_cannot_be_objects(
    tmp_path: Path, values: NDArray[np.integer], meaning: Meaning, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        read(values, tmp_path, meaning)
