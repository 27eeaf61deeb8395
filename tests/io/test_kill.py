"""Kill a real process while it writes; ``PATHFM_KILLS=100`` for more kills than the few here.

It paints, imports, gives many objects a class at once, and undoes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.draw_outlines import draw_table
from napari_pathfm.analysis.import_objects import import_job
from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.jobs import run
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.interop.outline_table import OutlineBuilder
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.store import FeatureStore

KILLS = int(os.environ.get("PATHFM_KILLS", "10"))
SHAPE = (3000, 4000)
KEY = FeatureKey("vit", "cls", "ab12", "224 bicubic")
GRID = make_grid("ab", (Level((60_000, 60_000), 1.0, (256, 256)),), 0.5, TileSpec())
BATCH, DIM = 16, 8
CLASSES = tuple(AnnotationClass(n, f"class {n}", "#808080") for n in (1, 2, 3))
IMPORTED = 100
"""Objects of an import."""

PAINT, IMPORT, CLASSIFY, UNDO = range(4)
NAMES = "painting", "importing", "giving classes", "undoing"
SECONDS = 0.1, 0.8, 0.1, 0.1
"""Of processor time in which each is killed: about what it takes."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9 on Windows")


def stroke(number: int) -> tuple[int, int, NDArray[np.uint32]]:
    """The `number`-th stroke of the child: place and ids."""
    rng = random.Random(number)
    side = rng.choice([30, 200, 900])
    y, x = rng.randrange(SHAPE[0] - side), rng.randrange(SHAPE[1] - side)
    return y, x, np.full((side, side), number % 5, np.uint32)


def kind(act: int) -> int:
    """What the child does as its `act`-th act."""
    return {2: IMPORT, 4: CLASSIFY, 5: IMPORT, 6: UNDO}.get(act % 7, PAINT)


def outlines(act: int) -> list[tuple[int, int, int, int]]:
    """Rectangles of the `act`-th act, an import: y, x, height, width."""
    rng = random.Random(-act)
    top, left = rng.randrange(-50, SHAPE[0] - 900), rng.randrange(-50, SHAPE[1] - 900)
    return [
        (
            top + rng.randrange(800),
            left + rng.randrange(800),
            rng.randrange(60, 300),
            rng.randrange(60, 300),
        )
        for _ in range(IMPORTED)
    ]


def class_of(act: int) -> int:
    """What all objects become by the `act`-th act, a change of classes."""
    return act // 7 % 3 + 1


def bring_in(project: Project, layer: AnnotationLayer, act: int) -> None:
    builder = OutlineBuilder()
    for number, (y, x, h, w) in enumerate(outlines(act)):
        builder.add([[[(y, x), (y, x + w), (y + h, x + w), (y + h, x)]]], number % 3)
    names = [(one.name, one.color) for one in CLASSES]
    drawing = draw_table(builder.take(), names, SHAPE)
    run(import_job(layer, drawing, project.class_book, f"act {act}"))


def write_for_ever(folder: str) -> None:
    """What the child does: edits and embeddings, telling of each."""
    project = Project.open(folder)
    if not project.classes():
        project.set_classes(CLASSES)
    layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
    layer.new_ids(5)  # those of the strokes are taken
    store = FeatureStore(project.slide_store("ab"), KEY, GRID)
    acts = int(Path(folder, "acts").read_text())
    with store.lock():
        tile = store.count
        while True:
            print("begin", acts, flush=True)
            if kind(acts) == UNDO:
                layer.undo()
            elif kind(acts) == IMPORT:
                bring_in(project, layer, acts)
            elif kind(acts) == CLASSIFY:
                layer.commit(layer.class_edit(layer.objects, class_of(acts)))
            else:
                y, x, ids = stroke(acts)
                layer.commit(layer.paint_edit(y, x, ids, None, f"stroke {acts}"))
            print("edit", acts, flush=True)
            acts += 1
            tiles = np.arange(tile, tile + BATCH)
            store.append(tiles, np.repeat(tiles[:, None], DIM, 1).astype(np.float32))
            tile += BATCH
            print("tiles", tile, flush=True)


class State(NamedTuple):
    """Pixels, and the class of every object in them."""

    ids: NDArray[np.uint32]
    classes: dict[int, int]


