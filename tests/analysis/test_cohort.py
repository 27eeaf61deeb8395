"""Many slides: the next one is read meanwhile, broken ones are passed over, nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from napari_pathfm.analysis.cohort import SlideState, State, embed_cohort, stored_state
from napari_pathfm.analysis.embed_slide import EmbedTask, prepare
from napari_pathfm.analysis.first_tiles import FirstTiles, read_first
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.tiles import TileGrid
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import SlideReader
from napari_pathfm.io.store import FeatureStore
from napari_pathfm.models.base import DeviceLost

from .test_embed import MeanEncoder, Tiles


@pytest.fixture
def tasks(synthetic: Path, tmp_path: Path) -> list[EmbedTask]:
    """Three slides, of which the second one is broken."""
    content = synthetic.read_bytes()
    (tmp_path / "b.tif").write_bytes(content[: len(content) // 2])
    (tmp_path / "c.tif").write_bytes(content + b"another one")
    shutil.copy(synthetic, tmp_path / "a.tif")
    project = tmp_path / "project"
    return [EmbedTask(str(tmp_path / f"{n}.tif"), project, "mean", tile_mpp=1) for n in "abc"]


def cohort(tasks: list[EmbedTask], seen: list[SlideState] | None = None) -> list[SlideState]:
    with Project.open(tasks[0].project) as project:
        show = None if seen is None else seen.append
        return [*run(embed_cohort(tasks, MeanEncoder(), project, show))]


def test_broken_slides_are_passed_over_and_the_next_one_is_read_meanwhile(
    tasks: list[EmbedTask],
) -> None:
    seen: list[SlideState] = []
    ended = cohort(tasks, seen)
    assert [each.state for each in ended] == [State.DONE, State.FAILED, State.DONE]
    assert "Copy" in ended[1].reason
    assert ended[0].result is not None
    assert ended[2].result is not None
    assert ended[0].result.tiles == ended[2].result.computed > 10
    steps = [(each.number, each.state) for each in seen]
    assert steps.index((1, State.READING)) < steps.index((0, State.EMBEDDING))
    assert steps.index((2, State.READING)) < steps.index((2, State.EMBEDDING))
    with Project.open(tasks[0].project, read_only=True) as project:
        assert [row.name for row in project.slides()] == ["a", "c"]
        states = [stored_state(project, row.id, "mean") for row in project.slides()]
        assert {state for state, *_ in states} == {State.DONE}
        assert stored_state(project, project.slides()[0].id, "other") == (State.WAITING, 0, 0)
    states_again = [each.state for each in cohort(tasks)]
    assert states_again == [State.STORED, State.FAILED, State.STORED]


def test_first_tiles_are_read_while_another_slide_is_embedded(
    tasks: list[EmbedTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(slide: SlideReader, grid: TileGrid) -> FirstTiles:
        read.append(slide.name)
        return read_first(slide, grid)

    monkeypatch.setattr("napari_pathfm.analysis.cohort.read_first", reading)
    cohort(tasks)
    assert read == ["a", "c"]
    cohort(tasks)
    assert read == ["a", "c"]  # nothing is to be embedded


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), wanted=st.integers(0, 200), batch=st.integers(1, 90))
def test_a_slide_of_which_some_tiles_were_read_gives_the_same(
    synthetic: Path, seed: int, wanted: int, batch: int
) -> None:
    found = run(prepare(EmbedTask(str(synthetic), Path(), "mean", tile_mpp=1), MeanEncoder().spec))
    with found.slide as slide:
        grid = found.grid
        expected = np.concatenate([tiles for _, tiles in slide.tiles(grid)])
        order = np.random.default_rng(seed).permutation(len(grid))[:wanted] if wanted else None
        first = read_first(slide, grid)
        for _ in range(2):  # they are given out once
            given_out = list(first.tiles(grid, order, batch))
            numbers = np.concatenate([numbers for numbers, _ in given_out])
            assert sorted(numbers) == sorted(np.arange(len(grid)) if order is None else order)
            assert all(len(tiles) <= batch for _, tiles in given_out)
            for some, tiles in given_out:
                np.testing.assert_array_equal(tiles, expected[some])


def test_what_was_done_before_it_was_stopped_is_kept(tasks: list[EmbedTask]) -> None:
    queue = InferenceQueue("of the test", unit_seconds=0.01)
    with Project.open(tasks[0].project) as project:
        job = embed_cohort(tasks, MeanEncoder(pause=0.002), project, queue=queue)
        seen = 0
        for progress in job:
            seen += "Embedding with" in progress.text
            if seen > 5:
                break
        job.close()
        (row,) = project.slides()
        state, count, total = stored_state(project, row.id, "mean")
        assert state is State.WAITING
        assert 0 < count < total
    first = cohort(tasks)[0].result
    assert first is not None
    assert (first.tiles, first.computed) == (total, total - count)


def test_a_device_that_is_lost_ends_it(tasks: list[EmbedTask]) -> None:
    class Lost(MeanEncoder):
        def embed(self, tiles: Tiles) -> np.ndarray:
            raise DeviceLost("the card does not answer")

    seen: list[SlideState] = []
    with (
        Project.open(tasks[0].project) as project,
        pytest.raises(DeviceLost, match="does not answer"),
    ):
        run(embed_cohort(tasks, Lost(), project, seen.append))
    assert not any(each.ended for each in seen)


def test_a_slide_that_is_being_embedded_elsewhere_is_passed_over(tasks: list[EmbedTask]) -> None:
    encoder = MeanEncoder()
    found = run(prepare(tasks[0], encoder.spec))
    found.slide.close()
    with Project.open(tasks[0].project) as project:
        store = FeatureStore(project.slide_store(found.slide.id), encoder.key, found.grid)
        with store.lock():
            states = run(embed_cohort(tasks, encoder, project))
    assert [each.state for each in states] == [State.FAILED, State.FAILED, State.DONE]
    assert "being written by" in states[0].reason
