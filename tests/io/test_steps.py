from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_pathfm.core.edits import Edit
from napari_pathfm.io.journal import Journal
from napari_pathfm.io.project import Project
from napari_pathfm.io.steps import Steps


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path, author="ann") as project:
        yield project


@pytest.fixture
def journal(project: Project) -> Journal:
    return Journal(project.database, "ab", "regions")


@pytest.fixture
def steps(project: Project) -> Steps:
    return Steps(project.database, "ab", "regions")


def record(journal: Journal, text: str) -> int:
    return journal.record(Edit("regions", text), (), "ann").edit


def add(project: Project, name: str) -> int:
    (made,) = project.class_book.add([(name, "#ff0000")], line=("ab", "regions"))
    return made.id


def texts(steps: Steps) -> tuple[str | None, str | None]:
    """What undo would take back and redo do again."""
    last, first = steps.last_done(), steps.first_undone()
    return last and last.text, first and first.text


def test_history_undo_redo_and_the_dropped_branch(journal: Journal, steps: Steps) -> None:
    one, two, three = (record(journal, text) for text in ("one", "two", "three"))
    assert texts(steps) == ("three", None)
    journal.switch(three, "undo", ())
    journal.switch(two, "undo", ())
    assert texts(steps) == ("one", "two")
    assert [(s.text, s.done) for s in steps.history()] == [
        ("one", True), ("two", False), ("three", False),
    ]  # fmt: skip
    four = record(journal, "four")
    assert [(s.number, s.text, s.author) for s in steps.history()] == [
        (one, "one", "ann"),
        (four, "four", "ann"),
    ]
    assert texts(steps) == ("four", None)


def test_class_edits_stand_in_the_line_of_every_layer(
    project: Project, journal: Journal, steps: Steps
) -> None:
    record(journal, "one")
    add(project, "tumor")
    other = Steps(project.database, "ab", "nuclei")
    assert texts(steps) == texts(other) == ("add class tumor", None)
    assert [step.of_classes for step in steps.history()] == [False, True]
    assert [step.text for step in other.history()] == ["add class tumor"]
    last = steps.last_done()
    assert last is not None
    project.class_book.switch(last.number, "undo")
    assert texts(steps) == ("one", "add class tumor")
    assert texts(other) == (None, "add class tumor")


def test_a_new_edit_drops_what_was_undone_of_both_kinds(
    project: Project, journal: Journal, steps: Steps
) -> None:
    other = Journal(project.database, "ab", "nuclei")
    kept = record(other, "elsewhere")
    other.switch(kept, "undo", ())
    one = record(journal, "one")
    add(project, "tumor")
    step = steps.last_done()
    assert step is not None
    project.class_book.switch(step.number, "undo")
    journal.switch(one, "undo", ())
    record(journal, "two")
    assert [step.text for step in steps.history()] == ["two"]
    assert texts(Steps(project.database, "ab", "nuclei")) == (None, "elsewhere")
    journal.switch(steps.history()[0].number, "undo", ())
    add(project, "stroma")
    assert [step.text for step in steps.history()] == ["add class stroma"]


def test_pages_run_from_the_newest_to_the_oldest(
    project: Project, journal: Journal, steps: Steps
) -> None:
    for number in range(7):
        if number % 3:
            record(journal, f"{number}")
        else:
            add(project, f"{number}")
    pages = [steps.page(None, 3)]
    while pages[-1]:
        pages.append(steps.page(pages[-1][-1].number, 3))
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [step for page in pages for step in page] == steps.history()[::-1]


def test_the_distance_counts_steps_either_way(
    project: Project, journal: Journal, steps: Steps
) -> None:
    numbers = [record(journal, f"{number}") for number in range(4)]
    add(project, "tumor")
    assert steps.distance(numbers[0]) == 4
    assert steps.distance(0) == 5
    last = steps.last_done()
    assert last is not None
    project.class_book.switch(last.number, "undo")
    journal.switch(numbers[3], "undo", ())
    assert steps.distance(last.number) == 2
    assert steps.distance(numbers[2]) == 0
