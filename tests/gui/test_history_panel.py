from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from napari_pathfm.gui.history_panel import BEGINNING, PAGE, HistoryPanel

from .stage import Stage

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def panel(stage: Stage, qtbot: object) -> Iterator[HistoryPanel]:
    made = HistoryPanel(stage.session, stage.runner, stage.edits.history)
    qtbot.addWidget(made)  # type: ignore[attr-defined]
    yield made
    stage.settle()


def paint(stage: Stage, number: int) -> None:
    ids = np.full((20, 20), number, np.uint32)
    stage.store.commit(stage.store.paint_edit(30 * number, 40, ids, None, f"stroke {number}"))


def shown(panel: HistoryPanel) -> list[tuple[str, bool]]:
    return [(step.text, step.done) for step in panel.model.steps]


def test_a_click_goes_back_and_forth_to_a_step(
    stage: Stage, panel: HistoryPanel, wait: Wait
) -> None:
    for number in range(1, 4):
        paint(stage, number)
    stage.project.class_book.change("rename class", lambda now: now.renamed(1, "gland"))
    panel.show()
    texts = ["rename class", "stroke 3", "stroke 2", "stroke 1"]
    wait(lambda: shown(panel) == [(text, True) for text in texts])
    model = panel.model
    assert model.data(model.index(0, 2)) == "ada"
    assert model.data(model.index(4, 0)) == BEGINNING
    panel.view.clicked.emit(model.index(2, 0))
    wait(lambda: shown(panel) == list(zip(texts, (False, False, True, True), strict=True)))
    assert sorted(stage.store.objects) == [1, 2]
    assert [one.name for one in stage.project.classes()] == ["tumor", "stroma"]
    panel.view.clicked.emit(model.index(0, 0))
    wait(lambda: shown(panel) == [(text, True) for text in texts])
    assert sorted(stage.store.objects) == [1, 2, 3]
    wait(lambda: stage.session.classes[0].name == "gland")
    panel.view.clicked.emit(model.index(4, 0))
    wait(lambda: not stage.store.objects)
    paint(stage, 7)
    stage.edits.history.changed.emit()
    wait(lambda: shown(panel) == [("stroke 7", True)])


def test_a_long_history_is_read_as_far_as_it_is_seen(
    stage: Stage, panel: HistoryPanel, wait: Wait
) -> None:
    steps = 100_000
    with stage.project.database.transaction("test") as database:
        database.execute_many(
            "INSERT INTO edits (slide_id, layer, text, author, made, done) "
            "VALUES ('discs', 'regions', ?, 'ada', '2026-01-01T00:00:00+00:00', 1)",
            ((f"step {number}",) for number in range(steps)),
        )
    panel.show()
    wait(lambda: len(panel.model.steps) > 0)
    stage.runner.shutdown()
    assert PAGE <= len(panel.model.steps) <= 3 * PAGE
    assert panel.model.steps[0].text == f"step {steps - 1}"
    before = len(panel.model.steps)
    panel.view.scrollToBottom()
    wait(lambda: len(panel.model.steps) > before)
    numbers = [step.number for step in panel.model.steps]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == len(numbers)


def test_nothing_is_read_while_it_is_hidden(stage: Stage, panel: HistoryPanel) -> None:
    paint(stage, 1)
    stage.edits.history.changed.emit()
    assert not panel._timer.isActive()
    assert not panel.model.steps