class Model:
    """What the layer must look like, without any of our code; imported ids are its own."""

    def __init__(self) -> None:
        self.acts = 0
        self._states = [State(np.zeros(SHAPE, np.uint32), {})]

    def go_on(self, acts: int) -> State:
        for act in range(self.acts, acts):
            if kind(act) == UNDO:
                self._states = self._states[:-1] or self._states
                continue
            new = self._after(self._states[-1], act)
            # What changes nothing is no edit; undo never takes back two in a row.
            if new.classes != self._states[-1].classes or (new.ids != self._states[-1].ids).any():
                self._states = [*self._states[-3:], new]
        self.acts = acts
        return self._states[-1]

    def _after(self, state: State, act: int) -> State:
        if kind(act) == CLASSIFY:
            return State(state.ids, dict.fromkeys(state.classes, class_of(act)))
        ids, given = state.ids.copy(), {}
        if kind(act) == IMPORT:
            given = self._import(ids, act)
        else:
            y, x, stamp = stroke(act)
            ids[y : y + len(stamp), x : x + len(stamp)] = stamp
        left = np.flatnonzero(np.bincount(ids.ravel())).tolist()
        known = {**given, **state.classes}
        return State(ids, {number: known.get(number, 0) for number in left if number})

    @staticmethod
    def _import(ids: NDArray[np.uint32], act: int) -> dict[int, int]:
        areas, new = np.bincount(ids.ravel()), np.zeros_like(ids)
        size, given = np.zeros(IMPORTED + 1, np.int64), {}
        listed = outlines(act)
        for number, (y, x, h, w) in enumerate(listed):
            part = ids[max(y, 0) : y + h, max(x, 0) : x + w]
            size[number + 1] = part.size
            given[1000 * (act + 1) + number] = number % 3 + 1
        for number in sorted(range(IMPORTED), key=lambda n: -size[n + 1]):
            y, x, h, w = listed[number]
            new[max(y, 0) : y + h, max(x, 0) : x + w] = number + 1
        drawn = (new > 0) & ((ids == 0) | (areas[ids] >= size[new]))
        ids[drawn] = 1000 * (act + 1) + new[drawn] - 1
        return given


def same(ids: NDArray[np.uint32], wanted: State, classes: dict[int, int]) -> bool:
    """Whether pixels and classes are as wanted, but for the numbers of imported objects."""
    flat, model = ids.ravel(), wanted.ids.ravel()
    name = np.zeros(int(flat.max()) + 1, np.uint32)
    name[flat] = model
    numbers = np.flatnonzero(np.bincount(flat))
    return (
        bool((name[flat] == model).all())
        and len(set(name[numbers].tolist())) == len(numbers)
        and all(name[n] == n for n in numbers if n < 5)
        and {int(name[n]): classes[int(n)] for n in numbers if n} == wanted.classes
    )


def processor_seconds(process: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def let_work(process: int, seconds: float) -> None:
    """Wait until a process has worked so long, however busy the machine is."""
    if sys.platform != "linux":
        time.sleep(seconds)
        return
    begun, end = processor_seconds(process), time.monotonic() + 60
    while processor_seconds(process) - begun < seconds and time.monotonic() < end:
        time.sleep(seconds / 20)


def run_and_kill(folder: Path, act: int, share: float) -> dict[str, int]:
    """Run the child until it has done a `share` of an act, kill it, and return the last it told."""
    command = [sys.executable, __file__, str(folder)]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while not lines or lines[-1] != f"begin {act}\n":
            lines.append(child.stdout.readline())
            assert lines[-1], "the child ended by itself"
        let_work(child.pid, share * SECONDS[kind(act)])
        child.send_signal(signal.SIGKILL)
        lines += child.stdout
    assert child.returncode == -signal.SIGKILL
    # The last line may be cut.
    told = (line.split() for line in lines if line.endswith("\n"))
    return {what: int(number) for what, number in told}


def check_layer(folder: Path, told: dict[str, int], model: Model) -> None:
    """Look at everything after a kill, and find out how many acts were committed."""
    with Project.open(folder) as project:
        layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
        pixels = layer.read(0, 0, 0, *SHAPE)
        begun = told["begin"]
        certain = begun + 1 if told.get("edit") == begun else begun
        classes = {number: row.class_id for number, row in layer.objects.items()}
        if not same(pixels, model.go_on(certain), classes):
            assert same(pixels, model.go_on(begun + 1), classes)
        for level in range(1, len(layer.levels)):
            finer = layer.read(level - 1, 0, 0, *layer.levels[level - 1])
            coarse = layer.read(level, 0, 0, *layer.levels[level])
            np.testing.assert_array_equal(coarse, finer[::2, ::2])
        numbers, areas = np.unique(pixels[pixels > 0], return_counts=True)
        table = {number: row.area for number, row in layer.objects.items()}
        assert table == dict(zip(numbers.tolist(), areas.tolist(), strict=True))


def check_features(folder: Path, told: dict[str, int], before: int) -> int:
    """Check the embeddings; return how many there are."""
    embeddings = FeatureStore(folder / "slides" / "ab.zarr", KEY, GRID).read()
    count = len(embeddings)
    assert embeddings.tiles.tolist() == list(range(count))
    firsts = embeddings.vectors[:, :1].ravel()  # of none there is no first
    np.testing.assert_array_equal(firsts, embeddings.tiles.astype(np.float32))
    assert count >= max(before, told.get("tiles", 0))
    return count


@pytest.mark.skipif(KILLS < 1, reason="PATHFM_KILLS is 0")
def test_a_kill_at_any_moment_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, count, killed = Model(), 0, [0] * len(NAMES)
    rng = random.Random(KILLS)
    for _ in range(KILLS):
        (tmp_path / "acts").write_text(str(model.acts))
        told = run_and_kill(tmp_path, model.acts + rng.randrange(4), rng.random())
        check_layer(tmp_path, told, model)
        count = check_features(tmp_path, told, count)
        killed[kind(told["begin"])] += "edit" not in told or told["edit"] < told["begin"]
    with capsys.disabled():
        during = ", ".join(f"{killed[n]} while {name}" for n, name in enumerate(NAMES))
        print(f"\n{KILLS} kills, {during}; {model.acts} acts and {count} embeddings are there")
    assert model.acts > 0


if __name__ == "__main__":
    write_for_ever(sys.argv[1])
