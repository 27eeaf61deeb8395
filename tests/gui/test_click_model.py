"""The click model that comes with the program, in a real window with real mouse events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from napari_pathfm.gui.prompting import Prompting

from .stage import DISCS, Stage
from .test_prompting import disc_iou

Wait = Callable[..., None]


@pytest.fixture
def clicking(stage: Stage, wait: Wait) -> Iterator[Prompting]:
    made = Prompting(stage.viewer, stage.session, stage.runner, stage.edits)
    stage.look(600, 1100, 1.5)
    made.point_mode()
    wait(lambda: made.segmenter.ready is not None, 120)
    yield made
    made.clear()


def test_from_a_click_to_an_object(stage: Stage, clicking: Prompting, wait: Wait) -> None:
    assert clicking.segmenter.name == "pathfm-click"
    y, x, _ = DISCS[1]
    stage.click(y, x)
    wait(lambda: clicking.work.candidate is not None, 120)
    assert clicking.work.candidate is not None
    assert clicking.work.candidate.score > 0.5
    stage.press("1")
    stage.press("C")
    wait(lambda: len(stage.store.objects) == 1)
    (row,) = stage.store.objects.values()
    assert (row.how, row.model, row.class_id) == ("prompt", "pathfm-click", 1)
    assert disc_iou(stage, row.id, DISCS[1]) > 0.8
    stage.press("Control+Z")
    wait(lambda: not stage.store.objects)


def test_the_next_click_corrects_it(stage: Stage, clicking: Prompting, wait: Wait) -> None:
    y, x, radius = DISCS[0]
    stage.click(y, x)
    wait(lambda: clicking.work.candidate is not None, 120)
    first = clicking.work.candidate
    stage.press("T")
    stage.click(y, x + radius + 20)
    wait(lambda: clicking.work.candidate is not first, 120)
    assert clicking.work.candidate is not None
    assert clicking.work.candidate.prompts.positive.tolist() == [True, False]
    stage.press("C")
    wait(lambda: len(stage.store.objects) == 1)
    assert disc_iou(stage, next(iter(stage.store.objects)), DISCS[0]) > 0.8
