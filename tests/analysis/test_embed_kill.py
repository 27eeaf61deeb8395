"""Kill a real process while it embeds; ``PATHFM_KILLS=100`` for more kills than the few here.

A child reads a slide, embeds its tiles with a network that is cheap and exact, and stores them. It
tells of each unit as it begins, so what is computed again can be counted.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.embed import embed
from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.core.jobs import run
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io.errors import ProjectError
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.store import FeatureStore
from napari_pathfm.models.base import EncoderSpec
from napari_pathfm.models.catalog import encoder_specs

KILLS = int(os.environ.get("PATHFM_KILLS", "10"))
SLIDE = Path(__file__).resolve().parents[2] / "sample_data" / "synthetic.tif"
KEY = FeatureKey("cheap", "sums", "none", "128 px")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9 on Windows")


class Cheap:
    """Sums of columns: whole numbers, the same in units of any size."""

    device, key = "cpu", KEY

    def __init__(self, tell: bool) -> None:
        self.spec: EncoderSpec = replace(encoder_specs()["efficientnet-lite0"], name="cheap")
        self._tell = tell

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._tell:
            os.write(1, f"unit {len(tiles)}\n".encode())
            time.sleep(0.001 * len(tiles))
        return tiles.sum(1, np.int64).reshape(len(tiles), -1).astype(np.float32)

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise NotImplementedError


def grid_of(slide: SlideReader) -> TileGrid:
    return make_grid(slide.id, slide.levels, slide.mpp, TileSpec(128, 0.5))


def embed_it(store: str) -> None:
    """What a child does."""
    os.write(1, f"pid {os.getpid()}\n".encode())
    with open_slide(SLIDE) as slide:
        grid = grid_of(slide)
        run(embed(slide, grid, Cheap(tell=True), FeatureStore(Path(store), KEY, grid)))


def fork_for_ever() -> None:
    """Begin to embed into each store that is named, in a process of its own.

    So everything is imported only once. A child is not waited for until it is told to, so that
    nobody else gets its number meanwhile.
    """
    for line in sys.stdin:
        child = os.fork()
        if not child:
            embed_it(line.strip())
            os.write(1, b"done 0\n")
            os._exit(0)
        sys.stdin.readline()
        _, status = os.waitpid(child, 0)
        os.write(1, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())


class Children:
    """Embed one after the other, each until it is killed."""

    def __init__(self, mother: subprocess.Popen[str]) -> None:
        self._mother = mother
        self.pid = 0

    def begin(self, store: Path) -> None:
        self._say(str(store))
        self.pid = self.hear()[1]

    def hear(self) -> tuple[str, int]:
        assert self._mother.stdout is not None
        what, number = self._mother.stdout.readline().split()
        return what, int(number)

    def end(self, kill: bool = True) -> tuple[int, list[int]]:
        """Return how the child ended, and the units that were not heard of before."""
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        self._say("wait for it")
        heard = [self.hear()]
        while heard[-1][0] != "ended":
            heard.append(self.hear())
        return heard[-1][1], [number for what, number in heard if what == "unit"]

    def _say(self, line: str) -> None:
        assert self._mother.stdin is not None
        self._mother.stdin.write(f"{line}\n")
        self._mother.stdin.flush()


@contextmanager
def children() -> Iterator[Children]:
    command, pipe = [sys.executable, __file__], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as mother:
        yield Children(mother)


@pytest.fixture(scope="module")
def undisturbed() -> tuple[TileGrid, Embeddings]:
    """Of a run that nobody kills."""
    with open_slide(SLIDE) as slide:
        grid = grid_of(slide)
        return grid, run(embed(slide, grid, Cheap(tell=False))).in_grid_order()


def check(made: Embeddings, wanted: Embeddings) -> None:
    assert len(np.unique(made.tiles)) == len(made)
    if len(made):
        np.testing.assert_array_equal(made.vectors, wanted.vectors[made.tiles])


@pytest.mark.skipif(KILLS < 1, reason="PATHFM_KILLS is 0")
def test_a_kill_at_any_moment_costs_one_unit_at_most_and_nothing_is_wrong(
    tmp_path: Path, undisturbed: tuple[TileGrid, Embeddings], capsys: pytest.CaptureFixture[str]
) -> None:
    grid, wanted = undisturbed
    rng, again, computed, slides = random.Random(KILLS), 0, 0, 0
    store = FeatureStore(tmp_path / "0.zarr", KEY, grid)
    with children() as child:
        for _ in range(KILLS):
            child.begin(store.path)
            units, before = list[int](), store.count
            for what, number in (child.hear() for _ in range(rng.randrange(12))):
                if what == "done":
                    break
                units.append(number)
            time.sleep(rng.random() * (0.02 if units else 0.3))
            code, last = child.end()
            units += last
            made = store.read()
            check(made, wanted)
            lost = sum(units) - (len(made) - before)
            assert code == -signal.SIGKILL or len(made) == len(grid)
            assert lost in (0, *units[-1:])
            again, computed = again + lost, computed + sum(units)
            if len(made) == len(grid):
                slides += 1
                store = FeatureStore(tmp_path / f"{slides}.zarr", KEY, grid)
        child.begin(store.path)
        assert child.end(kill=False)[0] == 0
    assert store.count == len(grid)
    check(store.read(), wanted)
    with capsys.disabled():
        print(f"\n{KILLS} kills: {again} of {computed} tiles computed again, none wrong")


def test_a_second_process_is_told_who_embeds_and_goes_on_when_that_one_is_dead(
    tmp_path: Path, undisturbed: tuple[TileGrid, Embeddings]
) -> None:
    grid, wanted = undisturbed
    store = FeatureStore(tmp_path / "slide.zarr", KEY, grid)
    with children() as child, open_slide(SLIDE) as slide:
        child.begin(store.path)
        child.hear()
        job = embed(slide, grid, Cheap(tell=False), store)
        with pytest.raises(ProjectError, match=f"process {child.pid} on"):
            run(job)
        child.end()
        assert store.count < len(grid)
        check(run(embed(slide, grid, Cheap(tell=False), store)), wanted)
    assert store.count == len(grid)


if __name__ == "__main__":
    fork_for_ever()
