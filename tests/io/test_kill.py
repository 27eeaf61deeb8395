"""Kill a real process while it writes; ``PATHFM_KILLS=100`` for more kills than the few here."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.store import FLUSH_ROWS, FeatureStore

KILLS = int(os.environ.get("PATHFM_KILLS", "4"))
SHAPE = (3000, 4000)
KEY = FeatureKey("vit", "cls", "ab12", "224 bicubic")
GRID = make_grid("ab", (Level((60_000, 60_000), 1.0, (256, 256)),), 0.5, TileSpec())
BATCH, DIM = 16, 8

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9 on Windows")


def stroke(number: int) -> tuple[int, int, NDArray[np.uint32]]:
    """The `number`-th stroke of the child: place and ids."""
    rng = random.Random(number)
    side = rng.choice([30, 200, 900])
    y, x = rng.randrange(SHAPE[0] - side), rng.randrange(SHAPE[1] - side)
    return y, x, np.full((side, side), number % 5, np.uint32)


def write_for_ever(folder: str) -> None:
    """What the child does: edits (every seventh act an undo) and embeddings, telling of each."""
    project = Project.open(folder)
    layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
    store = FeatureStore(project.slide_store("ab"), KEY, GRID)
    acts = int(Path(folder, "acts").read_text())
    with store.lock():
        tile = store.count
        while True:
            print("begin", acts, flush=True)
            if acts % 7 == 6:
                layer.undo()
            else:
                y, x, ids = stroke(acts)
                layer.commit(layer.paint_edit(y, x, ids, None, f"stroke {acts}"))
            print("edit", acts, flush=True)
            acts += 1
            tiles = np.arange(tile, tile + BATCH)
            store.append(tiles, np.repeat(tiles[:, None], DIM, 1).astype(np.float32))
            tile += BATCH
            print("tiles", tile, flush=True)


class Model:
    """What the layer must look like, without any of our code."""

    def __init__(self) -> None:
        self.acts = 0
        self._states = [np.zeros(SHAPE, np.uint32)]

    def go_on(self, acts: int) -> NDArray[np.uint32]:
        for act in range(self.acts, acts):
            if act % 7 == 6:
                self._states = self._states[:-1] or self._states
                continue
            y, x, ids = stroke(act)
            new = self._states[-1].copy()
            new[y : y + len(ids), x : x + len(ids)] = ids
            # A stroke that changes no pixel is no edit; undo never takes back two in a row.
            if (new != self._states[-1]).any():
                self._states = [*self._states[-3:], new]
        self.acts = acts
        return self._states[-1]


def run_and_kill(folder: Path, seconds: float) -> dict[str, int]:
    """Run the child until it works, then so long, kill it, and return the last it told."""
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        lines = [first, *child.stdout]
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
        if not np.array_equal(pixels, model.go_on(certain)):
            np.testing.assert_array_equal(pixels, model.go_on(begun + 1))
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
    assert count >= max(before, told.get("tiles", 0) - FLUSH_ROWS)
    return count


@pytest.mark.skipif(KILLS < 1, reason="PATHFM_KILLS is 0")
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    model, count = Model(), 0
    rng = random.Random(KILLS)
    for _ in range(KILLS):
        (tmp_path / "acts").write_text(str(model.acts))
        told = run_and_kill(tmp_path, rng.uniform(0.02, 0.6))
        check_layer(tmp_path, told, model)
        count = check_features(tmp_path, told, count)
    assert model.acts > 0


if __name__ == "__main__":
    write_for_ever(sys.argv[1])
